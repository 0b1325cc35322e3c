// Static listeners: the same sessions and policies on loopback, without BPF and without root.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

namespace weir::test {
namespace {

struct Loopback {
  TempFolder folder;
  HttpServer http{nullptr, folder.path() / "http", "shop/web", free_port()};
  DnsServer dns{nullptr, {"127.0.0.1"}, folder.path() / "dns", free_port()};
  PolicyFolder policies{folder.path() / "policies"};
  std::uint16_t admin_port = free_port(), http_port = free_port(), stranger_port = free_port(),
                dns_port = free_port();
  std::optional<Process> weir;

  Loopback() {
    policies.publish({{"web.yaml", kHttpIngress}, {"egress.yaml", egress_policy()}});
    write_file(folder.path() / "endpoints.yaml", R"(endpoints:
  - {name: web, namespace: shop, labels: {app: web}, ips: [10.0.1.11]}
  - {name: client, namespace: shop, labels: {app: client}, ips: [10.0.1.12]}
  - {name: stranger, namespace: shop, labels: {app: other}, ips: [10.0.1.13]}
  - {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}, ips: [10.0.1.53]}
)");
    write_file(folder.path() / "weir.yaml", config());
    weir = Process::start({.argv = {weir_proxy_path(), "--config", folder.path() / "weir.yaml"},
                           .output = folder.path() / "weir.log"});
    const bool ready = eventually([&] { return is_ready(admin_port); });
    INFO(read_file(folder.path() / "weir.log"));
    REQUIRE(ready);
  }

  static std::string egress_policy() {
    std::string policy = kFqdnEgress;
    policy.replace(policy.find("matchPattern: \"*\""), 17, "matchPattern: \"*.example.test\"");
    return policy;
  }

  std::string config() {
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    const auto listener = [](const char* name, std::uint16_t port, std::uint16_t upstream,
                             const char* rest) {
      return "  - {name: " + std::string(name) +
             ", type: static, address: \"127.0.0.1:" + std::to_string(port) +
             "\", upstream: \"127.0.0.1:" + std::to_string(upstream) + "\", " + rest + "}\n";
    };
    return "node: {name: node-a}\npolicies: {directory: " + path("policies") +
           "}\nendpoints: {file: " + path("endpoints.yaml") +
           "}\nstate: {directory: " + path("state") +
           "}\nworkers: 2\nredirect: {mode: none}\nadmin: {address: \"127.0.0.1:" +
           std::to_string(admin_port) +
           "\"}\nmetrics: {address: \"127.0.0.1:" + std::to_string(free_port()) +
           "\"}\naccessLog: {path: " + path("access.log") + ", format: json}\nlisteners:\n" +
           listener("shop", http_port, http.port(),
                    "protocol: http, direction: ingress, endpoint: shop/web, peer: shop/client, "
                    "port: 80") +
           listener("strangers", stranger_port, http.port(),
                    "protocol: http, direction: ingress, endpoint: shop/web, peer: shop/stranger, "
                    "port: 80") +
           listener("names", dns_port, dns.port(),
                    "protocol: dns, direction: egress, endpoint: shop/client, "
                    "peer: kube-system/dns, port: 53");
  }

  static std::optional<HttpReply> get(std::uint16_t port, const std::string& target,
                                      const std::string& method = "GET") {
    auto connection = HttpConnection::open("127.0.0.1", port);
    return connection
               ? connection->request({.method = method, .target = target, .host = "127.0.0.1"})
               : std::nullopt;
  }
  Outcome dig(std::vector<std::string> arguments) const {
    std::vector<std::string> argv = {"dig",     "@127.0.0.1", "-p", std::to_string(dns_port),
                                     "+time=5", "+tries=1"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run({.argv = argv});
  }
};

TEST_CASE("a static HTTP listener asks the ingress policy of its endpoint") {
  Loopback loopback;
  const auto allowed = loopback.get(loopback.http_port, "/discount");
  REQUIRE(allowed);
  CHECK(allowed->status == 200);
  CHECK(allowed->body == "shop/web\n");
  const auto denied = loopback.get(loopback.http_port, "/discount", "POST");
  REQUIRE(denied);
  CHECK(denied->status == 403);
  CHECK(denied->body == "Access denied\r\n");
  CHECK(denied->headers.at("x-weir-denied-by") == "shop/web-ingress");
  // Not at L7 but at L3: a static listener has nobody to drop for it, so it answers or closes.
  const auto stranger = loopback.get(loopback.stranger_port, "/discount");
  CHECK((!stranger || stranger->status == 403));
  CHECK(loopback.get(loopback.http.port(), "/end")->status == 200);
  CHECK(loopback.http.requests_before("/end") ==
        std::vector<std::string>{"127.0.0.1 GET /discount 200"});
}

TEST_CASE("A6: what credentials hold is neither logged nor told, allowed or denied") {
  Loopback loopback;
  std::string policy = kHttpIngress;
  policy.replace(
      policy.find("path: \"/discount\"\n"), 18,
      "path: \"/discount\"\n                headers: [\"Authorization: Bearer wanted-0\"]\n");
  loopback.policies.publish({{"web.yaml", policy}});
  const auto ask = [&](const std::string& authorization) {
    return run({.argv = {"curl", "-sS", "--max-time", "5", "-H", "Authorization: " + authorization,
                         "-H", "Cookie: session=cookie-0", "-H", "Accept: application/problem+json",
                         "-u", "user-0:password-0", "-w", "%{http_code}",
                         "http://127.0.0.1:" + std::to_string(loopback.http_port) + "/discount"}})
        .out;
  };
  std::string told;
  REQUIRE(eventually([&] { return (told = ask("Bearer given-0")).ends_with("403"); }));
  CHECK(told.find("header `Authorization` is not what it asks for") != std::string::npos);
  CHECK(ask("Bearer wanted-0").ends_with("200"));
  REQUIRE(eventually([&] {
    return read_file(loopback.folder.path() / "access.log").find("ALLOWED") != std::string::npos;
  }));
  const std::string everything =
      told + read_file(loopback.folder.path() / "access.log") +
      read_file(loopback.folder.path() / "weir.log") +
      loopback.get(loopback.admin_port, "/config_dump").value_or(HttpReply{}).body;
  for (const char* value : {"given-0", "wanted-0", "cookie-0", "password-0"}) {
    CHECK(everything.find(value) == std::string::npos);
  }
}

TEST_CASE("weirctl policy trace asks the running proxy for what is in force") {
  Loopback loopback;
  const auto trace = [&](std::vector<std::string> arguments) {
    std::vector<std::string> argv = {weirctl_path(), "--admin",
                                     "127.0.0.1:" + std::to_string(loopback.admin_port), "policy",
                                     "trace"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run({.argv = argv});
  };
  const Outcome denied = trace({"--from", "shop/client", "--to", "shop/web", "--port", "80",
                                "--method", "POST", "--path", "/discount"});
  INFO(denied.text());
  CHECK(denied.out.find("ingress of shop/web from shop/client: denied\n") != std::string::npos);
  CHECK(denied.out.find("nearest: path `/discount` is allowed by shop/web-ingress ingress rule 1, "
                        "method `POST` is not (it asks for `GET`) (web.yaml:11)") !=
        std::string::npos);

  // An address that the pod has learned, and one that it has not.
  const std::vector<std::string> learned = {"--from",   "shop/client", "--to",
                                            kAllowedV4, "--port",      "443"};
  CHECK(trace(learned).out.find("verdict: denied\n") != std::string::npos);
  CHECK(loopback.dig({"+short", kAllowedName, "A"}).out == std::string(kAllowedV4) + "\n");
  CHECK(trace(learned).out.find("allowed by shop/client-egress egress rule 2") !=
        std::string::npos);

  // A new policy is asked as soon as it is in force.
  loopback.policies.publish({{"web.yaml", kHttpIngress}});
  CHECK(eventually([&] {
    return trace(learned).out.find("no policy selects the pod in this direction") !=
           std::string::npos;
  }));
  const Outcome unknown = trace({"--from", "shop/nobody", "--to", "shop/web", "--port", "80"});
  CHECK(unknown.text().find("there is no pod shop/nobody") != std::string::npos);
}

TEST_CASE("a static HTTP listener speaks HTTP/2 by prior knowledge, and judges each stream") {
  Loopback loopback;
  const std::string url = "http://127.0.0.1:" + std::to_string(loopback.http_port);
  const auto curl = [&](std::vector<std::string> arguments) {
    std::vector<std::string> argv = {"curl", "-sS", "--http2-prior-knowledge",     "--max-time",
                                     "5",    "-w",  "%{http_version} %{http_code}"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run({.argv = argv});
    UNSCOPED_INFO(outcome.text());
    return outcome.out;
  };
  // The server behind it speaks HTTP/1.1 only: nothing is translated down.
  CHECK(curl({"-o", "/dev/null", url + "/discount"}) == "2 502");
  CHECK(curl({"-d", "code=1", url + "/discount"}) == "Access denied\r\n2 403");
  CHECK(loopback.get(loopback.http.port(), "/end")->status == 200);
  for (const std::string& line : loopback.http.requests_before("/end")) {
    CHECK(line.find("/discount") == std::string::npos);
  }
}

TEST_CASE("a static DNS listener answers UDP and TCP by the egress policy of its endpoint") {
  Loopback loopback;
  for (const char* transport : {"+notcp", "+tcp"}) {
    INFO(transport);
    CHECK(loopback.dig({transport, "+short", kAllowedName, "A"}).out ==
          std::string(kAllowedV4) + "\n");
    CHECK(loopback.dig({transport, "+short", kAllowedName, "AAAA"}).out ==
          std::string(kAllowedV6) + "\n");
    const Outcome refused = loopback.dig({transport, "forbidden.test"});
    INFO(refused.text());
    CHECK(refused.out.find("status: REFUSED") != std::string::npos);
  }
  for (const std::string& name : loopback.dns.queries()) {
    CHECK(name != "forbidden.test");
  }
  const auto cache = loopback.get(loopback.admin_port, "/fqdn/cache");
  REQUIRE(cache);
  const auto rows = boost::json::parse(cache->body).as_array();
  CHECK(rows.size() == 2);
  for (const auto& row : rows) {
    CHECK(boost::json::value_to<std::string>(row.at("pod")) == "shop/client");
    CHECK(boost::json::value_to<std::string>(row.at("name")) == kAllowedName);
  }
}

TEST_CASE("mode validate answers with its exit code and serves nothing") {
  const TempFolder folder;
  PolicyFolder policies(folder.path() / "policies");
  policies.publish({{"web.yaml", kHttpIngress}});
  write_file(folder.path() / "endpoints.yaml", "endpoints: []\n");
  const std::string config = "policies: {directory: " + policies.path().string() +
                             "}\nendpoints: {file: " + (folder.path() / "endpoints.yaml").string() +
                             "}\nredirect: {mode: none}\n";
  const auto validate = [&](const std::string& text) {
    write_file(folder.path() / "weir.yaml", text);
    return run({.argv = {weir_proxy_path(), "--mode", "validate", "--config",
                         folder.path() / "weir.yaml"}});
  };
  const Outcome good = validate(config);
  INFO(good.text());
  CHECK(good.exit_code == 0);
  const Outcome unknown = validate(config + "polices: {}\n");
  INFO(unknown.text());
  CHECK(unknown.exit_code != 0);
  CHECK((unknown.out + unknown.err).find("weir.yaml:4:1: ") != std::string::npos);
}

} // namespace
} // namespace weir::test
