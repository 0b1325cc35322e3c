// After `weir-proxy cleanup` the node is as it was before weir came.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>

namespace weir::test {
namespace {

namespace fs = std::filesystem;

// Settings of the node's namespace, each with its value. Statistics and what the kernel itself
// renews are no settings.
std::string settings(const Lab& lab) {
  return lab.node().on_thread([] {
    std::vector<std::string> lines;
    for (const auto& entry : fs::recursive_directory_iterator("/proc/sys/net")) {
      const std::string path = entry.path();
      if (entry.is_regular_file() && path.find("stable_secret") == std::string::npos &&
          path.find("nf_conntrack") == std::string::npos) {
        lines.push_back(path + " = " + read_file(path));
      }
    }
    std::ranges::sort(lines);
    std::string text;
    for (const std::string& line : lines) {
      text += line;
    }
    return text;
  });
}

std::string pins(const Lab& lab) {
  std::string text;
  for (const auto& entry : fs::recursive_directory_iterator(lab.bpffs())) {
    text += entry.path().string() + "\n";
  }
  return text;
}

std::string output(const Lab& lab, std::vector<std::string> argv) {
  const Outcome outcome = lab.node().run(std::move(argv));
  INFO(outcome.text());
  CHECK(outcome.exit_code == 0);
  return outcome.out;
}

// Kernel objects of ours anywhere on the machine: this test runs alone.
std::set<std::string> weir_objects(const Lab& lab) {
  std::set<std::string> objects;
  for (const char* kind : {"prog", "map", "link"}) {
    const std::string list = output(lab, {"bpftool", kind, "show"});
    std::size_t begin = 0;
    for (std::size_t end; (end = list.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string line = list.substr(begin, end - begin);
      if (line.find("weir_") != std::string::npos) {
        objects.insert(std::string(kind) + " " + line);
      }
    }
  }
  return objects;
}

struct State {
  std::string rules4, rules6, routes4, routes6, pins, net, qdiscs, settings, namespaces;
  std::set<std::string> objects;

  bool operator==(const State&) const = default;

  explicit State(const Lab& lab)
      : rules4(output(lab, {"ip", "-4", "rule"})), rules6(output(lab, {"ip", "-6", "rule"})),
        routes4(output(lab, {"ip", "-4", "route", "show", "table", "all"})),
        routes6(output(lab, {"ip", "-6", "route", "show", "table", "all"})), pins(test::pins(lab)),
        net(output(lab, {"bpftool", "net", "show"})), qdiscs(output(lab, {"tc", "qdisc", "show"})),
        settings(test::settings(lab)), namespaces(output(lab, {"ip", "netns", "list"})),
        objects(weir_objects(lab)) {}
};

// The kernel frees programs a moment after their last reference. So some of another test may have
// been there before, and be no more.
std::set<std::string> left(const std::set<std::string>& objects, const State& before) {
  std::set<std::string> added;
  std::ranges::set_difference(objects, before.objects, std::inserter(added, added.end()));
  return added;
}

bool all_freed(const Lab& lab, const State& before) {
  return eventually([&] { return left(weir_objects(lab), before).empty(); });
}

void check_equal(const State& before, const State& after) {
  CHECK(after.rules4 == before.rules4);
  CHECK(after.rules6 == before.rules6);
  CHECK(after.routes4 == before.routes4);
  CHECK(after.routes6 == before.routes6);
  CHECK(after.pins == before.pins);
  CHECK(after.net == before.net);
  CHECK(after.qdiscs == before.qdiscs);
  CHECK(after.settings == before.settings);
  CHECK(after.namespaces == before.namespaces);
  CHECK(left(after.objects, before) == std::set<std::string>());
}

// Twice: with links of tcx where the kernel has them, and with filters of clsact.
struct Shop {
  bool links = GENERATE(true, false);
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});

  Shop() {
    lab.serve_http(web);
    lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnEgress}});
  }
  void use() {
    if (!links) {
      lab.hide_tcx();
    }
    lab.start_weir();
    if (!links) {
      CHECK(lab.weirctl({"status"}).out.find("bpf by clsact") != std::string::npos);
    }
    CHECK(client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).exit_code == 0);
    CHECK(client.curl({"--max-time", "5", std::string("http://") + kAllowedName + "/"}).status ==
          200);
  }
  void clean_up() {
    const Outcome outcome = lab.cleanup();
    INFO(outcome.text());
    CHECK(outcome.exit_code == 0);
  }
};

TEST_CASE("S8: cleanup after an orderly end restores the node's state") {
  require_root();
  Shop shop;
  const State before(shop.lab);
  shop.use();
  REQUIRE_FALSE(State(shop.lab) == before); // there is something to clean up
  CHECK(shop.lab.stop_weir() == 0);
  shop.clean_up();
  CHECK(all_freed(shop.lab, before));
  check_equal(before, State(shop.lab));
}

TEST_CASE("S8: cleanup after kill -9 restores the node's state, and so does a second one") {
  require_root();
  Shop shop;
  const State before(shop.lab);
  shop.use();
  shop.lab.kill_weir();
  shop.clean_up();
  shop.clean_up();
  CHECK(all_freed(shop.lab, before));
  check_equal(before, State(shop.lab));
}

} // namespace
} // namespace weir::test
