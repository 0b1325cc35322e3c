// Clients that people use, with weir between them and a server on the transparent path; and what
// an audited policy does to real traffic.
#include "test/integration/policies.h"
#include "test/integration/shop.h"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

namespace weir::test {
namespace {

constexpr const char* kWebSocket = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web-ingress, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
      toPorts:
        - ports: [{port: "8080", protocol: TCP}]
          rules: {http: [{method: GET, path: /ws}]}
)";

// A session of twenty requests on one connection, the last of which is denied.
constexpr const char* kPythonClient = R"(
import http.client, sys, urllib.request
c = http.client.HTTPConnection(sys.argv[1], 80, timeout=10)
for i in range(20):
    c.request("GET", "/discount", headers={"X-Number": str(i)})
    r = c.getresponse()
    assert (r.status, r.read()) == (200, b"shop/web\n"), r.status
c.request("POST", "/discount", body=b"x" * 1000)
r = c.getresponse()
assert (r.status, r.read()) == (403, b"Access denied\r\n"), r.status
assert urllib.request.urlopen("http://" + sys.argv[2] + "/discount", timeout=10).status == 200
print("fine")
)";

std::string enforcement(std::string policy, std::string_view word) {
  const std::string_view place = "  namespace: shop\n";
  policy.insert(policy.find(place) + place.size(),
                "  annotations: {weir.io/enforcement: " + std::string(word) + "}\n");
  return policy;
}

// The same by requests, whose sessions keep connections; each answer is counted.
constexpr const char* kRequestsClient = R"(
import collections, requests, sys
counts = collections.Counter()
with requests.Session() as session:
    session.trust_env = False
    for i in range(100):
        method = "POST" if i % 4 == 3 else "GET"
        r = session.request(method, "http://" + sys.argv[1] + "/discount", timeout=10,
                            data=b"x" * 1000 if method == "POST" else None)
        counts[method, r.status_code, r.headers.get("x-weir-denied-by")] += 1
print(*sorted(counts.items(), key=str), sep="\n")
)";

// Of what wrk, ab and h2load print: the number before or after some words; 0 when there is none.
std::size_t number_before(const std::string& text, const std::string& word) {
  const std::size_t end = text.find(word);
  if (end == std::string::npos) {
    return 0;
  }
  const std::size_t begin = text.find_last_not_of("0123456789", end - 1) + 1;
  return begin == end ? 0 : std::stoul(text.substr(begin, end - begin));
}
std::size_t number_after(const std::string& text, const std::string& words) {
  const std::size_t at = text.find(words);
  const std::size_t begin =
      at == std::string::npos ? at : text.find_first_not_of(' ', at + words.size());
  return begin == std::string::npos ? 0 : std::strtoull(text.c_str() + begin, nullptr, 10);
}

TEST_CASE("Python's clients keep their connection, and are told what is denied") {
  require_root();
  Shop shop;
  shop.lab.serve_http(shop.web);
  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  shop.lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    const std::string address = shop.web.address(family);
    const Outcome outcome = shop.client.netns().run(
        {"/usr/bin/python3", "-c", kPythonClient, address, url_host(address)});
    INFO(outcome.text());
    CHECK(outcome.out == "fine\n");
  }
}

TEST_CASE("a session of Python's requests has each of its answers on kept connections") {
  require_root();
  Shop shop;
  shop.lab.serve_http(shop.web);
  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  shop.lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    const Outcome outcome = shop.client.netns().run(
        {"/usr/bin/python3", "-c", kRequestsClient, url_host(shop.web.address(family))});
    INFO(outcome.text());
    CHECK(outcome.out == "(('GET', 200, None), 75)\n(('POST', 403, 'shop/web-ingress'), 25)\n");
  }
}

TEST_CASE("curl in HTTP/1.0, 1.1, 2 and by an upgrade that is not passed on") {
  require_root();
  Shop shop;
  shop.lab.serve_http(shop.web);
  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  shop.lab.start_weir();
  const std::string url = "http://" + shop.web.address(Family::kV4) + "/discount";
  const auto ask = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"--max-time", "5"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back(url);
    const CurlResult result = shop.client.curl(arguments);
    UNSCOPED_INFO(result.text);
    return result.status;
  };
  for (const char* version : {"--http1.0", "--http1.1", "--http2"}) {
    INFO(version);
    CHECK(ask({version}) == 200);
    CHECK(ask({version, "-d", "x"}) == 403);
  }
  // nginx's plain port speaks no HTTP/2, and nothing is translated down.
  CHECK(ask({"--http2-prior-knowledge"}) == 502);
  CHECK(ask({"--http2-prior-knowledge", "-d", "x"}) == 403);
}

TEST_CASE("wrk and ab: every request is answered, all that is denied by 403") {
  require_root();
  Shop shop;
  HttpServer& server = shop.lab.serve_http(shop.web);
  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  shop.lab.start_weir();
  const std::string base = "http://" + shop.web.address(Family::kV4);
  const auto load = [&](std::vector<std::string> argv) {
    const Outcome outcome = shop.client.netns().run(std::move(argv));
    UNSCOPED_INFO(outcome.text());
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.out.find("Socket errors") == std::string::npos);
    return outcome.out;
  };
  const std::string allowed =
      load({"wrk", "-t1", "-c16", "-d1s", "--timeout", "20s", base + "/discount"});
  CHECK(number_before(allowed, " requests in") > 100);
  CHECK(allowed.find("Non-2xx") == std::string::npos);
  const std::string denied =
      load({"wrk", "-t1", "-c16", "-d1s", "--timeout", "20s", base + "/other"});
  CHECK(number_before(denied, " requests in") > 100);
  CHECK(number_after(denied, "Non-2xx or 3xx responses:") == number_before(denied, " requests in"));
  // HTTP/1.0, kept alive and not.
  for (const bool keep : {true, false}) {
    std::vector<std::string> argv = {"ab", "-q", "-n", "500", "-c", "10"};
    if (keep) {
      argv.emplace_back("-k");
    }
    argv.push_back(base + "/discount");
    const std::string fine = load(argv);
    CHECK(number_after(fine, "Complete requests:") == 500);
    CHECK(number_after(fine, "Failed requests:") == 0);
    CHECK(number_after(fine, "Non-2xx responses:") == 0);
    CHECK(number_after(fine, "Keep-Alive requests:") == (keep ? 500 : 0));
    argv.back() = base + "/other";
    const std::string refused = load(argv);
    CHECK(number_after(refused, "Complete requests:") == 500);
    CHECK(number_after(refused, "Non-2xx responses:") == 500);
  }
  CHECK(shop.web.curl({"--max-time", "5", base + "/end"}).status == 200); // the pod itself
  for (const std::string& line : server.requests_before("/end")) {
    REQUIRE(line.ends_with(" GET /discount 200"));
  }
}

TEST_CASE("h2load with many streams: denied ones among allowed ones of the same connection") {
  require_root();
  Shop shop;
  const std::filesystem::path pages = shop.lab.folder() / "pages",
                              output = shop.lab.folder() / "h2";
  std::filesystem::create_directories(pages);
  write_file(pages / "discount", std::string(20'000, 'x'));
  write_file(pages / "other", "secret");
  Process server = shop.web.netns().start({"nghttpd", "--no-tls", "-v", "-d", pages, "80"}, output);
  REQUIRE(eventually([&] { return read_file(output).find("listen") != std::string::npos; }));
  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  shop.lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    // By a name: h2load writes an IPv6 address into :authority without its brackets.
    const std::string base = "http://web.shop.test",
                      to = url_host(shop.web.address(family)) + ":80";
    const auto load = [&](std::vector<std::string> urls) {
      std::vector<std::string> argv = {"h2load", "-n", "800", "-c",
                                       "4",      "-m", "100", "--connect-to=" + to};
      argv.insert(argv.end(), urls.begin(), urls.end());
      const Outcome outcome = shop.client.netns().run(argv);
      INFO(outcome.text());
      CHECK(outcome.out.find("800 total, 800 started, 800 done") != std::string::npos);
      CHECK(outcome.out.find(" 0 errored, 0 timeout") != std::string::npos);
      const std::size_t codes = outcome.out.find("status codes: ") + 14;
      return outcome.out.substr(codes, outcome.out.find('\n', codes) - codes);
    };
    INFO(to);
    CHECK(load({base + "/discount"}) == "800 2xx, 0 3xx, 0 4xx, 0 5xx");
    CHECK(load({base + "/other"}) == "0 2xx, 0 3xx, 800 4xx, 0 5xx");
    CHECK(load({base + "/discount", base + "/other"}) == "400 2xx, 0 3xx, 400 4xx, 0 5xx");
  }
  const std::string seen = read_file(output);
  CHECK(seen.find(":path: /discount") != std::string::npos);
  CHECK(seen.find("/other") == std::string::npos);
  server.send_signal(SIGKILL);
  CHECK(server.wait(std::chrono::seconds(5)));
}

TEST_CASE("W9: a WebSocket works, and ends when policy no longer allows it") {
  require_root();
  Shop shop;
  shop.lab.policies().publish({{"web.yaml", kWebSocket}});
  shop.lab.start_weir();
  const std::string address = shop.web.address(Family::kV4);
  const std::string server_output = shop.lab.folder() / "server", output = shop.lab.folder() / "c";
  Process server = shop.web.netns().start(
      {"/usr/bin/python3", WEIR_WEBSOCKET_PAIR, "serve", address, "8080"}, server_output);
  REQUIRE(eventually([&] { return read_file(server_output).find("ready") != std::string::npos; }));
  Process client = shop.client.netns().start(
      {"/usr/bin/python3", WEIR_WEBSOCKET_PAIR, "talk", address, "8080", "50"}, output);
  CHECK(eventually([&] { return read_file(output).find("echoed 50\n") != std::string::npos; }));
  CHECK(read_file(output).starts_with("HTTP/1.1 101 "));
  // Another policy that allows it drops nothing; one that does not ends it.
  std::string elsewhere = kWebSocket;
  elsewhere.replace(elsewhere.find("/ws"), 3, "/other");
  shop.lab.policies().publish({{"web.yaml", elsewhere}});
  CHECK(client.wait(std::chrono::seconds(15)));
  CHECK(read_file(output).ends_with("reset\n"));
  // The other worker takes the policy when it gets to it.
  CHECK(eventually([&] {
    const Outcome again = shop.client.netns().run(
        {"/usr/bin/python3", WEIR_WEBSOCKET_PAIR, "talk", address, "8080", "1"});
    return again.out == "HTTP/1.1 403 Forbidden\n";
  }));
  server.send_signal(SIGKILL);
  CHECK(server.wait(std::chrono::seconds(5)));
}

TEST_CASE("what an audited policy refuses passes, packets and requests, and is counted") {
  require_root();
  Shop shop;
  shop.lab.serve_http(shop.web);
  shop.lab.policies().publish({{"web.yaml", enforcement(kHttpIngress, "audit")}});
  shop.lab.start_weir();
  const std::string url = "http://" + shop.web.address(Family::kV4) + "/discount";
  CHECK(shop.client.curl({"--max-time", "5", url}).status == 200);
  CHECK(shop.client.curl({"--max-time", "5", "-X", "POST", url}).status == 200);
  CHECK(shop.stranger.curl({"--max-time", "5", url}).status == 200);
  // The stranger's line is the kernel's: it comes by another way, and later.
  REQUIRE(eventually([&] { return shop.lab.access_log().size() >= 3; }));
  const auto records = shop.lab.access_log();
  REQUIRE(records.size() == 3);
  CHECK(records[0].at("verdict") == "ALLOWED");
  CHECK(records[1].at("verdict") == "AUDIT");
  CHECK(records[1].at("denied_by") == "shop/web-ingress");
  CHECK(records[2].at("verdict") == "AUDIT");
  CHECK(records[2].at("protocol") == "tcp");
  CHECK(records[2].at("source").at("pod") == "stranger");
  const auto stats = shop.lab.admin("/stats/prometheus");
  REQUIRE(stats.has_value());
  CHECK(stats->body.find("weir_audited_flows_total{direction=\"ingress\"} 1\n") !=
        std::string::npos);
  CHECK(stats->body.find("weir_http_requests_total{code=\"200\",verdict=\"audit\"} 1\n") !=
        std::string::npos);

  shop.lab.policies().publish({{"web.yaml", enforcement(kHttpIngress, "enforce")}});
  CHECK(eventually(
      [&] { return shop.client.curl({"--max-time", "5", "-X", "POST", url}).status == 403; }));
  // Workers have a policy before the kernel has all of it.
  CHECK(eventually(
      [&] { return shop.stranger.curl({"--max-time", "1", url}).exit_code == kCurlTimeout; }));
}

} // namespace
} // namespace weir::test
