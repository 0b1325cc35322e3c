// The same policies on every kind of network that a node's pods may be on: routed veths, ports of a
// bridge with and without netfilter on it, several uplinks, a VLAN, translated addresses.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

namespace weir::test {
namespace {

enum class Wiring { kRouted, kBridge, kBridgeNetfilter };

std::string to_string(Wiring wiring) {
  return wiring == Wiring::kRouted   ? "routed"
         : wiring == Wiring::kBridge ? "bridge, netfilter apart"
                                     : "bridge, netfilter on it";
}

Lab& wire(Lab& lab, Wiring wiring) {
  if (wiring != Wiring::kRouted) {
    lab.use_bridge(wiring == Wiring::kBridgeNetfilter);
  }
  return lab;
}

// A node with the pod that most tests speak from:
//
//   Wired wired(wiring);
//   auto& [lab, client] = wired;
struct Wired {
  explicit Wired(Wiring wiring)
      : client(wire(lab, wiring).add_pod({"shop", "client", {{"app", "client"}}})) {}
  Lab lab;
  Pod& client;
};

// Pods with app=web take GET /discount from app=client, and GET /public from everywhere.
std::string web_ingress() {
  return kHttpIngress + R"(    - fromEntities: [world]
      toPorts:
        - ports:
            - port: "80"
              protocol: TCP
          rules:
            http:
              - method: GET
                path: "/public"
)";
}

// Pods with app=client may GET /allowed of everybody out there.
const std::string kWorldEgress = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: world-egress
  namespace: shop
spec:
  endpointSelector:
    matchLabels:
      app: client
  egress:
    - toEntities: [world]
      toPorts:
        - ports:
            - port: "80"
              protocol: TCP
          rules:
            http:
              - method: GET
                path: "/allowed"
)";

// An address, or one with a port.
std::string url(const std::string& address, const std::string& path) {
  const bool with_port = address.find('.') != std::string::npos || address.front() == '[';
  return "http://" + (with_port ? address : url_host(address)) + path;
}

CurlResult get(const Pod& pod, const std::string& address, const std::string& path) {
  return pod.curl({"--max-time", "5", url(address, path)});
}

// Nothing comes back at all.
bool is_silent(const Pod& pod, const std::string& address, const std::string& path) {
  return pod.curl({"--max-time", "1", url(address, path)}).exit_code == kCurlTimeout;
}

int status_of(const Outcome& curl) {
  const auto line = curl.out.rfind('\n');
  return line == std::string::npos ? 0 : std::stoi(curl.out.substr(line + 1));
}

// `source`: an address of its own to speak from; empty: whichever the kernel takes.
int get_from(const NetNs& where, const std::string& address, const std::string& path,
             const std::string& source = {}) {
  std::vector<std::string> argv = {"curl",       "-q", "-sS", "--noproxy",      "*",
                                   "--max-time", "5",  "-w",  "\n%{http_code}", url(address, path)};
  if (!source.empty()) {
    argv.insert(argv.end(), {"--interface", source});
  }
  return status_of(where.run(std::move(argv)));
}

// By kWorldEgress.
void check_egress(const Pod& client, const std::string& there) {
  INFO(there);
  const CurlResult allowed = get(client, there, "/allowed");
  INFO(allowed.text);
  CHECK(allowed.status == 200);
  CHECK(get(client, there, "/forbidden").status == 403);
}

bool has_line(const std::vector<std::string>& lines, const std::string& wanted) {
  return std::find(lines.begin(), lines.end(), wanted) != lines.end();
}

TEST_CASE("HTTP rules hold between pods, from outside and from the node, on every wiring") {
  require_root();
  const Wiring wiring = GENERATE(Wiring::kRouted, Wiring::kBridge, Wiring::kBridgeNetfilter);
  INFO(to_string(wiring));
  Wired wired(wiring);
  auto& [lab, client] = wired;
  Pod& stranger = lab.add_pod({"shop", "stranger", {{"app", "other"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);
  lab.set_services(
      "[{name: web, namespace: shop, clusterIPs: [10.96.0.20, \"fd00:96::20\"], ports: "
      "[{name: http, port: 8000, targetPort: 80, protocol: TCP}], selector: {app: "
      "web}}]");
  lab.policies().publish({{"web.yaml", web_ingress()}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const std::string to = web.address(family);
    // Pod to pod: by its own address, with its own address.
    const CurlResult allowed = get(client, to, "/discount");
    INFO(allowed.text);
    CHECK(allowed.status == 200);
    CHECK(allowed.body == "shop/web\n");
    CHECK(get(client, to, "/other").status == 403);
    CHECK(is_silent(stranger, to, "/discount"));
    // To its service, and to itself by its service.
    const std::string service = family == Family::kV4 ? "10.96.0.20" : "fd00:96::20";
    const CurlResult by_service =
        client.curl({"--max-time", "5", "http://" + url_host(service) + ":8000/discount"});
    INFO(by_service.text);
    CHECK(by_service.status == 200);
    CHECK(client.curl({"--max-time", "5", "http://" + url_host(service) + ":8000/other"}).status ==
          403);
    const CurlResult self =
        web.curl({"--max-time", "5", "http://" + url_host(service) + ":8000/self"});
    INFO(self.text);
    CHECK(self.status == 200);
    // The world, judged where it enters.
    CHECK(get_from(lab.world(), to, "/public", allowed_address(family)) == 200);
    CHECK(get_from(lab.world(), to, "/discount", allowed_address(family)) == 403);
    // The node's own probes are never judged.
    CHECK(get_from(lab.node(), to, "/probe") == 200);
  }
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  const auto lines = server.requests_before("/end");
  for (const Family family : {Family::kV4, Family::kV6}) {
    CHECK(has_line(lines, client.address(family) + " GET /discount 200"));
    CHECK(has_line(lines, allowed_address(family) + " GET /public 200"));
  }
  for (const std::string& line : lines) {
    CHECK(line.find("/other") == std::string::npos);
  }
}

TEST_CASE("names are learned and opened, and HTTP to the world is judged, on every wiring") {
  require_root();
  const Wiring wiring = GENERATE(Wiring::kRouted, Wiring::kBridge, Wiring::kBridgeNetfilter);
  INFO(to_string(wiring));
  Wired wired(wiring);
  auto& [lab, client] = wired;
  Pod& names = lab.add_pod({"shop", "names", {{"app", "names"}}});
  std::string by_name = kFqdnEgress;
  by_name.replace(by_name.find("app: client"), 11, "app: names");
  by_name.replace(by_name.find("client-egress"), 13, "names-egress");
  lab.policies().publish({{"names.yaml", by_name}, {"egress.yaml", kWorldEgress}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    for (const char* transport : {"+notcp", "+tcp"}) {
      INFO(transport);
      const Outcome answer = names.dig({"@" + dns_address(family), transport, "+short",
                                        kAllowedName, family == Family::kV4 ? "A" : "AAAA"});
      INFO(answer.text());
      CHECK(answer.out == allowed_address(family) + "\n");
    }
    CHECK(get(names, allowed_address(family), "/").status == 200);
    CHECK(is_silent(names, other_address(family), "/forbidden"));
    check_egress(client, other_address(family));
  }
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  const auto lines = lab.world_http().requests_before("/end");
  for (const Family family : {Family::kV4, Family::kV6}) {
    CHECK(has_line(lines, client.address(family) + " GET /allowed 200"));
  }
  for (const std::string& line : lines) {
    CHECK(line.find("/forbidden") == std::string::npos);
  }
}

TEST_CASE("HTTP to the world is judged where the node translates pods' addresses") {
  require_root();
  const Wiring wiring = GENERATE(Wiring::kRouted, Wiring::kBridgeNetfilter);
  INFO(to_string(wiring));
  Wired wired(wiring);
  auto& [lab, client] = wired;
  for (const auto& [program, pods] :
       {std::pair("iptables", "10.0.1.0/24"), std::pair("ip6tables", "fd00:10:1::/64")}) {
    const Outcome added = lab.node().run({program, "-t", "nat", "-A", "POSTROUTING", "-s", pods,
                                          "!", "-d", pods, "-j", "MASQUERADE"});
    INFO(added.text());
    REQUIRE(added.exit_code == 0);
  }
  lab.policies().publish({{"egress.yaml", kWorldEgress}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    check_egress(client, allowed_address(family));
  }
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  const auto lines = lab.world_http().requests_before("/end");
  // The node's own addresses: they were translated indeed.
  CHECK(has_line(lines, "172.31.0.1 GET /allowed 200"));
  CHECK(has_line(lines, "fd00:172:31::1 GET /allowed 200"));
  CHECK(lines.size() == 2);
}

// A network behind an interface of the node, with a server: 172.NUMBER.0.0/24 and
// fd00:172:NUMBER::/64, of which the node has 1 and the server 2.
class Outside {
public:
  explicit Outside(unsigned number)
      : x_v4("172." + std::to_string(number) + ".0."),
        x_v6("fd00:172:" + std::to_string(number) + "::") {}

  [[nodiscard]] const NetNs& where() const { return x_where; }
  [[nodiscard]] std::string address(Family family) const {
    return (family == Family::kV4 ? x_v4 : x_v6) + "2";
  }
  [[nodiscard]] const HttpServer& server() const { return *x_server; }

  // Once eth0 of where() is connected with this interface of the node.
  void serve(const Lab& lab, const std::string& node_interface) {
    lab.node().ip({"addr add " + x_v4 + "1/24 dev " + node_interface,
                   "addr add " + x_v6 + "1/64 dev " + node_interface});
    x_where.ip({"addr add " + x_v4 + "2/24 dev eth0", "addr add " + x_v6 + "2/64 dev eth0",
                "route add 10.0.1.0/24 via " + x_v4 + "1",
                "route add fd00:10:1::/64 via " + x_v6 + "1"});
    x_server = std::make_unique<HttpServer>(&x_where, lab.folder() / "outside", "outside", 80);
  }

private:
  NetNs x_where;
  std::unique_ptr<HttpServer> x_server;
  const std::string x_v4, x_v6; // without the last part
};

// Starts weir, with a web pod beside the client.
void check_both_ways(Lab& lab, const Pod& client, const Outside& outside) {
  const Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.serve_http(web);
  lab.policies().publish({{"web.yaml", web_ingress()}, {"egress.yaml", kWorldEgress}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    check_egress(client, outside.address(family));
    CHECK(get_from(outside.where(), web.address(family), "/public") == 200);
    CHECK(get_from(outside.where(), web.address(family), "/discount") == 403);
  }
  CHECK(get_from(outside.where(), "127.0.0.1", "/end") == 200);
  CHECK(outside.server().requests_before("/end").size() == 2);
}

TEST_CASE("HTTP to and from the world is judged on each of several uplinks") {
  require_root();
  const Wiring wiring = GENERATE(Wiring::kRouted, Wiring::kBridgeNetfilter);
  INFO(to_string(wiring));
  Wired wired(wiring);
  auto& [lab, client] = wired;
  Outside second(32);
  connect({lab.node(), "uplink2", {}}, {second.where(), "eth0", {}});
  second.serve(lab, "uplink2");
  check_both_ways(lab, client, second);
  for (const Family family : {Family::kV4, Family::kV6}) { // and the first as before
    check_egress(client, allowed_address(family));
  }
}

TEST_CASE("N8: HTTP to and from the world is judged on a VLAN") {
  require_root();
  Wired wired(Wiring::kRouted);
  auto& [lab, client] = wired;
  const Outcome made = lab.node().run(
      {"ip", "link", "add", "link", "uplink", "name", "uplink.100", "type", "vlan", "id", "100"});
  if (made.exit_code != 0) {
    SKIP("this kernel has no VLAN interfaces: " << made.err);
  }
  lab.node().ip({"link set uplink.100 up"});
  // A namespace of its own behind it, so that answers take no other way.
  Outside vlan(33);
  connect({lab.world(), "behind", {}}, {vlan.where(), "eth0", {}});
  lab.world().ip({"link add lan type bridge", "link set lan up",
                  "link add link eth0 name eth0.100 type vlan id 100",
                  "link set eth0.100 master lan", "link set eth0.100 up",
                  "link set behind master lan"});
  vlan.serve(lab, "uplink.100");
  check_both_ways(lab, client, vlan);
}

// Of app=client: POST /upload to the world; of app=plain: whatever to port 80 there.
const std::string kUploadEgress = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: judged, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
    - toEntities: [world]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{method: POST, path: /upload}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: plain, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: plain}}
  egress:
    - toEntities: [world]
      toPorts: [{ports: [{port: "80", protocol: TCP}]}]
)";

// Answers with the number of bytes when it has read all of them: nginx would answer before.
constexpr const char* kReader = R"(
import http.server, socket
class Reader(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        text = str(len(body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(("::", 80), Reader).serve_forever()
)";

// ICMP errors about packets that were too big, as sent by this namespace.
std::uint64_t too_big_told(const NetNs& where, Family family) {
  const bool v4 = family == Family::kV4;
  const std::string field = v4 ? "OutDestUnreachs" : "Icmp6OutPktTooBigs";
  const std::string awk =
      v4 ? "/^Icmp:/{if(!n){n=split($0,h)}else{for(i in h)if(h[i]==\"" + field + "\")print $i}}"
         : "$1==\"" + field + "\"{print $2}";
  const Outcome counted = where.run({"awk", awk, v4 ? "/proc/net/snmp" : "/proc/net/snmp6"});
  return std::stoull("0" + counted.out);
}

TEST_CASE("N4: behind a path for 1400 bytes the errors that say so find the pod and the proxy") {
  require_root();
  const Wiring wiring = GENERATE(Wiring::kRouted, Wiring::kBridgeNetfilter);
  INFO(to_string(wiring));
  Lab lab;
  wire(lab, wiring);
  Pod& judged = lab.add_pod({"shop", "judged", {{"app", "client"}}});
  Pod& plain = lab.add_pod({"shop", "plain", {{"app", "plain"}}});
  const NetNs far;
  connect({lab.world(), "far", {}}, {far, "eth0", {}});
  lab.world().sysctl("net.ipv4.ip_forward", "1");
  lab.world().sysctl("net.ipv6.conf.all.forwarding", "1");
  lab.world().ip({"link set far mtu 1400", "addr add 198.51.100.1/24 dev far",
                  "addr add 2001:db8:198::1/64 dev far nodad"});
  // The server takes more by its own word: only the way there does not.
  far.ip({"addr add 198.51.100.2/24 dev eth0", "addr add 2001:db8:198::2/64 dev eth0 nodad",
          "route add default via 198.51.100.1", "route add default via 2001:db8:198::1"});
  Process server = far.start({"python3", "-c", kReader}, lab.folder() / "far.log");
  REQUIRE(eventually([&] { return get_from(far, "127.0.0.1", "/") != 0; }));
  const auto body = lab.folder() / "body";
  write_file(body, std::string(300'000, 'x'));
  lab.policies().publish({{"upload.yaml", kUploadEgress}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    const std::string there = family == Family::kV4 ? "198.51.100.2" : "2001:db8:198::2";
    for (const Pod* pod : {&plain, &judged}) {
      INFO(pod->full_name() << " to " << there);
      const std::uint64_t told = too_big_told(lab.world(), family);
      const CurlResult uploaded = pod->curl({"--max-time", "10", "-H", "Expect:", "--data-binary",
                                             "@" + body.string(), url(there, "/upload")});
      INFO(uploaded.text);
      CHECK(uploaded.body == "300000");
      CHECK(too_big_told(lab.world(), family) > told);
    }
  }
}

// Pods with app=client may reach port 80 of the node, whatever is said there.
const std::string kNodeEgress = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: node-egress
  namespace: shop
spec:
  endpointSelector:
    matchLabels:
      app: client
  egress:
    - toEntities: [host]
      toPorts:
        - ports:
            - port: "80"
              protocol: TCP
)";

TEST_CASE("a pod reaches of its node what policy opens, on every wiring") {
  require_root();
  const Wiring wiring = GENERATE(Wiring::kRouted, Wiring::kBridge, Wiring::kBridgeNetfilter);
  INFO(to_string(wiring));
  Wired wired(wiring);
  auto& [lab, client] = wired;
  Pod& stranger = lab.add_pod({"shop", "stranger", {{"app", "other"}}});
  const HttpServer open(&lab.node(), lab.folder() / "open", "open", 80);
  const HttpServer closed(&lab.node(), lab.folder() / "closed", "closed", 81);
  lab.policies().publish({{"egress.yaml", kNodeEgress}});
  lab.start_weir();
  for (const std::string address : {"172.31.0.1", "fd00:172:31::1"}) {
    INFO(address);
    CHECK(get(client, address, "/open").status == 200);
    CHECK(is_silent(client, url_host(address) + ":81", "/closed"));
    CHECK(get(stranger, address, "/untouched").status == 200);
  }
  CHECK(get_from(lab.node(), "127.0.0.1:81", "/end") == 200);
  CHECK(closed.requests_before("/end").empty());
}

TEST_CASE("HTTP rules hold for what a pod asks of its own node, on every wiring") {
  require_root();
  const Wiring wiring = GENERATE(Wiring::kRouted, Wiring::kBridge, Wiring::kBridgeNetfilter);
  INFO(to_string(wiring));
  Wired wired(wiring);
  auto& [lab, client] = wired;
  const HttpServer server(&lab.node(), lab.folder() / "server", "server", 80);
  lab.policies().publish({{"egress.yaml", kNodeEgress + R"(          rules:
            http:
              - method: GET
                path: "/allowed"
)"}});
  lab.start_weir();
  std::vector<std::string> seen;
  for (const std::string address : {"172.31.0.1", "fd00:172:31::1"}) {
    INFO(address);
    CHECK(get(client, address, "/allowed").status == 200);
    CHECK(get(client, address, "/other").status == 403);
    seen.push_back(address + " GET /allowed 200"); // the node's address, not the pod's
  }
  CHECK(get_from(lab.node(), "127.0.0.1", "/end") == 200);
  CHECK(server.requests_before("/end") == seen);
}

} // namespace
} // namespace weir::test
