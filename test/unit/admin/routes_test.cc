#include "proxy/admin/routes.h"

#include "proxy/base/log.h"
#include "test/unit/admin/fake_source.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace {

using namespace weir;
using namespace weir::admin;
using boost::beast::http::verb;
using Catch::Matchers::ContainsSubstring;

struct Admin {
  config::Config config;
  test::FakeSource source;

  Reply ask(verb method, std::string_view target, Face face = Face::kAdmin,
            std::string_view host = "127.0.0.1:9931", bool from_web_page = false) {
    return answer({config, source, std::chrono::system_clock::now()}, face,
                  {method, target, host, from_web_page});
  }
  boost::json::value json(std::string_view target) {
    const Reply reply = ask(verb::get, target);
    CHECK(reply.status == 200);
    CHECK(reply.content_type == "application/json");
    return boost::json::parse(reply.body);
  }
};

TEST_CASE("ready says LIVE, or 503 and why not") {
  Admin admin;
  for (const auto* path : {"/ready", "/readyz"}) {
    admin.source.set_readiness({true, ""});
    CHECK(admin.ask(verb::get, path).status == 200);
    CHECK(admin.ask(verb::get, path).body == "LIVE\n");
    admin.source.set_readiness({false, "policies: /etc/weir/policies is missing"});
    CHECK(admin.ask(verb::get, path).status == 503);
    CHECK(admin.ask(verb::get, path).body == "policies: /etc/weir/policies is missing\n");
  }
  // Not ready is no reason to be restarted.
  CHECK(admin.ask(verb::get, "/livez").status == 200);
  CHECK(admin.ask(verb::get, "/healthz").status == 200);
}

TEST_CASE("the lists are arrays of objects with the contract's keys") {
  Admin admin;
  CHECK(admin.json("/policies") == boost::json::parse(R"([
    {"kind": "CiliumNetworkPolicy", "namespace": "shop", "name": "api",
     "file": "/etc/weir/policies/api.yaml", "status": "accepted", "message": ""},
    {"kind": "", "namespace": "", "name": "", "file": "/etc/weir/policies/bad.yaml",
     "status": "rejected",
     "message": "/etc/weir/policies/bad.yaml:3:5: error: unknown field `ingres`, did you mean `ingress`?\n/etc/weir/policies/bad.yaml:9:1: error: <b>\"second\"</b>"}])"));
  CHECK(admin.json("/endpoints") == boost::json::parse(R"([
    {"namespace": "shop", "name": "web", "identity": 256,
     "labels": {"k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "shop"},
     "ips": ["10.0.1.11", "fd00:10:1::11"], "interface": "lxcb", "policies": ["shop/api"],
     "state": "enforced"},
    {"namespace": "shop", "name": "web-2", "identity": 256,
     "labels": {"k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "shop"},
     "ips": ["10.0.1.13"], "interface": "", "policies": [], "state": "remote"}])"));
  CHECK(admin.json("/fqdn/cache") == boost::json::parse(R"([
    {"pod": "shop/client", "name": "www.example.com.", "address": "203.0.113.9", "ttl": 300,
     "expires_at": "2026-11-24T00:00:00.000000Z"},
    {"pod": "shop/client", "name": "www.example.com.", "address": "203.0.113.10", "ttl": 300,
     "expires_at": "2026-11-24T00:00:00.000000Z"}])"));
  CHECK(admin.json("/listeners") == boost::json::parse(R"([
    {"name": "shop", "type": "static", "address": "127.0.0.1:15080", "protocol": "http"}])"));
  CHECK(admin.json("/identities") == boost::json::parse(R"([
    {"identity": 256, "labels": {"k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "shop"},
     "endpoints": ["shop/web", "shop/web-2"]}])"));
}

TEST_CASE("the configuration in force is shown with its defaults") {
  Admin admin;
  admin.config.node.name = "node-a";
  admin.config.listeners = {{"shop", *SocketAddress::parse("127.0.0.1:15080"),
                             *SocketAddress::parse("127.0.0.1:18080"),
                             config::ListenerProtocol::kDns, config::ListenerDirection::kEgress,
                             "shop/web", "world", 53}};
  const auto dump = admin.json("/config_dump");
  CHECK(dump.at("config").at("node").at("name") == "node-a");
  CHECK(dump.at("config").at("http").at("max_head_bytes") == 60 * 1024);
  CHECK(dump.at("config").at("redirect").at("mode") == "bpf");
  CHECK(dump.at("config").at("listeners").at(0).at("protocol") == "dns");
  CHECK(dump.at("config").at("listeners").at(0).at("direction") == "egress");
  CHECK(dump.at("policy_revision") == 7);
  const auto info = admin.json("/server_info");
  CHECK(info.at("state") == "LIVE");
  CHECK(info.at("node") == "node-a");
  CHECK(info.at("policy_revision") == 7);
  CHECK(info.at("attached") == "tcx");
  CHECK(info.at("kubernetes").at("staleness_seconds") == 42);
}

TEST_CASE("A2: what changes something wants POST") {
  struct Case {
    const char* path;
    const char* allow;
  };
  const auto [path, allow] =
      GENERATE(Case{"/reload", "POST"}, Case{"/drain_listeners", "POST"},
               Case{"/quitquitquit", "POST"}, Case{"/ready", "GET, HEAD"},
               Case{"/policies", "GET, HEAD"}, Case{"/logging", "GET, HEAD, POST"});
  Admin admin;
  CAPTURE(path);
  const bool mutates = std::string_view(allow) == "POST";
  const auto wrong = mutates ? verb::get : verb::put;
  const Reply reply = admin.ask(wrong, path);
  CHECK(reply.status == 405);
  CHECK(reply.allow == allow);
  CHECK(admin.ask(verb::head, path).status == (mutates ? 405 : 200));
  CHECK(admin.source.reloads + admin.source.drains + admin.source.quits == 0);
}

TEST_CASE("POST reload, drain and quit reach the control plane once") {
  Admin admin;
  CHECK(admin.ask(verb::post, "/reload").status == 200);
  CHECK(admin.source.reloads == 1);
  CHECK(admin.ask(verb::post, "/drain_listeners").status == 200);
  CHECK(admin.source.drains == 1);
  CHECK(admin.ask(verb::post, "/quitquitquit").status == 200);
  CHECK(admin.source.quits == 1);
}

TEST_CASE("acceleration is shown with its counts, and switched by POST") {
  Admin admin;
  const auto off = admin.json("/acceleration").as_object();
  CHECK(off.at("enabled") == false);
  CHECK(off.at("reason") == "switched off");
  CHECK(off.at("bytes_to_pods") == 4096);
  CHECK(off.at("messages_by_tcp").at("unread") == 2);
  CHECK(admin.ask(verb::post, "/acceleration?enabled=yes").status == 400);
  CHECK(admin.ask(verb::post, "/acceleration").status == 400);
  CHECK(admin.ask(verb::post, "/acceleration?enabled=true").status == 200);
  CHECK(admin.json("/acceleration").at("enabled") == true);
  CHECK(admin.ask(verb::get, "/acceleration", Face::kMetrics).status == 404);
}

TEST_CASE("A2: a web page can neither post nor, by a name of its own, read") {
  Admin admin;
  CHECK(admin.ask(verb::post, "/quitquitquit", Face::kAdmin, "127.0.0.1:9931", true).status == 403);
  CHECK(admin.ask(verb::post, "/quitquitquit", Face::kAdmin, "evil.example").status == 403);
  CHECK(admin.source.quits == 0);
  CHECK(admin.ask(verb::get, "/endpoints", Face::kAdmin, "evil.example:9931").status == 403);
  CHECK(admin.ask(verb::get, "/endpoints", Face::kAdmin, "").status == 403);
}

TEST_CASE("a Host is local when it is an address or localhost") {
  for (const auto* host : {"127.0.0.1", "127.0.0.1:9931", "[::1]", "[::1]:9931", "localhost",
                           "LocalHost:9931", "10.0.0.1:80"}) {
    CAPTURE(host);
    CHECK(is_local_host(host));
  }
  for (const auto* host : {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example",
                           "127.0.0.1@evil.example", "[evil]", "evil:127.0.0.1", "1.2.3.4.5"}) {
    CAPTURE(host);
    CHECK_FALSE(is_local_host(host));
  }
}

TEST_CASE("an unknown query parameter is refused, not ignored") {
  Admin admin;
  for (const auto* target :
       {"/policies?namespace=shop", "/ready?x", "/logging?level=debug", "/stats?format=json"}) {
    CAPTURE(target);
    CHECK(admin.ask(verb::get, target).status == 400);
  }
  CHECK(admin.ask(verb::post, "/reload?force=1").status == 400);
  CHECK(admin.source.reloads == 0);
  CHECK(admin.ask(verb::get, "/policies?").status == 200);
}

TEST_CASE("a trace takes its own parameters, unescaped, and says what is wrong with them") {
  Admin admin;
  const Reply traced =
      admin.ask(verb::get, "/policies/trace?from=shop%2Fweb&path=%2fa%3F&header=A%3A%201");
  CHECK(traced.status == 200);
  CHECK(traced.body.find(R"("from":"shop/web","path":"/a?","headers":["A: 1"])") !=
        std::string::npos);
  CHECK(admin.ask(verb::get, "/policies/trace").status == 400);
  CHECK(admin.ask(verb::get, "/policies/trace?from=a&frm=b").status == 400);
  CHECK(admin.ask(verb::get, "/policies/trace?from=%2").status == 400);
  CHECK(admin.ask(verb::get, "/policies/trace?from=%zz").status == 400);
  CHECK(admin.ask(verb::get, "/policies?from=a").status == 400);
}

TEST_CASE("the log's level is shown and set") {
  Admin admin;
  const std::string before(log::level_name());
  CHECK(admin.ask(verb::post, "/logging?level=debug").status == 200);
  CHECK(log::level_name() == "debug");
  CHECK(admin.ask(verb::get, "/logging").body == "level: debug\n");
  for (const auto* target : {"/logging", "/logging?level=loud", "/logging?level=",
                             "/logging?level=info&level=debug", "/logging?paths=x"}) {
    CAPTURE(target);
    CHECK(admin.ask(verb::post, target).status == 400);
  }
  CHECK(log::level_name() == "debug");
  log::set_level(before);
}

TEST_CASE("the metrics face serves metrics and health and nothing else") {
  Admin admin;
  for (const auto* path :
       {"/metrics", "/stats/prometheus", "/ready", "/readyz", "/livez", "/healthz"}) {
    CAPTURE(path);
    // By a service's name as well: it has nothing that a stranger may not see.
    CHECK(admin.ask(verb::get, path, Face::kMetrics, "weir.kube-system.svc:9932").status == 200);
  }
  for (const auto* path :
       {"/", "/help", "/stats", "/policies", "/endpoints", "/fqdn/cache", "/config_dump",
        "/logging", "/server_info", "/listeners", "/identities"}) {
    CAPTURE(path);
    CHECK(admin.ask(verb::get, path, Face::kMetrics).status == 404);
  }
  for (const auto* path :
       {"/reload", "/drain_listeners", "/quitquitquit", "/logging?level=debug"}) {
    CAPTURE(path);
    CHECK(admin.ask(verb::post, path, Face::kMetrics).status == 404);
  }
  CHECK(admin.source.reloads + admin.source.drains + admin.source.quits == 0);
}

TEST_CASE("help lists every path, and an unknown one is 404") {
  Admin admin;
  const std::string body = admin.ask(verb::get, "/help").body;
  CHECK(admin.ask(verb::get, "/").body == body);
  for (const auto* line :
       {"  GET  /ready ", "  GET  /policies ", "  POST /quitquitquit ", "  GET  /logging "}) {
    CHECK_THAT(body, ContainsSubstring(line));
  }
  CHECK(admin.ask(verb::get, "/nothing").status == 404);
  CHECK(admin.ask(verb::get, "/policies/").status == 404);
  CHECK(admin.ask(verb::get, "http://127.0.0.1/policies").status == 404);
  CHECK(admin.ask(verb::get, "").status == 404);
}

TEST_CASE("A4: nothing is HTML, and no browser may take it for that") {
  Admin admin;
  const std::string help = admin.ask(verb::get, "/help").body;
  std::size_t paths = 0;
  for (std::size_t at = help.find("  GET  /"); at != std::string::npos;
       at = help.find("  GET  /", at + 1), ++paths) {
    const std::string path = help.substr(at + 7, help.find(' ', at + 7) - at - 7);
    CAPTURE(path);
    const std::string type(admin.ask(verb::get, path).content_type);
    CHECK((type == "application/json" || type.starts_with("text/plain")));
  }
  CHECK(paths > 10);
}

TEST_CASE("both stats pages are served") {
  Admin admin;
  CHECK_THAT(admin.ask(verb::get, "/stats").body, ContainsSubstring("weir_policy_revision: 7\n"));
  for (const auto* path : {"/metrics", "/stats/prometheus"}) {
    const Reply reply = admin.ask(verb::get, path);
    CHECK(reply.content_type == "text/plain; version=0.0.4; charset=utf-8");
    CHECK_THAT(reply.body, ContainsSubstring("\nweir_policy_revision 7\n"));
  }
}

} // namespace
