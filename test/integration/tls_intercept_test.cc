// HTTP inside TLS: what clients and servers of the machine make of it when weir ends the one's TLS
// and begins the other's. Certificates are made for each test.
#include "test/support/lab.h"
#include "test/support/lab_tls.h"

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <filesystem>

namespace weir::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "api.example.test";

// A secret as kubelet mounts one: ITEM → ..data/ITEM, and ..data → a folder that is exchanged.
class MountedSecret {
public:
  explicit MountedSecret(fs::path path) : x_mount(std::move(path)) {}
  // File name → where its content is to be copied from.
  void publish(const std::map<std::string, std::string>& items) {
    std::map<std::string, std::string> files;
    for (const auto& [name, from] : items) {
      files[name] = read_file(from);
    }
    x_mount.publish(files);
  }

private:
  PolicyFolder x_mount;
};

std::string tls_policy(const std::string& tls, const std::string& path = "/public/.*") {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: out, namespace: "
         "shop}\nspec:\n  endpointSelector: {matchLabels: {app: client}}\n  egress:\n"
         "    - toEndpoints: [{matchLabels: {app: web}}]\n      toPorts:\n"
         "        - ports: [{port: \"443\", protocol: TCP}]\n" +
         tls + "          rules: {http: [{path: \"" + path + "\"}]}\n";
}
const std::string kBoth = "          serverNames: [api.example.test]\n"
                          "          terminatingTLS: {secret: {name: web, namespace: shop}}\n"
                          "          originatingTLS: {secret: {name: trust}}\n";
const std::string kTerminating = "          terminatingTLS: {secret: {name: web}}\n";
const std::string kOriginating = "          originatingTLS: {secret: {name: trust}}\n";

struct Node {
  TemporaryFolder folder;
  Authority ours{folder.path() / "ours"}, public_ca{folder.path() / "public"};
  MountedSecret web{folder.path() / "secrets/shop/web"},
      trust{folder.path() / "secrets/shop/trust"};
  PolicyFolder policies{folder.path() / "policies"};
  std::uint16_t admin_port = free_port(), listener = free_port(), upstream = free_port();
  std::optional<TlsServer> tls_server;
  std::optional<HttpServer> plain_server;
  std::optional<Process> weir;

  Node() {
    ours.issue("web", std::string("DNS:") + kName);
    public_ca.issue("server", std::string("DNS:") + kName);
    fs::create_directories(folder.path() / "secrets/shop");
    web.publish({{"tls.crt", ours.path("web.crt")}, {"tls.key", ours.path("web.key")}});
    trust.publish({{"ca.crt", public_ca.path("ca.crt")}});
  }

  void serve_tls(bool http2, const std::string& certificate = "server") {
    tls_server.emplace(nullptr, folder.path() / "nginx", public_ca.path(certificate), upstream,
                       http2);
  }
  void serve_plain() {
    plain_server.emplace(nullptr, folder.path() / "http", "shop/web", upstream);
  }

  void start(const std::string& policy) {
    policies.publish({{"out.yaml", policy}});
    write_file(folder.path() / "endpoints.yaml", R"(endpoints:
  - {name: web, namespace: shop, labels: {app: web}, ips: [10.0.1.11]}
  - {name: client, namespace: shop, labels: {app: client}, ips: [10.0.1.12]}
)");
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    write_file(folder.path() / "weir.yaml",
               "policies: {directory: " + path("policies") + "}\nendpoints: {file: " +
                   path("endpoints.yaml") + "}\nsecrets: {directory: " + path("secrets") +
                   "}\nstate: {directory: " + path("state") +
                   "}\nworkers: 1\nredirect: {mode: none}\nadmin: {address: \"127.0.0.1:" +
                   std::to_string(admin_port) + "\"}\nmetrics: {address: \"127.0.0.1:" +
                   std::to_string(free_port()) + "\"}\naccessLog: {path: " + path("access.log") +
                   "}\nlisteners:\n  - {name: out, type: static, address: \"127.0.0.1:" +
                   std::to_string(listener) +
                   "\", upstream: \"127.0.0.1:" + std::to_string(upstream) +
                   "\", protocol: http, direction: egress, endpoint: shop/client, peer: shop/web, "
                   "port: 443}\n");
    weir = Process::start({.argv = {weir_proxy_path(), "--config", folder.path() / "weir.yaml"},
                           .output = folder.path() / "weir.log"});
    const bool ready = eventually([&] {
      const auto reply = admin("/ready");
      return reply && reply->status == 200;
    });
    INFO(read_file(folder.path() / "weir.log"));
    REQUIRE(ready);
  }

  std::optional<HttpReply> admin(const std::string& target) const {
    auto connection = HttpConnection::open("127.0.0.1", admin_port);
    return connection ? connection->request({.target = target, .host = "127.0.0.1"}) : std::nullopt;
  }
  // "VERSION STATUS" of the request; "0 000" when the handshake failed.
  [[nodiscard]] std::string curl(const std::string& path, std::vector<std::string> more = {},
                                 const std::string& name = kName, bool tls = true) const {
    std::vector<std::string> argv = {"curl",         "-sS",
                                     "--max-time",   "5",
                                     "-o",           "/dev/null",
                                     "--cacert",     ours.path("ca.crt"),
                                     "--connect-to", "::127.0.0.1:" + std::to_string(listener),
                                     "-w",           "%{http_version} %{http_code}"};
    argv.insert(argv.end(), more.begin(), more.end());
    argv.push_back((tls ? "https://" : "http://") + name + path);
    const Outcome outcome = run({.argv = argv});
    UNSCOPED_INFO(outcome.text());
    return outcome.out;
  }
  [[nodiscard]] std::string policy_message() const {
    const auto rows = boost::json::parse(admin("/policies")->body).as_array();
    return boost::json::value_to<std::string>(rows.at(0).at("message"));
  }
  [[nodiscard]] bool logged(const std::string& text) const {
    return eventually(
        [&] { return read_file(folder.path() / "access.log").find(text) != std::string::npos; });
  }
};

TEST_CASE("HTTP/1.1 and HTTP/2 inside TLS are judged, and travel on inside TLS") {
  for (const bool http2 : {false, true}) {
    INFO((http2 ? "server with HTTP/2" : "server with HTTP/1.1 only"));
    Node node;
    node.serve_tls(http2);
    node.start(tls_policy(kBoth));
    // What the server does not speak the client is not promised.
    CHECK(node.curl("/public/x") == (http2 ? "2 200" : "1.1 200"));
    CHECK(node.curl("/public/x", {"--http1.1"}) == "1.1 200");
    CHECK(node.curl("/public/x", {"--no-alpn"}) == "1.1 200");
    CHECK(node.curl("/public/x", {"--tls-max", "1.2"}) == (http2 ? "2 200" : "1.1 200"));
    CHECK(node.curl("/admin") == (http2 ? "2 403" : "1.1 403"));
    CHECK(node.curl("/public/../admin", {"--path-as-is"}) == (http2 ? "2 403" : "1.1 403"));
    CHECK(node.tls_server->log().find("/admin") == std::string::npos);
  }
}

TEST_CASE("T: a request for another host than the hello's server name is denied") {
  Node node;
  node.serve_tls(true);
  node.start(tls_policy(kBoth));
  CHECK(node.curl("/public/x", {"-H", "Host: other.test"}) == "2 403");
  CHECK(node.curl("/public/x", {"--http1.1", "-H", "Host: other.test"}) == "1.1 403");
  CHECK(node.curl("/public/x", {"-H", std::string("Host: ") + kName + ":443"}) == "2 200");
  CHECK(node.logged(R"("reason":"server-name")"));
}

TEST_CASE("T: a server name that no rule has gets an alert, and nothing reaches the server") {
  Node node;
  node.serve_tls(true);
  node.start(tls_policy(kBoth));
  CHECK(node.curl("/public/x", {"-k"}, "other.test") == "0 000");
  CHECK(node.curl("/public/x", {"-k"}, "127.0.0.1") == "0 000");
  CHECK(node.curl("/public/x", {}, kName, false) == "1.1 403"); // not TLS: no rule is about that
  CHECK(node.tls_server->log().empty());
  CHECK(node.logged(R"("reason":"sni")"));
}

TEST_CASE("T: a server that does not prove its name is not passed through") {
  Node node;
  SECTION("by another authority") {
    node.trust.publish({{"ca.crt", node.ours.path("ca.crt")}});
    node.serve_tls(true);
  }
  SECTION("for another name") {
    node.public_ca.issue("other", "DNS:other.test");
    node.serve_tls(true, "other");
  }
  SECTION("expired") {
    node.public_ca.issue("old", std::string("DNS:") + kName, "-1");
    node.serve_tls(true, "old");
  }
  node.start(tls_policy(kBoth));
  CHECK(node.curl("/public/x", {"--http1.1"}) == "1.1 503");
  CHECK(node.curl("/public/x").ends_with(" 503"));
  CHECK(node.logged(R"("reason":"upstream-certificate")"));
  CHECK(node.tls_server->log().empty());
}

TEST_CASE("A server that cannot be reached is a 503 inside the client's TLS") {
  Node node;
  node.start(tls_policy(kBoth));
  CHECK(node.curl("/public/x", {"--http1.1"}) == "1.1 503");
  CHECK(node.logged(R"("reason":"upstream-refused")"));
}

TEST_CASE("TLS can end at weir: the server is spoken to in plain text") {
  Node node;
  node.serve_plain();
  node.start(tls_policy(kTerminating));
  CHECK(node.curl("/public/x") == "1.1 200");
  CHECK(node.curl("/admin") == "1.1 403");
  CHECK(node.plain_server->requests_before("/public/x").empty());
}

TEST_CASE("TLS can begin at weir: plain requests travel on inside it") {
  Node node;
  node.serve_tls(true);
  node.start(tls_policy(kOriginating));
  CHECK(node.curl("/public/x", {"--http1.1"}, kName, false) == "1.1 200");
  CHECK(node.curl("/public/x", {"--http2-prior-knowledge"}, kName, false) == "2 200");
  CHECK(node.curl("/admin", {"--http2-prior-knowledge"}, kName, false) == "2 403");
  CHECK(node.curl("/public/x", {}, "other.test", false) == "1.1 503"); // not the server's name
  CHECK(node.logged(R"("reason":"upstream-certificate")"));
}

TEST_CASE("Clients have to show a certificate where the policy names a trusted CA for them") {
  Node node;
  node.ours.issue("client", "DNS:client.test");
  node.public_ca.issue("stranger", "DNS:client.test");
  node.web.publish({{"tls.crt", node.ours.path("web.crt")},
                    {"tls.key", node.ours.path("web.key")},
                    {"clients.crt", node.ours.path("ca.crt")}});
  node.serve_plain();
  node.start(
      tls_policy("          terminatingTLS: {secret: {name: web}, trustedCA: clients.crt}\n"));
  const auto with = [](const std::string& certificate) {
    return std::vector<std::string>{"--cert", certificate + ".crt", "--key", certificate + ".key"};
  };
  CHECK(node.curl("/public/x", with(node.ours.path("client"))) == "1.1 200");
  CHECK(node.curl("/public/x").ends_with("000"));
  CHECK(node.curl("/public/x", with(node.public_ca.path("stranger"))).ends_with("000"));
  CHECK(node.logged(R"("reason":"client-certificate")"));
}

TEST_CASE("A secret that is missing or broken allows nothing and is shown; mended, it serves") {
  Node node;
  node.serve_plain();
  SECTION("missing") { fs::remove_all(node.folder.path() / "secrets/shop/web"); }
  SECTION("without a key") { node.web.publish({{"tls.crt", node.ours.path("web.crt")}}); }
  SECTION("with another certificate's key") {
    node.web.publish(
        {{"tls.crt", node.ours.path("web.crt")}, {"tls.key", node.ours.path("ca.key")}});
  }
  SECTION("no certificate at all") {
    node.web.publish(
        {{"tls.crt", node.ours.path("web.ext")}, {"tls.key", node.ours.path("web.key")}});
  }
  node.start(tls_policy(kTerminating));
  CHECK(node.curl("/public/x", {"-k"}) == "0 000");
  CHECK(node.policy_message().find("terminatingTLS: secret shop/web: ") != std::string::npos);
  MountedSecret again(node.folder.path() / "secrets/shop/web");
  again.publish({{"tls.crt", node.ours.path("web.crt")}, {"tls.key", node.ours.path("web.key")}});
  CHECK(eventually([&] { return node.policy_message().empty(); }));
  CHECK(node.curl("/public/x") == "1.1 200");
}

TEST_CASE("A renewed certificate is shown without a restart") {
  Node node;
  node.serve_plain();
  node.start(tls_policy(kTerminating));
  CHECK(node.curl("/public/x") == "1.1 200");
  node.public_ca.issue("web", std::string("DNS:") + kName);
  node.web.publish(
      {{"tls.crt", node.public_ca.path("web.crt")}, {"tls.key", node.public_ca.path("web.key")}});
  CHECK(eventually([&] {
    return node.curl("/public/x", {"--cacert", node.public_ca.path("ca.crt")}) == "1.1 200";
  }));
  CHECK(node.curl("/public/x") == "0 000"); // the old authority is not its issuer
}

TEST_CASE("A header is compared with the only item of a secret, and with its new one") {
  Node node;
  node.serve_plain();
  fs::create_directories(node.folder.path() / "secrets/shop/token");
  const fs::path token = node.folder.path() / "secrets/shop/token/value";
  write_file(token, "s3cret");
  std::string policy = tls_policy("");
  const std::string rule = "{path: \"/public/.*\"}";
  policy.replace(policy.find(rule), rule.size(),
                 "{path: \"/public/.*\", headerMatches: [{name: X-Token, secret: {name: token}}]}");
  node.start(policy);
  const auto with = [&](const std::string& value) {
    return node.curl("/public/x", {"-H", "X-Token: " + value}, kName, false);
  };
  CHECK(with("s3cret") == "1.1 200");
  CHECK(with("other") == "1.1 403");
  CHECK(node.curl("/public/x", {}, kName, false) == "1.1 403");
  write_file(token, "renewed");
  CHECK(eventually([&] { return with("renewed") == "1.1 200"; }));
  CHECK(with("s3cret") == "1.1 403");
  fs::remove(token);
  CHECK(eventually([&] { return with("renewed") == "1.1 403"; }));
  CHECK(node.policy_message().find("headerMatches: secret shop/token: ") != std::string::npos);
  const std::string everything = node.admin("/config_dump").value_or(HttpReply{}).body +
                                 node.admin("/policies")->body +
                                 read_file(node.folder.path() / "weir.log");
  CHECK(everything.find("renewed") == std::string::npos);
}

TEST_CASE("TLS of a pod is ended and begun on its way to a server that sees the pod's address") {
  require_root();
  Lab lab;
  Authority ours(lab.folder() / "ours"), public_ca(lab.folder() / "public");
  ours.issue("web", std::string("DNS:") + kName);
  public_ca.issue("server", std::string("DNS:") + kName);
  fs::create_directories(lab.folder() / "secrets/shop");
  MountedSecret(lab.folder() / "secrets/shop/web")
      .publish({{"tls.crt", ours.path("web.crt")}, {"tls.key", ours.path("web.key")}});
  MountedSecret(lab.folder() / "secrets/shop/trust")
      .publish({{"ca.crt", public_ca.path("ca.crt")}});
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  TlsServer server(&web.netns(), lab.folder() / "nginx", public_ca.path("server"), 443, true);
  lab.policies().publish({{"out.yaml", tls_policy(kBoth)}});
  lab.start_weir();
  const auto curl = [&](const std::string& path, std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "--max-time",        "5",         "--cacert",
        ours.path("ca.crt"), "--resolve", std::string(kName) + ":443:" + web.address(Family::kV4)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back("https://" + std::string(kName) + path);
    const CurlResult result = client.curl(arguments);
    UNSCOPED_INFO(result.text);
    return result.status;
  };
  for (const char* version : {"--http2", "--http1.1"}) {
    INFO(version);
    CHECK(curl("/public/x", {version}) == 200);
    CHECK(curl("/admin", {version}) == 403);
  }
  const std::string log = server.log();
  INFO(log);
  CHECK(log.find("HTTP/2.0 GET /public/x 200") != std::string::npos);
  CHECK(log.find("HTTP/1.1 GET /public/x 200") != std::string::npos);
  CHECK(log.find("/admin") == std::string::npos);
}

} // namespace
} // namespace weir::test
