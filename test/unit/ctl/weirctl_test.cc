// weirctl as people run it: a process, against an admin server with fixed rows.
#include "proxy/admin/admin_server.h"
#include "proxy/base/unique_fd.h"
#include "test/support/temp_folder.h"
#include "test/unit/admin/fake_source.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

namespace {

using namespace weir;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

Outcome run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), WEIRCTL);
  std::vector<char*> argv;
  for (auto& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  std::array<std::array<int, 2>, 2> pipes{};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(pipe2(pipes[i].data(), O_CLOEXEC) == 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[i][1], static_cast<int>(i) + 1);
  }
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, WEIRCTL, &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  Outcome outcome;
  std::array<UniqueFd, 2> readers;
  for (std::size_t i = 0; i < 2; ++i) {
    ::close(pipes[i][1]);
    readers[i].reset(pipes[i][0]);
  }
  while (readers[0].valid() || readers[1].valid()) {
    std::array<pollfd, 2> waited = {{{readers[0].get(), POLLIN, 0}, {readers[1].get(), POLLIN, 0}}};
    REQUIRE(poll(waited.data(), 2, -1) > 0);
    for (std::size_t i = 0; i < 2; ++i) {
      if (waited[i].revents == 0) {
        continue;
      }
      std::array<char, 4096> chunk{};
      const ssize_t got = ::read(readers[i].get(), chunk.data(), chunk.size());
      if (got <= 0) {
        readers[i].reset();
        continue;
      }
      (i == 0 ? outcome.out : outcome.err).append(chunk.data(), static_cast<std::size_t>(got));
    }
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

struct Proxy {
  Proxy() {
    config::Config config;
    config.node.name = "node-a";
    config.workers = 2;
    config.admin = *SocketAddress::parse("127.0.0.1:0");
    config.metrics = *SocketAddress::parse("127.0.0.1:0");
    server = *admin::AdminServer::start(config, source);
  }
  Outcome ask(std::vector<std::string> arguments) const {
    arguments.push_back("--admin");
    arguments.push_back(server->admin_address().to_string());
    return run(std::move(arguments));
  }

  test::FakeSource source;
  std::unique_ptr<admin::AdminServer> server;
};

const std::string kGood = "apiVersion: cilium.io/v2\n"
                          "kind: CiliumNetworkPolicy\n"
                          "metadata: {name: api, namespace: shop}\n"
                          "spec:\n"
                          "  endpointSelector: {matchLabels: {app: web}}\n"
                          "  ingress:\n"
                          "    - fromEndpoints: [{matchLabels: {app: client}}]\n";

const std::string kBad = "apiVersion: cilium.io/v2\n"
                         "kind: CiliumNetworkPolicy\n"
                         "metadata: {name: api, namespace: shop}\n"
                         "spec:\n"
                         "  endpointSelector: {matchLabels: {app: web}}\n"
                         "  ingres:\n"
                         "    - fromEndpoints: [{matchLabels: {app: client}}]\n";

TEST_CASE("weirctl policies shows a table, and the same under policy get") {
  const Proxy proxy;
  const Outcome shown = proxy.ask({"policies"});
  CHECK(shown.exit_code == 0);
  CHECK(shown.err.empty());
  CHECK(shown.out ==
        "NAMESPACE   NAME     KIND                  STATUS     FILE                          "
        "MESSAGE\n"
        "shop        api      CiliumNetworkPolicy   accepted   /etc/weir/policies/api.yaml   "
        "<none>\n"
        "<none>      <none>   <none>                rejected   /etc/weir/policies/bad.yaml   "
        "/etc/weir/policies/bad.yaml:3:5: error: unknown field `ingres`, did you mean `ingress`? "
        "…\n");
  CHECK(proxy.ask({"policy", "get"}).out == shown.out);
}

TEST_CASE("weirctl endpoints and fqdn show tables") {
  const Proxy proxy;
  CHECK(proxy.ask({"endpoints"}).out ==
        "NAMESPACE   NAME    IDENTITY   IPS                       INTERFACE   STATE      POLICIES\n"
        "shop        web     256        10.0.1.11,fd00:10:1::11   lxcb        enforced   shop/api\n"
        "shop        web-2   256        10.0.1.13                 <none>      remote     <none>\n");
  const std::string fqdn = "POD           NAME               ADDRESS        TTL   EXPIRES\n"
                           "shop/client   www.example.com.   203.0.113.9    300   "
                           "2026-11-24T00:00:00.000000Z\n"
                           "shop/client   www.example.com.   203.0.113.10   300   "
                           "2026-11-24T00:00:00.000000Z\n";
  CHECK(proxy.ask({"fqdn"}).out == fqdn);
  CHECK(proxy.ask({"fqdn", "list"}).out == fqdn);
}

TEST_CASE("with -o json a list is what the server answers, before or behind the command") {
  const Proxy proxy;
  const Outcome behind = proxy.ask({"policies", "-o", "json"});
  CHECK(behind.exit_code == 0);
  const auto rows = boost::json::parse(behind.out);
  CHECK(rows.at(1).at("status") == "rejected");
  CHECK(proxy.ask({"-o", "json", "policies"}).out == behind.out);
  CHECK(boost::json::parse(proxy.ask({"fqdn", "-o", "json"}).out).as_array().size() == 2);
  CHECK(boost::json::parse(proxy.ask({"endpoints", "-o", "json"}).out).at(0).at("name") == "web");
}

TEST_CASE("weirctl status sums up, and a rejected policy or a proxy that is not ready is exit 1") {
  Proxy proxy;
  const Outcome shown = proxy.ask({"status"});
  CHECK(shown.exit_code == 1);
  CHECK_THAT(shown.out, StartsWith("State:      LIVE\nNode:       node-a\n"));
  CHECK_THAT(shown.out, ContainsSubstring("\nRedirect:   bpf by tcx, 2 workers\n"));
  CHECK_THAT(shown.out, ContainsSubstring("\nKubernetes: degraded, last heard of 42s ago: "));
  CHECK_THAT(shown.out, ContainsSubstring("\nPolicies:   1 accepted, 1 rejected (revision 7, "
                                          "loaded 2026-11-24T00:00:00.000000Z)\n"));
  CHECK_THAT(shown.out, ContainsSubstring("\nEndpoints:  1 enforced, 1 remote\n"));
  CHECK_THAT(shown.out, EndsWith("\nFQDN:       1 names, 2 addresses\n"));

  proxy.source.set_readiness({false, "policies: missing"});
  const Outcome not_ready = proxy.ask({"status"});
  CHECK(not_ready.exit_code == 1);
  CHECK_THAT(not_ready.out, StartsWith("State:      NOT_READY: policies: missing\n"));
  const auto json = boost::json::parse(proxy.ask({"status", "-o", "json"}).out);
  CHECK(json.at("server").at("state") == "NOT_READY");
  CHECK(json.at("policies").at("rejected") == 1);
  CHECK(json.at("fqdn").at("addresses") == 2);
}

TEST_CASE("weirctl sysdump writes what the proxy shows into one file for its owner alone") {
  const Proxy proxy;
  const test::TempFolder folder;
  const std::string path = folder.file("dump.json");
  const Outcome written = proxy.ask({"sysdump", "--file", path});
  CHECK(written.exit_code == 0);
  CHECK_THAT(written.out, ContainsSubstring(path));
  CHECK((std::filesystem::status(path).permissions() & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  std::ifstream stream(path);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const auto dump = boost::json::parse(text);
  CHECK(dump.at("admin").at("/server_info").at("node") == "node-a");
  CHECK(dump.at("admin").at("/endpoints").as_array().size() == 2);
  CHECK(dump.at("admin").at("/stats/prometheus").as_string().find("weir_build_info") !=
        boost::json::string::npos);
  CHECK_FALSE(dump.at("kernel").as_string().empty());
  // It never writes over what is there.
  CHECK(proxy.ask({"sysdump", "--file", path}).exit_code == 2);
}

TEST_CASE("weirctl version shows both sides, and a proxy that is not there is no failure") {
  const Proxy proxy;
  const auto both = boost::json::parse(proxy.ask({"version", "-o", "json"}).out);
  CHECK(both.at("client").at("version") == both.at("server").at("version"));
  const Outcome alone = run({"version", "--admin", "127.0.0.1:1"});
  CHECK(alone.exit_code == 0);
  CHECK_THAT(alone.out, EndsWith("\nServer: <none>\n"));
}

TEST_CASE("an unreachable proxy and a wrong command line are exit 2") {
  for (const auto* command : {"status", "policies", "endpoints", "fqdn"}) {
    CAPTURE(command);
    const Outcome unreachable = run({command, "--admin", "127.0.0.1:1"});
    CHECK(unreachable.exit_code == 2);
    CHECK(unreachable.out.empty());
    CHECK(unreachable.err == "weirctl: weir-proxy at 127.0.0.1:1: Connection refused\n");
  }
  CHECK(run({}).exit_code == 2);
  CHECK(run({"frobnicate"}).exit_code == 2);
  CHECK(run({"policy"}).exit_code == 2);
  CHECK(run({"policy", "check"}).exit_code == 2);
  CHECK(run({"status", "--admin", "localhost"}).exit_code == 2);
  CHECK(run({"status", "-o", "yaml"}).exit_code == 2);
  CHECK(run({"--help"}).exit_code == 0);
}

TEST_CASE("policy check says where, what, shows the line, and what to do") {
  const test::TempFolder folder;
  const std::string bad = folder.write("bad.yaml", kBad);
  const Outcome checked = run({"policy", "check", bad});
  CHECK(checked.exit_code == 1);
  CHECK_THAT(checked.out, StartsWith(bad + ":6:3: error: unknown field `ingres`"));
  CHECK_THAT(checked.out, ContainsSubstring("\n    6 |   ingres:\n"
                                            "      |   ^\n"
                                            "  hint: did you mean `ingress`?\n"));
  CHECK_THAT(checked.out, EndsWith("0 accepted, 1 rejected, 0 skipped\n"));
}

TEST_CASE("policy check of good files is exit 0, and a folder is the files that a proxy reads") {
  const test::TempFolder folder;
  folder.write("good.yaml", kGood);
  folder.write(".hidden.yaml", kBad);
  folder.write("notes.txt", "x");
  CHECK(run({"policy", "check", folder.path()}).out == "1 accepted, 0 rejected, 0 skipped\n");
  CHECK(run({"policy", "check", folder.path()}).exit_code == 0);
  folder.write("bad.yaml", kBad);
  CHECK(run({"policy", "check", folder.path()}).exit_code == 1);
}

TEST_CASE("policy check with -o json gives each document with its diagnostics") {
  const test::TempFolder folder;
  const std::string good = folder.write("good.yaml", kGood);
  const std::string bad = folder.write("bad.yaml", kBad);
  const Outcome checked = run({"policy", "check", good, bad, "-o", "json"});
  CHECK(checked.exit_code == 1);
  const auto documents = boost::json::parse(checked.out);
  REQUIRE(documents.as_array().size() == 2);
  CHECK(documents.at(0).at("file").as_string() == good);
  CHECK(documents.at(0).at("status") == "accepted");
  CHECK(documents.at(0).at("namespace") == "shop");
  CHECK(documents.at(0).at("name") == "api");
  CHECK(documents.at(1).at("status") == "rejected");
  const auto& first = documents.at(1).at("diagnostics").at(0);
  CHECK(first.at("severity") == "error");
  CHECK(first.at("line") == 6);
  CHECK(first.at("column") == 3);
}

TEST_CASE("policy check of what cannot be read is exit 2, and the rest is checked all the same") {
  const test::TempFolder folder;
  CHECK(run({"policy", "check", folder.path()}).exit_code == 2); // no file in it
  const std::string bad = folder.write("bad.yaml", kBad);
  const Outcome checked = run({"policy", "check", folder.file("none.yaml"), bad});
  CHECK(checked.exit_code == 2);
  CHECK_THAT(checked.err, ContainsSubstring("none.yaml: No such file or directory"));
  CHECK_THAT(checked.out, ContainsSubstring("unknown field `ingres`"));
}

const std::string kCase = R"({
  "endpoints": [{"name": "web", "namespace": "shop", "labels": {"app": "web"}},
                {"name": "api", "namespace": "shop", "labels": {"app": "api"}}],
  "policies": ["apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: api, namespace: shop}\nspec: {endpointSelector: {matchLabels: {app: api}}, ingress: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: /a}]}}]}]}"],
  "flows": [{"from": "web", "to": "api", "proto": "TCP", "dport": 80,
             "http": [{"method": "GET", "path": "/a"}, {"method": "GET", "path": "/b"}]},
            {"from": "web", "to": "nobody", "proto": "TCP", "dport": 80},
            {"from": "web", "to": "api", "proto": "UDP", "dport": 99999999}],
  "expected": {"policies": [{"kind": "CiliumNetworkPolicy", "name": "api", "valid": true}],
               "flows": [{"verdict": "allow", "http": ["allow", "deny"],
                          "ingress": {"enforced": true, "verdict": "allow", "redirect": "http"},
                          "egress": {"enforced": false, "verdict": "allow"}}]}})";

TEST_CASE(
    "policy eval --answers gives a line of JSON for each case, whatever becomes of the others") {
  const test::TempFolder folder;
  const std::string good = folder.write("a.json", kCase);
  const std::string bad = folder.write("b.json", "{");
  const Outcome answered = run({"policy", "eval", "--answers", good, bad, good});
  CHECK(answered.exit_code == 2);
  CHECK_THAT(answered.err, ContainsSubstring("b.json is no JSON"));
  std::vector<boost::json::value> lines;
  for (std::size_t at = 0; at < answered.out.size();) {
    const auto end = answered.out.find('\n', at);
    lines.push_back(boost::json::parse(answered.out.substr(at, end - at)));
    at = end + 1;
  }
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == lines[2]);
  CHECK(lines[1].as_object().contains("error"));
  CHECK(lines[0].at("policies").at(0).at("valid") == true);
  const auto& flows = lines[0].at("flows");
  REQUIRE(flows.as_array().size() == 3);
  CHECK(flows.at(0).at("verdict") == "allow");
  CHECK(flows.at(0).at("ingress").at("redirect") == "http");
  CHECK(flows.at(0).at("http") == boost::json::array{"allow", "deny"});
  CHECK(flows.at(1).at("verdict") == "error");
  CHECK(flows.at(2).at("verdict") == "error");
}

TEST_CASE("policy eval compares with what the case expects and lists the differences") {
  const test::TempFolder folder;
  const std::string right = folder.write("right.json", kCase);
  CHECK(run({"policy", "eval", right}).out == "1 cases, 0 differences\n");
  CHECK(run({"policy", "eval", right}).exit_code == 0);
  std::string wrong_text = kCase;
  wrong_text.replace(wrong_text.find("[\"allow\", \"deny\"]"), 17, "[\"deny\", \"deny\"] ");
  const std::string wrong = folder.write("wrong.json", wrong_text);
  const Outcome compared = run({"policy", "eval", right, wrong});
  CHECK(compared.exit_code == 1);
  CHECK(compared.out == wrong + ": flow 0 (web → api TCP/80): http probe 0 allow, expected deny\n"
                                "2 cases, 1 differences\n");
  const auto told = boost::json::parse(run({"policy", "eval", wrong, "-o", "json"}).out);
  CHECK(told.at("differences").at(0).at("case").as_string() == wrong);
  CHECK(run({"policy", "eval", folder.file("none.json")}).exit_code == 2);
}

const std::string kTraced = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules:
        http:
        - {method: GET, path: "/orders(/.*)?"}
        - {method: POST, path: "/orders"}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web-egress, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
  - toEndpoints: [{}]
  - toFQDNs: [{matchName: www.example.com}]
    toPorts: [{ports: [{port: "443", protocol: TCP}]}]
  egressDeny:
  - toEntities: [host]
)";
const std::string kTracedEndpoints = R"(endpoints:
  - {name: web, namespace: shop, labels: {app: web}, ips: [10.0.1.11]}
  - {name: api, namespace: shop, labels: {app: api}, ips: [10.0.1.12]}
nodes:
  - {name: node-a, ips: [192.168.1.1]}
)";

TEST_CASE("policy trace of files says who decides, and what came nearest") {
  const test::TempFolder folder;
  const std::string policies = folder.write("p.yaml", kTraced);
  const std::string endpoints = folder.write("e.yaml", kTracedEndpoints);
  const auto trace = [&](std::vector<std::string> arguments) {
    std::vector<std::string> argv = {"policy",      "trace",   "--policies", policies,
                                     "--endpoints", endpoints, "--from",     "shop/web"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    Outcome outcome = run(std::move(argv));
    for (auto at = outcome.out.find(policies); at != std::string::npos;
         at = outcome.out.find(policies)) {
      outcome.out.replace(at, policies.size(), "p.yaml");
    }
    return outcome;
  };
  const std::string egress = "egress of shop/web to shop/api: allowed\n"
                             "  policies: shop/web-egress\n"
                             "  allowed by shop/web-egress egress rule 1 (p.yaml:21)\n";

  const Outcome open = trace({"--to", "shop/api", "--port", "80/TCP"});
  CHECK(open.exit_code == 0);
  CHECK(open.out == egress + "ingress of shop/api from shop/web: proxied\n"
                             "  policies: shop/api\n"
                             "  the proxy (http) decides, by shop/api ingress rule 1 (p.yaml:7) "
                             "among others; ask with --method, --path, --host, --header\n"
                             "verdict: allowed\n");

  const Outcome path =
      trace({"--to", "shop/api", "--port", "80", "--method", "GET", "--path", "/discounts"});
  CHECK(path.exit_code == 1);
  CHECK(path.out == egress + "ingress of shop/api from shop/web: denied\n"
                             "  policies: shop/api\n"
                             "  no rule accepts it at L7\n"
                             "  nearest: method `GET` is allowed by shop/api ingress rule 1, path "
                             "`/discounts` is not (it asks for `/orders(/.*)?`) (p.yaml:7)\n"
                             "verdict: denied\n");
  CHECK(trace({"--to", "shop/api", "--port", "80", "--method", "POST", "--path", "/orders"})
            .exit_code == 0);

  const Outcome port = trace({"--to", "shop/api", "--port", "81"});
  CHECK_THAT(port.out,
             ContainsSubstring("this client is allowed by shop/api ingress rule 1, 81/TCP "
                               "is not (it opens 80/TCP) (p.yaml:7)"));
  CHECK(trace({"--to", "www.example.com", "--port", "443"}).exit_code == 0);
  CHECK_THAT(trace({"--to", "203.0.113.1", "--port", "443"}).out,
             ContainsSubstring("(only addresses learned from DNS)"));
  CHECK_THAT(trace({"--to", "192.168.1.1", "--port", "22", "--node", "node-a"}).out,
             ContainsSubstring("denied by shop/web-egress egressDeny rule 1 (p.yaml:25)"));

  const auto told = boost::json::parse(
      trace({"--to", "shop/api", "--port", "80", "--path", "/x", "-o", "json"}).out);
  CHECK(told.at("verdict") == "denied");
  CHECK(told.at("directions").at(1).at("reason") == "path");
  CHECK(told.at("directions").at(1).at("nearest").at(0).at("rule").at("line") == 7);

  CHECK(trace({"--to", "shop/none", "--port", "80"}).exit_code == 2);
  CHECK(trace({"--to", "shop/api", "--port", "http"}).exit_code == 2);
  CHECK(run({"policy", "trace", "--policies", policies, "--from", "a/b", "--to", "a/c", "--port",
             "80"})
            .err == "weirctl: --policies and --endpoints go together\n");
}

TEST_CASE("policy trace tells what audited policies would refuse, and which they are") {
  const test::TempFolder folder;
  std::string audited = kTraced;
  const std::string name = "name: api, namespace: shop";
  REQUIRE(audited.find(name) != std::string::npos);
  audited.replace(audited.find(name), name.size(),
                  name + ", annotations: {weir.io/enforcement: audit}");
  const std::string policies = folder.write("p.yaml", audited);
  const std::string endpoints = folder.write("e.yaml", kTracedEndpoints);
  const auto trace = [&](const std::string& port, std::vector<std::string> more) {
    std::vector<std::string> argv = {"policy",      "trace",    "--policies", policies,
                                     "--endpoints", endpoints,  "--from",     "shop/web",
                                     "--to",        "shop/api", "--port",     port};
    argv.insert(argv.end(), more.begin(), more.end());
    return run(std::move(argv));
  };
  const Outcome request = trace("80", {"--path", "/discounts"});
  CHECK(request.exit_code == 0);
  CHECK_THAT(request.out, ContainsSubstring("ingress of shop/api from shop/web: audit\n"
                                            "  policies: shop/api\n"
                                            "  no rule accepts it at L7\n"
                                            "  it passes all the same: audited only: shop/api\n"
                                            "  nearest: method `GET` is allowed by shop/api"));
  CHECK_THAT(request.out, ContainsSubstring("verdict: audit\n"));
  const Outcome port = trace("81", {"-o", "json"});
  const auto told = boost::json::parse(port.out);
  CHECK(told.at("verdict") == "audit");
  CHECK(told.at("directions").at(1).at("audited").at(0) == "shop/api");
  CHECK(told.at("directions").at(1).at("rule").at("name") == "default-deny");
  // What it allows it allows.
  CHECK_THAT(trace("80", {"--path", "/orders"}).out, ContainsSubstring("verdict: allowed\n"));
}

TEST_CASE("policy trace without files asks the running proxy") {
  const Proxy proxy;
  const Outcome asked =
      proxy.ask({"policy", "trace", "--from", "shop/web", "--to", "shop/api", "--port", "80/TCP",
                 "--path", "/a?b=c&d", "--header", "X-A: 1", "--header", "X-B: %", "-o", "json"});
  CHECK(asked.exit_code == 1);
  CHECK(boost::json::parse(asked.out) ==
        boost::json::parse(R"({"verdict": "denied", "from": "shop/web", "path": "/a?b=c&d",
                               "headers": ["X-A: 1", "X-B: %"], "directions": []})"));
}

TEST_CASE("cleanup refuses while a proxy runs") {
  const Proxy proxy;
  const Outcome refused = proxy.ask({"cleanup", "--bpffs", "/nonexistent"});
  CHECK(refused.exit_code == 2);
  CHECK_THAT(refused.err, ContainsSubstring("weir-proxy is running at 127.0.0.1:"));
}

} // namespace
