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
  TempFolder folder;
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

TEST_CASE("T15: a request for another host than the hello's server name is denied") {
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

const std::string kBank = "bank.example.test";

// In one entry of toPorts names pass unread, in another one requests are judged.
std::string split_policy(const std::string& names, const std::string& path = "/public/.*") {
  return tls_policy("          serverNames: [" + names +
                        "]\n        - ports: [{port: \"443\", protocol: TCP}]\n" + kBoth,
                    path);
}

TEST_CASE("Server names that pass unread and requests that are judged share one port") {
  Node node;
  node.public_ca.issue("server", std::string("DNS:") + kName + ",DNS:" + kBank);
  node.serve_tls(true);
  node.start(split_policy(kBank));
  const std::vector<std::string> by_server = {"--cacert", node.public_ca.path("ca.crt")};
  CHECK(node.curl("/admin", by_server, kBank) == "2 200"); // the server's own certificate
  CHECK(node.curl("/public/x") == "2 200");                // weir's
  CHECK(node.curl("/admin") == "2 403");
  CHECK(node.curl("/public/x", by_server) == "0 000");
  CHECK(node.curl("/public/x", {"-k"}, "other.example.test") == "0 000");
  CHECK(node.curl("/public/x", {"-k"}, "127.0.0.1") == "0 000"); // no name
  CHECK(node.curl("/public/x", {}, kName, false) == "1.1 403");  // not TLS
  // nginx writes its line after the answer.
  CHECK(eventually([&] {
    return node.tls_server->log() == "HTTP/2.0 GET /admin 200\nHTTP/2.0 GET /public/x 200\n";
  }));
  CHECK(node.logged(R"("protocol":"tls")"));
}

TEST_CASE("What passes unread goes on while its name passes, whatever else changes") {
  Node node;
  node.public_ca.issue("server", std::string("DNS:") + kName + ",DNS:" + kBank);
  node.serve_tls(false);
  node.start(split_policy(kBank));
  // Requests on one connection, one after the other, until it ends.
  const fs::path output = node.folder.path() / "client";
  const Process client = Process::start(
      {.argv = {"/usr/bin/python3", "-c", R"(import http.client, socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[1])
raw = socket.create_connection(("127.0.0.1", int(sys.argv[2])), 10)
tls = context.wrap_socket(raw, server_hostname=sys.argv[3])
try:
    while True:
        tls.sendall(b"GET /admin HTTP/1.1\r\nHost: " + sys.argv[3].encode() + b"\r\n\r\n")
        answer = http.client.HTTPResponse(tls)
        answer.begin()
        answer.read()
        print(answer.status, flush=True)
        time.sleep(0.02)
except OSError as error:
    print("ended", type(error).__name__, flush=True)
)",
                node.public_ca.path("ca.crt"), std::to_string(node.listener), kBank},
       .output = output});
  const auto goes_on = [&] {
    const std::size_t before = read_file(output).size();
    return eventually([&] {
             const std::string said = read_file(output);
             return said.size() > before + 40 || said.find("ended") != std::string::npos;
           }) &&
           read_file(output).find("ended") == std::string::npos;
  };
  CHECK(goes_on());
  // Seen in force on a connection of its own, then on the running one.
  node.policies.publish({{"out.yaml", split_policy(kBank, "/other/.*")}});
  REQUIRE(eventually([&] { return node.curl("/public/x") == "1.1 403"; }));
  CHECK(goes_on());
  node.policies.publish({{"out.yaml", split_policy(kBank + ", more.example.test")}});
  REQUIRE(eventually([&] { return node.curl("/public/x") == "1.1 200"; }));
  CHECK(goes_on());
  std::string only_names = split_policy(kBank);
  only_names.erase(only_names.find("        - ports", only_names.find("serverNames")));
  node.policies.publish({{"out.yaml", only_names}});
  REQUIRE(eventually([&] { return node.curl("/public/x", {"-k"}) == "0 000"; }));
  CHECK(goes_on());
  node.policies.publish({{"out.yaml", split_policy(kBank)}});
  REQUIRE(eventually([&] { return node.curl("/public/x") == "1.1 200"; }));
  CHECK(goes_on());
  node.policies.publish({{"out.yaml", split_policy("more.example.test")}});
  CHECK(eventually([&] { return read_file(output).find("ended") != std::string::npos; }));
  INFO(read_file(node.folder.path() / "access.log"));
  CHECK(node.logged(R"("verdict":"DENIED")"));
}

TEST_CASE("T17: a server that does not prove its name is not passed through") {
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

TEST_CASE("A secret that is missing or broken allows nothing and is shown, and mended, it serves") {
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

TEST_CASE("A3: A header is compared with the only item of a secret, and with its new one") {
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

// nginx that says what of the two fields reached it, in HTTP/2 by prior knowledge or in HTTP/1.1.
Process serve_fields(const fs::path& folder, std::uint16_t port, bool http2) {
  fs::create_directories(folder);
  std::string config =
      "daemon off;\npid " + (folder / "pid").string() + ";\nevents {}\nhttp {\n  access_log off;\n";
  for (const char* temporary : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    config += std::string("  ") + temporary + "_temp_path " + (folder / temporary).string() + ";\n";
  }
  config += "  server { listen 127.0.0.1:" + std::to_string(port) + (http2 ? " http2" : "") +
            "; location / { return 200 \"token=$http_x_token other=$http_x_other\"; } }\n}\n";
  write_file(folder / "nginx.conf", config);
  Process nginx =
      Process::start({.argv = {"nginx", "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"},
                      .output = folder / "output"});
  REQUIRE(eventually([&] { return !read_file(folder / "pid").empty(); }));
  return nginx;
}

TEST_CASE("P6: a secret's value is put into requests, and is shown nowhere") {
  for (const bool http2 : {false, true}) {
    INFO((http2 ? "HTTP/2" : "HTTP/1.1"));
    Node node;
    const Process server = serve_fields(node.folder.path() / "fields", node.upstream, http2);
    const fs::path token = node.folder.path() / "secrets/shop/token/value";
    fs::create_directories(token.parent_path());
    write_file(token, "s3cret-0");
    std::string policy = tls_policy("");
    const std::string rule = "{path: \"/public/.*\"}";
    std::string rules;
    for (const char* mismatch : {"ADD", "REPLACE", "DELETE", "LOG"}) {
      rules += std::string(rules.empty() ? "" : ", ") + "{path: /" + mismatch +
               ", headerMatches: [{name: X-Token, secret: {name: token}, mismatch: " + mismatch +
               "}]}";
    }
    policy.replace(policy.find(rule), rule.size(), rules);
    node.start(policy);
    const auto ask = [&](const std::string& path, const std::string& value) {
      std::vector<std::string> argv = {"curl",
                                       "-sS",
                                       "--max-time",
                                       "5",
                                       "-H",
                                       "X-Other: o",
                                       http2 ? "--http2-prior-knowledge" : "--http1.1"};
      if (!value.empty()) {
        argv.insert(argv.end(), {"-H", "X-Token: " + value});
      }
      argv.push_back("http://127.0.0.1:" + std::to_string(node.listener) + path);
      return run({.argv = argv}).out;
    };
    CHECK(ask("/ADD", "") == "token=s3cret-0 other=o");
    CHECK(ask("/ADD", "s3cret-0") == "token=s3cret-0 other=o");
    CHECK(ask("/REPLACE", "") == "token=s3cret-0 other=o");
    CHECK(ask("/REPLACE", "forged") == "token=s3cret-0 other=o");
    CHECK(ask("/DELETE", "forged") == "token= other=o");
    CHECK(ask("/DELETE", "s3cret-0") == "token=s3cret-0 other=o");
    CHECK(ask("/LOG", "forged") == "token=forged other=o");
    CHECK(node.logged(R"("header_mismatches":"X-Token")"));
    write_file(token, "s3cret-1");
    CHECK(eventually([&] { return ask("/REPLACE", "forged") == "token=s3cret-1 other=o"; }));

    // What cannot be a header's value, or is not there, allows nothing, and is said.
    const auto denied = [&] {
      for (const char* path : {"/ADD", "/REPLACE", "/DELETE", "/LOG"}) {
        if (ask(path, "s3cret-1") != "Access denied\r\n" || ask(path, "") != "Access denied\r\n") {
          return false;
        }
      }
      return node.policy_message().find("headerMatches: secret shop/token: ") != std::string::npos;
    };
    for (const char* broken : {"s3cret-1\n", "s3cret-1\r\nHost: other", ""}) {
      write_file(token, broken);
      CHECK(eventually(denied));
    }
    write_file(token, "s3cret-1");
    CHECK(eventually([&] { return ask("/ADD", "") == "token=s3cret-1 other=o"; }));
    fs::remove(token);
    CHECK(eventually(denied));

    std::string everything =
        read_file(node.folder.path() / "weir.log") + read_file(node.folder.path() / "access.log");
    for (const char* page : {"/config_dump", "/policies", "/stats", "/listeners", "/endpoints"}) {
      everything += node.admin(page).value_or(HttpReply{}).body;
    }
    CHECK(everything.find("s3cret") == std::string::npos);
  }
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
  // Many streams inside TLS, denied ones among allowed ones of the same connection.
  const std::string base = std::string("https://") + kName;
  const Outcome load = client.netns().run({"h2load", "-n", "400", "-c", "4", "-m", "50",
                                           "--connect-to=" + web.address(Family::kV4) + ":443",
                                           base + "/public/many", base + "/denied"});
  INFO(load.text());
  CHECK(load.out.find("400 total, 400 started, 400 done") != std::string::npos);
  CHECK(load.out.find("200 2xx, 0 3xx, 200 4xx, 0 5xx") != std::string::npos);
  const std::string log = server.log();
  INFO(log);
  CHECK(log.find("/denied") == std::string::npos);
  CHECK(log.find("HTTP/2.0 GET /public/x 200") != std::string::npos);
  CHECK(log.find("HTTP/1.1 GET /public/x 200") != std::string::npos);
  CHECK(log.find("/admin") == std::string::npos);
}

} // namespace
} // namespace weir::test
