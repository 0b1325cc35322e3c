// weirctl bpf dump: the kernel's maps by name, with and without a proxy.
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

json::array dump(Lab& lab, const std::string& kind) {
  const Outcome outcome = lab.weirctl({"bpf", "dump", kind, "--bpffs", lab.bpffs(), "--state",
                                       lab.folder() / "state", "-o", "json"});
  INFO(outcome.text());
  REQUIRE(outcome.exit_code == 0);
  return json::parse(outcome.out).as_array();
}

bool has_row(const json::array& rows, const json::object& wanted) {
  return std::any_of(rows.begin(), rows.end(), [&](const json::value& row) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const auto& member) {
      const auto* value = row.as_object().if_contains(member.key());
      return value != nullptr && *value == member.value();
    });
  });
}

TEST_CASE("weirctl bpf dump decodes every map, also while no proxy runs") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.serve_http(web);
  std::string egress = kFqdnAndWebEgress;
  egress += "    - toCIDR: [198.51.100.0/24]\n      toPorts:\n"
            "        - ports: [{port: \"8000\", endPort: 8191, protocol: TCP}]\n";
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", egress}});
  lab.start_weir();
  CHECK(client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).exit_code == 0);
  CHECK(client.curl({"--max-time", "5", std::string("http://") + kAllowedV4 + "/"}).status == 200);
  CHECK(
      client.curl({"--max-time", "5", "http://" + web.address(Family::kV4) + "/discount"}).status ==
      200);
  CHECK(client.curl({"--max-time", "1", std::string("http://") + kOtherV4 + "/"}).exit_code ==
        kCurlTimeout);
  for (const bool running : {true, false}) {
    INFO((running ? "running" : "stopped"));
    const auto policy = dump(lab, "policy");
    INFO(json::serialize(policy));
    CHECK(has_row(policy, {{"pod", "shop/web"},
                           {"direction", "ingress"},
                           {"protocol", "TCP"},
                           {"port", "80"},
                           {"verdict", "redirect"}}));
    CHECK(has_row(policy, {{"pod", "shop/client"},
                           {"direction", "egress"},
                           {"peer", "198.51.100.0/24"},
                           {"protocol", "TCP"},
                           {"verdict", "allow"}}));
    CHECK(has_row(policy, {{"pod", "shop/client"}, {"peer", "learned names"}}));
    const auto flows = dump(lab, "ct");
    INFO(json::serialize(flows));
    CHECK(std::any_of(flows.begin(), flows.end(), [&](const json::value& row) {
      return row.at("pod") == "shop/client" && row.at("verdict") == "allow" &&
             row.at("destination") == json::value(std::string(kAllowedV4) + ":80");
    }));
    const auto identities = dump(lab, "identity");
    INFO(json::serialize(identities));
    CHECK(has_row(identities, {{"prefix", "198.51.100.0/24"}, {"name", "198.51.100.0/24"}}));
    CHECK(std::any_of(identities.begin(), identities.end(), [&](const json::value& row) {
      return row.at("prefix") == json::value(web.address(Family::kV6) + "/128") &&
             json::value_to<std::string>(row.at("name")).find("k8s:app=web") != std::string::npos;
    }));
    CHECK(has_row(identities, {{"prefix", "172.31.0.1/32"}, {"name", "host"}}));
    const auto learned = dump(lab, "fqdn");
    INFO(json::serialize(learned));
    CHECK(has_row(learned, {{"pod", "shop/client"}, {"address", kAllowedV4}}));
    const auto counters = dump(lab, "counters");
    INFO(json::serialize(counters));
    CHECK(std::any_of(counters.begin(), counters.end(), [](const json::value& row) {
      return row.at("counter") == "drop policy" && row.at("direction") == "egress" &&
             row.at("packets").to_number<std::uint64_t>() > 0;
    }));
    if (running) {
      lab.kill_weir();
    } else {
      CHECK(has_row(learned, {{"names", json::array{"api.example.test."}}}));
    }
  }
  // Without names the numbers are there.
  const Outcome nameless =
      lab.weirctl({"bpf", "dump", "policy", "--bpffs", lab.bpffs(), "--state", "/nonexistent"});
  INFO(nameless.text());
  CHECK(nameless.exit_code == 0);
  CHECK(nameless.out.find("endpoint ") != std::string::npos);
  CHECK(nameless.err.find("names are missing") != std::string::npos);
  // And without maps there is an error.
  const Outcome nothing = lab.weirctl({"bpf", "dump", "ct", "--bpffs", "/nonexistent"});
  CHECK(nothing.exit_code == 2);
  CHECK(nothing.err.find("/nonexistent/weir/") != std::string::npos);
}

} // namespace
} // namespace weir::test
