// weirctl bpf dump: the kernel's maps by name, with and without a proxy.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <map>

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
      REQUIRE(eventually([&] { // names are on disk a moment after they were learned
        return read_file(lab.folder() / "state/fqdn.json").find(kAllowedName) != std::string::npos;
      }));
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

// Pods with app=web take `port` from app=client as well, by the first rule of a policy of its own.
std::string web_port(const std::string& name, const std::string& port) {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
         ", namespace: shop}\nspec:\n  endpointSelector: {matchLabels: {app: web}}\n  ingress:\n"
         "    - fromEndpoints: [{matchLabels: {app: client}}]\n"
         "      toPorts: [{ports: [{port: \"" +
         port + "\", protocol: TCP}]}]\n";
}

struct Rule {
  std::string number, name; // "none" where there is no such row
};

// Of the first row that has all of `wanted`.
Rule rule_of(Lab& lab, const std::string& kind, const json::object& wanted) {
  for (const json::value& row : dump(lab, kind)) {
    if (has_row({row}, wanted)) {
      return {json::serialize(row.at("rule")), json::value_to<std::string>(row.at("rule_name"))};
    }
  }
  return {"none", "none"};
}

TEST_CASE("weirctl bpf dump calls rules as flows and denials do, over changes and starts") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.serve_http(web);
  std::map<std::string, std::string> policies = {{"web.yaml", kHttpIngress},
                                                 {"b.yaml", web_port("b", "8001")},
                                                 {"egress.yaml", kFqdnAndWebEgress}};
  lab.policies().publish(policies);
  lab.start_weir();
  const std::string web_rule = "shop/web-ingress ingress rule 1";
  // Of a port of the web pod; the names may come a moment after the rows.
  const auto on_port = [&](const std::string& port) {
    return rule_of(lab, "policy", {{"pod", "shop/web"}, {"port", port}});
  };
  const auto becomes = [&](const std::string& port, const std::string& name) {
    return eventually([&] { return on_port(port).name == name; });
  };
  const auto of_flow = [&] {
    return rule_of(lab, "ct",
                   {{"pod", "shop/client"}, {"destination", web.address(Family::kV4) + ":80"}});
  };
  CHECK(becomes("80", web_rule));
  CHECK(becomes("8001", "shop/b ingress rule 1"));
  const std::string number = on_port("80").number;
  CHECK(
      client.curl({"--max-time", "5", "http://" + web.address(Family::kV4) + "/discount"}).status ==
      200);
  CHECK(of_flow().name == web_rule); // the stricter of the two that allow it

  // A rule that stays keeps its number.
  policies.erase("b.yaml");
  policies.emplace("c.yaml", web_port("c", "8002"));
  lab.policies().publish(policies);
  CHECK(becomes("8002", "shop/c ingress rule 1"));
  CHECK(on_port("80").name == web_rule);
  CHECK(on_port("80").number == number);
  CHECK(of_flow().name == web_rule);

  lab.kill_weir();
  CHECK(on_port("8002").name == "shop/c ingress rule 1");
  CHECK(of_flow().name == web_rule);

  // The next process counts anew, here in another order: a flow's number from before, which is
  // another rule's now, has no name.
  policies.emplace("a.yaml", policies.at("web.yaml"));
  policies.erase("web.yaml");
  lab.policies().publish(policies);
  lab.start_weir();
  CHECK(becomes("80", web_rule));
  CHECK(on_port("80").number != number);
  CHECK(rule_of(lab, "policy", {{"rule", json::parse(number)}}).name ==
        "shop/client-egress egress rule 3");
  CHECK(of_flow().number == number);
  CHECK(of_flow().name == number);

  CHECK(lab.stop_weir() == 0);
  CHECK(on_port("80").name == web_rule);
  // As an older version leaves it.
  std::filesystem::remove(lab.folder() / "state/rules.json");
  CHECK(on_port("80").name == on_port("80").number);
}

} // namespace
} // namespace weir::test
