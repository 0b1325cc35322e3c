#include "proxy/admin/stats.h"

#include "test/unit/admin/fake_source.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace {

using namespace weir;
using namespace weir::admin;
using Catch::Matchers::ContainsSubstring;

const auto kStart = std::chrono::system_clock::time_point(std::chrono::seconds(1'700'000'000));

struct Series {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};

bool is_name(const std::string& text) {
  return !text.empty() && !std::isdigit(static_cast<unsigned char>(text[0])) &&
         text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
             std::string::npos;
}

// A sample line by the exposition format's own grammar; escapes resolved.
Series parse_series(const std::string& line) {
  CAPTURE(line);
  Series series;
  std::size_t at = line.find_first_of("{ ");
  REQUIRE(at != std::string::npos);
  series.name = line.substr(0, at);
  if (line[at] == '{') {
    do {
      const auto equals = line.find("=\"", ++at);
      REQUIRE(equals != std::string::npos);
      const std::string label = line.substr(at, equals - at);
      REQUIRE(is_name(label));
      std::string value;
      for (at = equals + 2; at < line.size() && line[at] != '"'; ++at) {
        if (line[at] == '\\') {
          ++at;
          REQUIRE(at < line.size());
          REQUIRE((line[at] == '\\' || line[at] == '"' || line[at] == 'n'));
          value.push_back(line[at] == 'n' ? '\n' : line[at]);
        } else {
          value.push_back(line[at]);
        }
      }
      REQUIRE(series.labels.emplace(label, value).second);
      ++at;
      REQUIRE(at < line.size());
    } while (line[at] == ',');
    REQUIRE(line[at] == '}');
    ++at;
  }
  REQUIRE(line[at] == ' ');
  const std::string number = line.substr(at + 1);
  char* end = nullptr;
  series.value = std::strtod(number.c_str(), &end);
  REQUIRE(!number.empty());
  REQUIRE(*end == '\0');
  return series;
}

// Checks the whole page's form and gives its samples.
std::vector<Series> parse_page(const std::string& page) {
  std::vector<Series> all;
  std::set<std::string> families;
  std::set<std::pair<std::string, std::map<std::string, std::string>>> seen;
  std::istringstream lines(page);
  std::string line, helped, typed;
  bool histogram = false;
  REQUIRE(page.back() == '\n');
  while (std::getline(lines, line)) {
    CAPTURE(line);
    if (line.starts_with("# HELP ")) {
      helped = line.substr(7, line.find(' ', 7) - 7);
      REQUIRE(is_name(helped));
      REQUIRE(families.insert(helped).second);
    } else if (line.starts_with("# TYPE ")) {
      typed = line.substr(7, line.find(' ', 7) - 7);
      REQUIRE(typed == helped);
      const std::string type = line.substr(8 + typed.size());
      REQUIRE((type == "counter" || type == "gauge" || type == "histogram"));
      REQUIRE((type == "counter") == typed.ends_with("_total"));
      histogram = type == "histogram";
    } else {
      all.push_back(parse_series(line));
      const std::string& name = all.back().name;
      const bool part =
          name == typed + "_bucket" || name == typed + "_sum" || name == typed + "_count";
      REQUIRE((histogram ? part : name == typed));
      REQUIRE(seen.emplace(all.back().name, all.back().labels).second);
    }
  }
  return all;
}

double value_of(const std::vector<Series>& all, const std::string& name,
                const std::map<std::string, std::string>& labels = {}) {
  for (const auto& series : all) {
    if (series.name == name && series.labels == labels) {
      return series.value;
    }
  }
  FAIL("no " << name);
  return -1;
}

TEST_CASE("the page follows Prometheus' text format and sums the workers up") {
  test::FakeSource source;
  const auto all = parse_page(stats_prometheus(take_stats(source, kStart)));
  CHECK(value_of(all, "weir_http_requests_total", {{"code", "200"}, {"verdict", "allowed"}}) == 42);
  CHECK(value_of(all, "weir_http_requests_total", {{"code", "403"}, {"verdict", "denied"}}) == 3);
  CHECK(value_of(all, "weir_connections_total", {{"protocol", "http"}}) == 9);
  CHECK(value_of(all, "weir_connections_active", {{"protocol", "http"}}) == 5);
  CHECK(value_of(all, "weir_dns_queries_total", {{"verdict", "allowed"}}) == 11);
  CHECK(value_of(all, "weir_dns_responses_total", {{"rcode", "NXDOMAIN"}}) == 2);
  CHECK(value_of(all, "weir_dns_refused_total", {{"reason", "name"}}) == 0);
  CHECK(value_of(all, "weir_dns_refused_total", {{"reason", "too-many-queries"}}) == 0);
  CHECK(value_of(all, "weir_dns_duration_seconds_bucket", {{"scope", "held"}, {"le", "+Inf"}}) ==
        0);
  CHECK(value_of(all, "weir_dns_pod_queries_total", {{"namespace", "shop"}, {"pod", "web"}}) == 1);
  CHECK(value_of(all, "weir_dns_pod_name_bytes_total", {{"namespace", "shop"}, {"pod", "web"}}) ==
        17);
  CHECK(std::none_of(all.begin(), all.end(), [](const Series& one) {
    return one.labels.contains("pod") && one.labels.at("pod") == "gone";
  }));
  CHECK(value_of(all, "weir_fqdn_evicted_total") == 3);
  CHECK(value_of(all, "weir_fqdn_names") == 1);
  CHECK(value_of(all, "weir_fqdn_ips") == 2);
  CHECK(value_of(all, "weir_policy_revision") == 7);
  CHECK(value_of(all, "weir_policies", {{"kind", "CiliumNetworkPolicy"}, {"state", "accepted"}}) ==
        1);
  CHECK(value_of(all, "weir_policies", {{"kind", "unknown"}, {"state", "rejected"}}) == 1);
  CHECK(value_of(all, "weir_policy_loads_total", {{"outcome", "failure"}}) == 2);
  CHECK(value_of(all, "weir_endpoints", {{"state", "enforced"}}) == 1);
  CHECK(value_of(all, "weir_drops_total", {{"reason", "policy"}, {"direction", "egress"}}) == 17);
  CHECK(value_of(all, "weir_drops_total", {{"reason", "policy"}, {"direction", "ingress"}}) == 0);
  CHECK(value_of(all, "weir_packets_total", {{"verdict", "allowed"}}) == 1000);
  CHECK(value_of(all, "weir_events_lost_total", {{"source", "access_log"}}) == 1);
  CHECK(value_of(all, "weir_kubernetes_degraded") == 1);
  CHECK(value_of(all, "weir_kubernetes_staleness_seconds") == 42);
  CHECK(value_of(all, "weir_bpf_readable") == 1);
  CHECK(value_of(all, "weir_bpf_map_entries", {{"map", "weir_endpoints"}}) == 4);
  CHECK(value_of(all, "weir_bpf_map_capacity", {{"map", "weir_endpoints"}}) == 16384);
  CHECK(value_of(all, "weir_acceleration_enabled") == 0);
  CHECK(value_of(all, "weir_joined_sockets_total") == 6);
  CHECK(value_of(all, "weir_joined_bytes_total", {{"to", "pod"}}) == 4096);
  CHECK(value_of(all, "weir_unjoined_messages_total", {{"reason", "unread"}}) == 2);
  CHECK(value_of(all, "process_start_time_seconds") == 1'700'000'000);
  CHECK(value_of(all, "process_resident_memory_bytes") > 100'000);
  CHECK(value_of(all, "process_open_fds") >= 3);
}

TEST_CASE("a label's quotes, backslashes and line ends are escaped") {
  test::FakeSource source;
  const auto all = parse_page(stats_prometheus(take_stats(source, kStart)));
  CHECK(value_of(all, "weir_bpf_map_capacity", {{"map", "odd\"\\\nname"}}) == 1);
}

TEST_CASE("every drop reason of the ABI has a name") {
  test::FakeSource source;
  const auto all = parse_page(stats_prometheus(take_stats(source, kStart)));
  std::set<std::string> reasons;
  for (const auto& series : all) {
    if (series.name == "weir_drops_total") {
      reasons.insert(series.labels.at("reason"));
    }
  }
  CHECK(reasons.size() == WEIR_DROP_NO_PROGRAM - 1); // the last reason; one is no drop, 0 is none
}

TEST_CASE("counters of the kernel that cannot be read are left out and said") {
  test::FakeSource source;
  source.bpf_fails = true;
  const auto all = parse_page(stats_prometheus(take_stats(source, kStart)));
  CHECK(value_of(all, "weir_bpf_readable") == 0);
  for (const auto& series : all) {
    CHECK(series.name != "weir_drops_total");
    CHECK(series.name != "weir_packets_total");
  }
}

TEST_CASE("every metric and label that alerts and dashboard ask for is there") {
  test::FakeSource source;
  std::map<std::string, std::set<std::string>> known; // labels by metric
  for (const auto& series : parse_page(stats_prometheus(take_stats(source, kStart)))) {
    auto& labels = known[series.name];
    labels.insert("instance"); // the scraper's
    for (const auto& [label, value] : series.labels) {
      labels.insert(label);
    }
  }
  static const std::regex kMetric(R"((weir_\w+)(\{(\w+)=)?)");
  static const std::regex kBy(R"(by \(([\w, ]+)\))");
  static const std::regex kWord(R"(\w+)");
  for (const char* file : {"alerts.yaml", "dashboard.json"}) {
    std::ifstream stream(std::string(WEIR_MONITORING) + "/" + file);
    unsigned asked = 0;
    for (std::string line; std::getline(stream, line);) {
      if (line.find("expr") == std::string::npos) {
        continue;
      }
      CAPTURE(line);
      std::set<std::string> labels;
      for (std::sregex_iterator at(line.begin(), line.end(), kMetric), end; at != end; ++at) {
        const std::string name = (*at)[1];
        CAPTURE(name);
        REQUIRE(known.contains(name));
        labels.insert(known[name].begin(), known[name].end());
        if ((*at)[3].matched) {
          CHECK(known[name].contains((*at)[3]));
        }
        ++asked;
      }
      for (std::sregex_iterator at(line.begin(), line.end(), kBy), end; at != end; ++at) {
        const std::string list = (*at)[1];
        for (std::sregex_iterator word(list.begin(), list.end(), kWord); word != end; ++word) {
          CHECK(labels.contains(word->str()));
        }
      }
    }
    CHECK(asked >= 8);
  }
}

TEST_CASE("Envoy's form has the same metrics, one name and number a line") {
  test::FakeSource source;
  const auto input = take_stats(source, kStart);
  const std::string text = stats_text(input);
  CHECK_THAT(text, ContainsSubstring("weir_http_requests_total.code.200.verdict.allowed: 42\n"));
  CHECK_THAT(text, ContainsSubstring("weir_policy_revision: 7\n"));
  CHECK_THAT(text, ContainsSubstring("weir_drops_total.reason.policy.direction.egress: 17\n"));
  std::istringstream lines(text);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    CAPTURE(line);
    const auto colon = line.rfind(": ");
    REQUIRE(colon != std::string::npos);
    CHECK(line.find_first_not_of("0123456789.", colon + 2) == std::string::npos);
  }
  CHECK(count == parse_page(stats_prometheus(input)).size());
}

} // namespace
