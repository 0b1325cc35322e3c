// What is seen of flows: denied packets explain themselves, to those who ask, who follow and who
// read the access log.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::test {
namespace {

namespace json = boost::json;

std::string text(const json::value& object, const char* key) {
  const auto* value = object.as_object().if_contains(key);
  return value == nullptr ? "" : json::value_to<std::string>(*value);
}

// The flow to this address and port of the destination, once weir has told of it.
std::optional<json::value> flow_to(Lab& lab, const std::string& query, const std::string& address,
                                   std::uint64_t port) {
  std::optional<json::value> found;
  eventually([&] {
    const auto rows = lab.admin_json("/flows" + query);
    for (const auto& row : rows.as_array()) {
      const auto& destination = row.at("destination").as_object();
      const auto* at = destination.if_contains("port");
      if (text(row.at("destination"), "ip") == address && at != nullptr &&
          at->to_number<std::uint64_t>() == port) {
        found = row;
      }
    }
    return found.has_value();
  });
  return found;
}

std::vector<json::object> denied_lines(const Lab& lab, const std::string& address) {
  std::vector<json::object> lines;
  for (const auto& line : lab.access_log()) {
    if (text(line, "verdict") == "DENIED" && text(line.at("destination"), "ip") == address) {
      lines.push_back(line);
    }
  }
  return lines;
}

TEST_CASE("a denied flow says who, whom, by which policy and what came nearest") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.policies().publish({{"web.yaml", kHttpIngress}});
  lab.serve_http(web);
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const std::string address = web.address(family);
    CHECK(client.curl({"--max-time", "1", "http://" + url_host(address) + ":81/"}).exit_code ==
          kCurlTimeout);
    const auto denied = flow_to(lab, "?pod=shop/client&verdict=DROPPED", address, 81);
    REQUIRE(denied);
    INFO(json::serialize(*denied));
    CHECK(text(*denied, "reason") == "POLICY_DENIED");
    CHECK(text(*denied, "direction") == "ingress");
    CHECK(text(*denied, "protocol") == "TCP");
    CHECK(text(*denied, "policy") == "default-deny");
    CHECK(text(*denied, "nearest").find("shop/web-ingress") != std::string::npos);
    CHECK(text(denied->at("source"), "pod") == "client");
    CHECK(text(denied->at("source"), "namespace") == "shop");
    CHECK(text(denied->at("destination"), "pod") == "web");

    CHECK(client.curl({"--max-time", "5", "http://" + url_host(address) + "/discount"}).status ==
          200);
    const auto redirected = flow_to(lab, "?verdict=REDIRECTED", address, 80);
    REQUIRE(redirected);
    CHECK(text(*redirected, "policy") == "shop/web-ingress");
    CHECK(text(*redirected, "rule") == "ingress rule 1");

    // The SYN was sent again while curl waited: still one line.
    REQUIRE(eventually([&] { return !denied_lines(lab, address).empty(); }));
    const auto lines = denied_lines(lab, address);
    CHECK(lines.size() == 1);
    CHECK(text(lines[0], "protocol") == "tcp");
    CHECK(text(lines[0], "denied_by") == "default-deny");
    CHECK(text(lines[0], "reason") == "POLICY_DENIED");
    CHECK(text(lines[0].at("source"), "pod") == "client");
  }
}

TEST_CASE("a flow to an address whose name has expired says which name and since when") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  lab.policies().publish({{"egress.yaml", kFqdnEgress}});
  lab.set_dns("{minTtl: 1s, grace: 1s}");
  lab.start_weir();
  CHECK(client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).exit_code == 0);
  const std::string url = std::string("http://") + kAllowedV4 + "/";
  CHECK(client.curl({"--max-time", "5", url}).status == 200);
  const auto allowed = flow_to(lab, "?verdict=FORWARDED", kAllowedV4, 80);
  REQUIRE(allowed);
  CHECK(text(*allowed, "policy") == "shop/client-egress");
  REQUIRE(eventually([&] { return !lab.admin_json("/fqdn/expired").as_array().empty(); },
                     std::chrono::seconds(30)));
  CHECK(client.curl({"--max-time", "1", url}).exit_code == kCurlTimeout);
  const auto denied = flow_to(lab, "?verdict=DROPPED", kAllowedV4, 80);
  REQUIRE(denied);
  INFO(json::serialize(*denied));
  const std::string reason = text(*denied, "reason");
  CHECK(reason.starts_with(std::string("FQDN_EXPIRED name=") + kAllowedName + " age="));
  CHECK(reason.ends_with("s"));
  CHECK(text(denied->at("destination"), "entity") == "world-ipv4");

  // A name that nobody ever asked for is plainly denied.
  CHECK(client.curl({"--max-time", "1", std::string("http://") + kOtherV4 + "/"}).exit_code ==
        kCurlTimeout);
  const auto never = flow_to(lab, "?verdict=DROPPED", kOtherV4, 80);
  REQUIRE(never);
  CHECK(text(*never, "reason") == "POLICY_DENIED");

  const Outcome drops = lab.weirctl({"drops"});
  INFO(drops.text());
  CHECK(drops.exit_code == 0);
  CHECK(drops.out.find("shop/client") != std::string::npos);
  CHECK(drops.out.find(std::string("FQDN_EXPIRED name=") + kAllowedName) != std::string::npos);
  CHECK(drops.out.find("FORWARDED") == std::string::npos);
}

TEST_CASE("weirctl drops --follow shows a denied packet while it is denied") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  lab.policies().publish({{"egress.yaml", kFqdnEgress}});
  lab.start_weir();
  // One packet: none that is sent again is still to be told of when following begins.
  CHECK_FALSE(HttpConnection::open(client.netns(), kOtherV4, 81, std::chrono::milliseconds(20)));
  REQUIRE(flow_to(lab, "", kOtherV4, 81)); // what was before is not followed
  const auto lines = lab.folder() / "drops.txt";
  Process following =
      lab.node().start({weirctl_path(), "drops", "--follow", "--last", "0", "-o", "json"}, lines);
  // Denied again and again until it is seen: nothing tells when the follower has begun.
  REQUIRE(eventually(
      [&] {
        HttpConnection::open(client.netns(), kOtherV4, 80, std::chrono::milliseconds(20));
        return read_file(lines).find('\n') != std::string::npos;
      },
      std::chrono::seconds(20)));
  const std::string got = read_file(lines);
  const auto row = json::parse(got.substr(0, got.find('\n')));
  CHECK(text(row, "verdict") == "DROPPED");
  CHECK(text(row.at("destination"), "ip") == kOtherV4);
  CHECK(row.at("destination").at("port").to_number<std::uint64_t>() == 80);
  CHECK(following.running());
  lab.stop_weir();
  REQUIRE(following.wait(std::chrono::seconds(10)));
}

} // namespace
} // namespace weir::test
