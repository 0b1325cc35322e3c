#include "test/support/lab.h"

#include "test/support/must.h"

#include <boost/json/parse.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace weir::test {
namespace {

namespace fs = std::filesystem;

// Every pod's gateway: the host side of its veth. The link-local address follows from it (RFC 4291
// appendix A).
constexpr const char* kHostMac = "ee:ee:ee:ee:ee:ee";
constexpr const char* kHostLinkLocal = "fe80::ecee:eeff:feee:eeee";

constexpr const char* kNodeV4 = "172.31.0.1";
constexpr const char* kNodeV6 = "fd00:172:31::1";
constexpr const char* kWorldV4 = "172.31.0.254";
constexpr const char* kWorldV6 = "fd00:172:31::254";
constexpr const char* kBridgeV4 = "10.0.1.1"; // the pods' gateway, where they are bridged
constexpr const char* kBridgeV6 = "fd00:10:1::1";
constexpr std::uint16_t kAdminPort = 9931;

bool accepts(const NetNs* where, const std::string& address, std::uint16_t port) {
  const auto limit = std::chrono::seconds(1);
  return where != nullptr ? HttpConnection::open(*where, address, port, limit).has_value()
                          : HttpConnection::open(address, port, limit).has_value();
}

Process start_in(const NetNs* where, std::vector<std::string> argv, const fs::path& output) {
  return where != nullptr ? where->start(std::move(argv), output)
                          : Process::start({.argv = std::move(argv), .output = output});
}

Process start_nginx(const NetNs* where, const fs::path& folder, const std::string& name,
                    std::uint16_t port, const fs::path& log) {
  fs::create_directories(folder);
  const std::string at = std::to_string(port);
  const std::string listen = where != nullptr ? "listen " + at + "; listen [::]:" + at + ";"
                                              : "listen 127.0.0.1:" + at + ";";
  std::string temporary_paths;
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    temporary_paths += std::string(kind) + "_temp_path " + (folder / kind).string() + "; ";
  }
  // One process: it ends with the signal that ends it, and leaves no worker behind.
  write_file(folder / "nginx.conf",
             "daemon off; master_process off; pid " + (folder / "pid").string() +
                 ";\nerror_log stderr;\nevents { worker_connections 512; }\nhttp {\n  " +
                 temporary_paths +
                 "\n  log_format lab '$remote_addr $request_method $request_uri $status';\n"
                 "  access_log " +
                 log.string() + " lab;\n  keepalive_requests 1000000;\n  server {\n    " + listen +
                 "\n    add_header x-client-port $remote_port;\n    location / { return 200 \"" +
                 name + "\\n\"; }\n  }\n}\n");
  Process process =
      start_in(where, {"nginx", "-e", "stderr", "-c", folder / "nginx.conf"}, folder / "nginx.log");
  if (!eventually([&] { return accepts(where, "127.0.0.1", port) || !process.running(); }) ||
      !process.running()) {
    throw std::runtime_error("nginx: " + read_file(folder / "nginx.log"));
  }
  return process;
}

Process start_dnsmasq(const NetNs* where, const std::vector<std::string>& addresses,
                      const fs::path& folder, std::uint16_t port, const fs::path& log) {
  fs::create_directories(folder);
  std::vector<std::string> argv = {"dnsmasq",
                                   "--keep-in-foreground",
                                   "--conf-file=/dev/null",
                                   "--no-resolv",
                                   "--no-hosts",
                                   "--bind-interfaces",
                                   "--except-interface=lo",
                                   "--pid-file=",
                                   "--user=root",
                                   "--port=" + std::to_string(port),
                                   "--log-queries",
                                   "--log-facility=" + log.string(),
                                   "--local=/test/",
                                   "--local-ttl=5"};
  if (where == nullptr) {
    std::erase(argv, "--except-interface=lo");
    std::erase(argv, "--user=root"); // without root it stays who it is
  }
  for (const std::string& address : addresses) {
    argv.push_back("--listen-address=" + address);
  }
  const auto record = [&](const char* name, const char* v4, const char* v6) {
    argv.push_back(std::string("--host-record=") + name + "," + v4 + "," + v6);
  };
  record(kAllowedName, kAllowedV4, kAllowedV6);
  record(kOtherName, kOtherV4, kOtherV6);
  argv.push_back(std::string("--cname=") + kAliasName + "," + kAllowedName);
  Process process = start_in(where, argv, folder / "dnsmasq.log");
  const auto listens = [&] {
    return std::all_of(addresses.begin(), addresses.end(),
                       [&](const std::string& address) { return accepts(where, address, port); });
  };
  if (!eventually([&] { return listens() || !process.running(); }) || !process.running()) {
    throw std::runtime_error("dnsmasq: " + read_file(folder / "dnsmasq.log") + read_file(log));
  }
  return process;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    lines.push_back(text.substr(begin, end - begin));
  }
  return lines;
}

std::string label_list(const std::map<std::string, std::string>& labels) {
  std::string text = "{";
  for (const auto& [key, value] : labels) {
    text += (text.size() > 1 ? ", " : "") + key + ": \"" + value + "\"";
  }
  return text + "}";
}

// The name of a socket says that a port is taken, to other tests too: the port itself is not, until
// its server has started.
bool claim(const UniqueFd& socket, std::uint16_t port) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = '\0' + std::string("weir-test-port-") + std::to_string(port);
  std::ranges::copy(name, address.sun_path);
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())) == 0;
}

} // namespace

std::string to_string(Family family) { return family == Family::kV4 ? "IPv4" : "IPv6"; }

std::string url_host(const std::string& address) {
  return address.find(':') == std::string::npos ? address : "[" + address + "]";
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

BpffsMount::BpffsMount(fs::path path) : x_path(std::move(path)) {
  fs::create_directory(x_path);
  must(::mount("bpf", x_path.c_str(), "bpf", 0, nullptr) == 0, "mount a bpffs");
}

BpffsMount::~BpffsMount() { ::umount2(x_path.c_str(), MNT_DETACH); }

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::trunc);
  stream << text;
  stream.close();
  if (!stream) {
    throw std::runtime_error("cannot write " + path.string());
  }
}

std::string read_file(const fs::path& path) {
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), {}};
}

PolicyFolder::PolicyFolder(fs::path path) : x_path(std::move(path)) {
  fs::create_directories(x_path);
}

void PolicyFolder::publish(const std::map<std::string, std::string>& files) {
  const fs::path data = x_path / "..data";
  std::error_code none;
  const fs::path old = fs::read_symlink(data, none);
  const std::string fresh = "..generation_" + std::to_string(++x_generation);
  fs::create_directory(x_path / fresh);
  for (const auto& [name, text] : files) {
    write_file(x_path / fresh / name, text);
  }
  fs::create_directory_symlink(fresh, x_path / "..data_tmp");
  fs::rename(x_path / "..data_tmp", data);
  for (const auto& [name, text] : files) {
    if (!fs::is_symlink(x_path / name)) {
      fs::create_symlink(fs::path("..data") / name, x_path / name);
    }
  }
  for (const auto& entry : fs::directory_iterator(x_path)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("..") && !files.contains(name)) {
      fs::remove(entry.path());
    }
  }
  if (!old.empty()) {
    fs::remove_all(x_path / old);
  }
}

HttpServer::HttpServer(const NetNs* where, const fs::path& folder, const std::string& name,
                       std::uint16_t port)
    : x_log(folder / "requests.log"), x_port(port),
      x_process(start_nginx(where, folder, name, port, x_log)) {}

std::vector<std::string> HttpServer::requests_before(const std::string& marker) const {
  std::vector<std::string> lines;
  const bool seen = eventually([&] {
    lines = lines_of(read_file(x_log));
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].find(" " + marker + " ") != std::string::npos) {
        lines.resize(i);
        return true;
      }
    }
    return false;
  });
  if (!seen) {
    throw std::runtime_error("the server never logged " + marker + ":\n" + read_file(x_log));
  }
  return lines;
}

DnsServer::DnsServer(const NetNs* where, const std::vector<std::string>& addresses,
                     const fs::path& folder, std::uint16_t port)
    : x_log(folder / "queries.log"), x_port(port),
      x_process(start_dnsmasq(where, addresses, folder, port, x_log)) {}

std::vector<std::string> DnsServer::queries() const {
  std::vector<std::string> names;
  for (const std::string& line : lines_of(read_file(x_log))) {
    // "… query[A] api.example.test from 10.0.1.11"
    const std::size_t query = line.find("query[");
    if (query == std::string::npos) {
      continue;
    }
    std::istringstream rest(line.substr(query));
    std::string type, name;
    rest >> type >> name;
    names.push_back(name);
  }
  return names;
}

Pod::Pod(PodSpec spec, unsigned number, fs::path folder)
    : x_spec(std::move(spec)), x_number(number), x_folder(std::move(folder)),
      x_netns(std::make_unique<NetNs>()) {
  fs::create_directories(x_folder);
  use_resolver(Family::kV4);
}

std::string Pod::address(Family family) const {
  return (family == Family::kV4 ? "10.0.1." : "fd00:10:1::") + std::to_string(10 + x_number);
}

CurlResult Pod::curl(std::vector<std::string> arguments) const {
  std::vector<std::string> argv = {"curl", "-q", "-sS", "--noproxy", "*", "-w", "\n%{http_code}"};
  argv.insert(argv.end(), std::move_iterator(arguments.begin()),
              std::move_iterator(arguments.end()));
  const Outcome outcome = x_netns->run(std::move(argv));
  const std::size_t last_line = outcome.out.rfind('\n');
  if (last_line == std::string::npos) {
    throw std::runtime_error("curl: " + outcome.text());
  }
  return {.exit_code = outcome.exit_code,
          .status = std::stoi(outcome.out.substr(last_line + 1)),
          .body = outcome.out.substr(0, last_line),
          .text = outcome.text()};
}

Outcome Pod::dig(std::vector<std::string> arguments) const {
  std::vector<std::string> argv = {"dig", "+time=5", "+tries=1"};
  argv.insert(argv.end(), std::move_iterator(arguments.begin()),
              std::move_iterator(arguments.end()));
  return x_netns->run(std::move(argv));
}

void Pod::use_resolver(Family family) {
  const fs::path file = x_folder / "resolv.conf";
  write_file(file, "nameserver " + dns_address(family) + "\noptions timeout:5 attempts:1\n");
  x_netns->set_resolv_conf(file);
}

Lab::Lab()
    : x_bpffs(x_folder.path() / "bpffs"), x_node(std::make_unique<NetNs>()),
      x_world(std::make_unique<NetNs>()),
      x_policies(std::make_unique<PolicyFolder>(x_folder.path() / "policies")) {
  fs::create_directory(folder() / "state");
  connect_world();
  x_world_http = std::make_unique<HttpServer>(x_world.get(), folder() / "world", "world", 80);
  x_dns = std::make_unique<DnsServer>(x_world.get(), std::vector<std::string>{kDnsV4, kDnsV6},
                                      folder() / "dns", 53);
}

Lab::~Lab() {
  if (std::uncaught_exceptions() > 0 && x_weir) {
    std::cerr << "--- weir's log\n" << weir_log() << "---\n";
  }
}

void Lab::connect_world() {
  x_node->sysctl("net.ipv4.ip_forward", "1");
  x_node->sysctl("net.ipv6.conf.all.forwarding", "1");
  connect({*x_node, "uplink", {}}, {*x_world, "eth0", {}});
  x_node->ip({std::string("addr add ") + kNodeV4 + "/24 dev uplink",
              std::string("addr add ") + kNodeV6 + "/64 dev uplink",
              std::string("route add default via ") + kWorldV4,
              std::string("route add default via ") + kWorldV6});
  std::vector<std::string> lines = {std::string("addr add ") + kWorldV4 + "/24 dev eth0",
                                    std::string("addr add ") + kWorldV6 + "/64 dev eth0",
                                    std::string("route add 10.0.1.0/24 via ") + kNodeV4,
                                    std::string("route add fd00:10:1::/64 via ") + kNodeV6};
  for (const char* address : {kAllowedV4, kOtherV4, kDnsV4, kAllowedV6, kOtherV6, kDnsV6}) {
    lines.push_back(std::string("addr add ") + address + " dev eth0");
  }
  x_world->ip(lines);
}

Pod& Lab::add_pod(PodSpec spec, bool connected) {
  const auto number = static_cast<unsigned>(x_pods.size() + 1);
  const fs::path pod_folder = folder() / ("pod-" + spec.name);
  x_pods.push_back(std::make_unique<Pod>(std::move(spec), number, pod_folder));
  Pod& pod = *x_pods.back();
  if (connected) {
    connect_pod(pod);
  }
  return pod;
}

void Lab::use_bridge(bool netfilter) {
  x_bridged = true;
  x_node->ip({"link add cni0 type bridge", std::string("addr add ") + kBridgeV4 + "/24 dev cni0",
              std::string("addr add ") + kBridgeV6 + "/64 dev cni0 nodad", "link set cni0 up"});
  for (const char* program : {"iptables", "ip6tables"}) {
    x_node->sysctl(std::string("net.bridge.bridge-nf-call-") + program, netfilter ? "1" : "0");
  }
}

void Lab::connect_pod(const Pod& pod) {
  if (x_bridged) {
    connect({*x_node, pod.interface(), {}}, {pod.netns(), "eth0", {}});
    x_node->ip({"link set " + pod.interface() + " master cni0"});
    pod.netns().ip({"addr add " + pod.address(Family::kV4) + "/24 dev eth0",
                    "addr add " + pod.address(Family::kV6) + "/64 dev eth0 nodad",
                    std::string("route add default via ") + kBridgeV4 + " dev eth0",
                    std::string("route add default via ") + kBridgeV6 + " dev eth0"});
    return;
  }
  connect({*x_node, pod.interface(), kHostMac}, {pod.netns(), "eth0", {}});
  pod.netns().ip(
      {"addr add " + pod.address(Family::kV4) + "/32 dev eth0",
       "addr add " + pod.address(Family::kV6) + "/128 dev eth0",
       std::string("neigh add 169.254.1.1 lladdr ") + kHostMac + " dev eth0 nud permanent",
       std::string("neigh add ") + kHostLinkLocal + " lladdr " + kHostMac +
           " dev eth0 nud permanent",
       "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1 dev eth0",
       std::string("route add default via ") + kHostLinkLocal + " dev eth0"});
  x_node->ip({"route add " + pod.address(Family::kV4) + " dev " + pod.interface() + " scope link",
              "route add " + pod.address(Family::kV6) + " dev " + pod.interface()});
}

HttpServer& Lab::serve_http(const Pod& pod, std::uint16_t port) {
  x_pod_http.push_back(std::make_unique<HttpServer>(
      &pod.netns(), folder() / ("http-" + pod.spec().name + "-" + std::to_string(port)),
      pod.full_name(), port));
  return *x_pod_http.back();
}

void Lab::write_endpoints() {
  std::string text = "endpoints:\n";
  std::map<std::string, bool> namespaces{{"kube-system", true}};
  for (const auto& pod : x_pods) {
    const PodSpec& spec = pod->spec();
    namespaces[spec.pod_namespace] = true;
    text += "  - name: " + spec.name + "\n    namespace: " + spec.pod_namespace +
            "\n    labels: " + label_list(spec.labels) + "\n    ips: [" +
            pod->address(Family::kV4) + ", \"" + pod->address(Family::kV6) +
            "\"]\n    interface: " + pod->interface() + "\n";
  }
  text += std::string("  - name: dns\n    namespace: kube-system\n") +
          "    labels: {k8s-app: kube-dns}\n    ips: [" + kDnsV4 + ", \"" + kDnsV6 + "\"]\n";
  text += "namespaces:\n";
  for (const auto& [name, present] : namespaces) {
    text += "  " + name + ": {labels: {kubernetes.io/metadata.name: " + name + "}}\n";
  }
  text += std::string("nodes:\n  - {name: node-a, ips: [") + kNodeV4 + ", \"" + kNodeV6 + "\"]}\n";
  text += "services: " + x_services + "\n";
  write_file(folder() / "endpoints.yaml.new", text);
  fs::rename(folder() / "endpoints.yaml.new", folder() / "endpoints.yaml");
}

void Lab::use_kubernetes(const fs::path& kubeconfig, const std::string& more) {
  x_kubernetes = "kubeconfig: " + kubeconfig.string() + (more.empty() ? "" : ", ") + more;
}

void Lab::confine(const std::vector<std::string>& capabilities) {
  std::string set = "-all";
  for (std::string name : capabilities) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    set += ",+" + name;
  }
  const std::string own = folder();
  x_confinement = {"unshare",
                   "--mount",
                   "--propagation",
                   "private",
                   "sh",
                   "-ec",
                   "mount --rbind " + own + " " + own +
                       "; mount -o remount,bind,ro /; exec setpriv --no-new-privs --inh-caps=" +
                       set + " --bounding-set=" + set + " \"$@\"",
                   "sh"};
}

void Lab::write_config() {
  const auto in_folder = [&](const char* name) { return (folder() / name).string(); };
  const std::string source = x_kubernetes.empty()
                                 ? "endpoints: {file: " + in_folder("endpoints.yaml") + "}"
                                 : "kubernetes: {" + x_kubernetes + "}";
  write_file(folder() / "weir.yaml",
             "node: {name: node-a}\npolicies: {directory: " + in_folder("policies") + "}\n" +
                 source + "\nsecrets: {directory: " + in_folder("secrets") +
                 "}\nstate: {directory: " + in_folder("state") +
                 "}\nworkers: 2\nredirect: {mode: bpf, bpffs: " + bpffs().string() +
                 "}\nadmin: {address: \"127.0.0.1:" + std::to_string(kAdminPort) +
                 "\"}\nmetrics: {address: \"127.0.0.1:9932\"}\naccessLog: {path: " +
                 in_folder("access.log") + ", format: json}\ndns: " + x_dns_options +
                 "\nacceleration: " + x_acceleration + "\n");
}

void Lab::start_weir() {
  start_weir_without_waiting();
  if (!await_ready()) {
    throw std::runtime_error("weir-proxy did not become ready:\n" + weir_log());
  }
}

void Lab::start_weir_without_waiting() {
  write_endpoints();
  write_config();
  std::vector<std::string> argv = x_confinement;
  if (x_hides_tcx) {
    // AddressSanitizer would have to be the first library.
    argv.insert(argv.end(),
                {"env", "ASAN_OPTIONS=verify_asan_link_order=0", "LD_PRELOAD=" WEIR_NO_TCX});
  }
  argv.insert(argv.end(), {weir_proxy_path(), "--config", folder() / "weir.yaml"});
  x_weir = x_node->start(std::move(argv), folder() / "weir.log");
}

bool Lab::await_ready(std::chrono::milliseconds limit) {
  bool ready = false;
  const bool settled = eventually(
      [&] {
        const auto reply = admin("/ready");
        ready = reply && reply->status == 200;
        return ready || !x_weir->running();
      },
      limit);
  return settled && ready;
}

int Lab::stop_weir() { return x_weir->stop(); }

void Lab::kill_weir() {
  x_weir->send_signal(SIGKILL);
  if (!x_weir->wait(std::chrono::seconds(10))) {
    throw std::runtime_error("weir-proxy outlived SIGKILL");
  }
}

Outcome Lab::cleanup() { return x_node->run({weir_proxy_path(), "cleanup", "--bpffs", bpffs()}); }

std::optional<HttpReply> Lab::admin(const std::string& target, const std::string& method) {
  auto connection = HttpConnection::open(*x_node, "127.0.0.1", kAdminPort, std::chrono::seconds(5));
  if (!connection) {
    return std::nullopt;
  }
  return connection->request({.method = method, .target = target, .host = "127.0.0.1"});
}

boost::json::value Lab::admin_json(const std::string& target) {
  const auto reply = admin(target);
  if (!reply || reply->status != 200) {
    throw std::runtime_error(
        "GET " + target + ": " +
        (reply ? std::to_string(reply->status) + " " + reply->body : std::string("no answer")));
  }
  return boost::json::parse(reply->body);
}

Outcome Lab::weirctl(std::vector<std::string> arguments) {
  std::vector<std::string> argv = {weirctl_path(), "--admin",
                                   "127.0.0.1:" + std::to_string(kAdminPort)};
  argv.insert(argv.end(), std::move_iterator(arguments.begin()),
              std::move_iterator(arguments.end()));
  return x_node->run(std::move(argv));
}

std::vector<boost::json::object> Lab::access_log() const {
  std::vector<boost::json::object> records;
  for (const std::string& line : lines_of(read_file(folder() / "access.log"))) {
    records.push_back(boost::json::parse(line).as_object());
  }
  // One form and length, so that they compare as text.
  std::stable_sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
    return a.at("time").as_string() < b.at("time").as_string();
  });
  return records;
}

std::string Lab::weir_log() const { return read_file(folder() / "weir.log"); }

std::string weir_proxy_path() { return WEIR_BIN_DIRECTORY "/weir-proxy"; }
std::string weirctl_path() { return WEIR_BIN_DIRECTORY "/weirctl"; }

std::uint16_t free_port() {
  // Below those that the kernel gives to whoever names none (ip_local_port_range).
  constexpr std::uint16_t kFirst = 20000, kLast = 32000;
  static std::minstd_rand random(std::random_device{}());
  static std::vector<UniqueFd> claims;
  for (int attempt = 0; attempt < 200; ++attempt) {
    const auto port = std::uniform_int_distribution<std::uint16_t>(kFirst, kLast)(random);
    UniqueFd claimed(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    if (claim(claimed, port) && ::bind(tcp.get(), generic, sizeof address) == 0 &&
        ::bind(udp.get(), generic, sizeof address) == 0) {
      claims.push_back(std::move(claimed));
      return port;
    }
  }
  throw std::runtime_error("no port is free for both TCP and UDP");
}

} // namespace weir::test
