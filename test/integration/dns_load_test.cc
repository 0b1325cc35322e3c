// DNS under load, with weir between a pod and its server: whoever asked may connect at once, names
// without end cost no memory, one pod's flood is not another's, and weir may be killed at any
// moment. The counts of a run in CI are short; WEIR_DNS_LOAD in the environment multiplies them,
// and WEIR_DNS_KILLS says how often weir is killed.
#include "proxy/dns/state_file.h"
#include "test/integration/policies.h"
#include "test/support/lab.h"
#include "test/support/process_memory.h"

#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>
#include <sstream>

namespace weir::test {
namespace {

constexpr const char* kServer = "10.0.2.54"; // beside the lab's own, in the same network

std::string times(unsigned count) {
  const char* wanted = std::getenv("WEIR_DNS_LOAD");
  return std::to_string(count * (wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 1));
}

// Pods with app=client may ask for names in example.test and reach what they are.
std::string policy(const std::string& name = "names") {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
         ", namespace: shop}\n" + R"(spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - toCIDR: [10.0.2.54/32]
    toPorts:
    - ports: [{port: "53", protocol: UDP}]
      rules: {dns: [{matchPattern: "*.example.test"}]}
  - toFQDNs: [{matchPattern: "*.example.test"}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
)";
}

struct Load {
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& other = lab.add_pod({"shop", "other", {{"app", "client"}}});
  std::optional<Process> server;

  explicit Load(const std::string& dns) {
    lab.world().ip({std::string("addr add ") + kServer + "/32 dev lo",
                    "route add local 198.18.0.0/15 dev lo"});
    REQUIRE(lab.world()
                .run({"ip", "-6", "route", "add", "local", "2001:db8:5::/64", "dev", "lo"})
                .exit_code == 0);
    server = Process::start({.argv = {WEIR_NAME_SERVER, kServer, "53"},
                             .net_namespace = lab.world().fd(),
                             .output = lab.folder() / "server.log"});
    lab.policies().publish({{"names.yaml", policy()}});
    lab.set_dns("{resolvers: [10.0.2.54/32], " + dns + "}");
    lab.start_weir();
    REQUIRE(eventually([&] { return loop(client, "ask", "1", "1").exit_code == 0; }));
  }

  [[nodiscard]] static std::vector<std::string>
  command(const std::string& mode, const std::string& count, const std::string& names) {
    return {WEIR_RESOLVE_LOOP, mode, kServer, count, names};
  }
  static Outcome loop(const Pod& pod, const std::string& mode, const std::string& count,
                      const std::string& names) {
    return run({.argv = command(mode, count, names), .net_namespace = pod.netns().fd()},
               std::chrono::hours(1));
  }

  double metric(const std::string& line_begin) {
    const auto reply = lab.admin("/stats/prometheus");
    REQUIRE(reply);
    std::istringstream text(reply->body);
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with(line_begin)) {
        return std::stod(line.substr(line.rfind(' ') + 1));
      }
    }
    FAIL("no metric " << line_begin);
    return 0;
  }
  std::size_t memory() { return process_memory(lab.weir().pid(), "RssAnon:"); }
};

// The server derives a name's addresses from its number.
bool is_of_name(const std::string& name, const std::string& address) {
  const unsigned number = static_cast<unsigned>(std::stoul(name.substr(1)));
  const std::uint32_t v4 = 0xc6120000u | (number & 0x1ffff);
  const std::uint8_t bytes[4] = {static_cast<std::uint8_t>(v4 >> 24),
                                 static_cast<std::uint8_t>(v4 >> 16),
                                 static_cast<std::uint8_t>(v4 >> 8), static_cast<std::uint8_t>(v4)};
  char v6[32];
  std::snprintf(v6, sizeof v6, "2001:db8:5::%x:%x", number >> 16, number & 0xffff);
  return name.ends_with(".example.test.") && (address == IpAddress::from_v4(bytes).to_string() ||
                                              IpAddress::parse(address) == IpAddress::parse(v6));
}

TEST_CASE("D16: what a pod has resolved it can connect to at once, while names expire and policies "
          "change") {
  require_root();
  // Between an answer and its connection the whole machine may stand still for a while.
  Load load("minTtl: 1s, grace: 3s");
  unsigned changes = 0;
  for (const char* round : {"all are new", "some have expired"}) {
    INFO(round);
    const std::filesystem::path log = load.lab.folder() / (std::string(round) + ".log");
    Process looping = Process::start({.argv = Load::command("connect", times(2000), "500"),
                                      .net_namespace = load.client.netns().fd(),
                                      .output = log});
    while (looping.running()) {
      // Other rules beside it, so that numbers, rows and groups move.
      std::map<std::string, std::string> files{{"names.yaml", policy()}};
      if (++changes % 2 == 1) {
        files["extra.yaml"] = policy("a-second") + R"(  - toFQDNs: [{matchName: n7.example.test}]
)";
        files["web.yaml"] = kHttpIngress;
      }
      load.lab.policies().publish(files);
      looping.wait(std::chrono::milliseconds(100));
    }
    const std::string said = read_file(log);
    WARN(said << changes << " changes of policy");
    CHECK(looping.wait(std::chrono::seconds(1)) == 0);
    CHECK(said.starts_with("0 of " + times(2000) + " failed"));
    REQUIRE(eventually([&] { return !load.lab.admin_json("/fqdn/expired").as_array().empty(); }));
  }
  CHECK(changes > 2);
}

TEST_CASE("S1, S4: killed at any moment, weir finds what was learned, and nothing else") {
  require_root();
  const char* wanted = std::getenv("WEIR_DNS_KILLS");
  const unsigned kills =
      wanted != nullptr ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : 5;
  Load load("minTtl: 5s, grace: 5s");
  const std::filesystem::path state = load.lab.folder() / "state";
  Process looping = Process::start({.argv = Load::command("connect", "4000000", "2000"),
                                    .net_namespace = load.client.netns().fd(),
                                    .output = load.lab.folder() / "loop.log"});
  std::mt19937 random(std::random_device{}());
  std::size_t loaded = 0, rows = 0, in_maps = 0;
  for (unsigned i = 0; i < kills; ++i) {
    INFO("kill " << i);
    // A moment, not an event; late enough that what the last kill took has been asked again.
    looping.wait(std::chrono::milliseconds(2000 + random() % 1500));
    REQUIRE(looping.running());
    load.lab.kill_weir();

    const std::string text = read_file(state / "fqdn.json");
    if (!text.empty()) {
      const auto entries = dns::parse_state(text);
      REQUIRE(entries.has_value());
      ++loaded;
      for (const dns::LearnedName& entry : *entries) {
        ++rows;
        CHECK(is_of_name(entry.name.to_text(), entry.address.to_string()));
      }
    }
    load.lab.start_weir();
    CHECK_FALSE(std::filesystem::exists(state / "fqdn.json.corrupt"));
    const auto cache = load.lab.admin_json("/fqdn/cache");
    for (const auto& row : cache.as_array()) {
      ++in_maps;
      CHECK(boost::json::value_to<std::string>(row.at("pod")) == "shop/client");
      CHECK(is_of_name(boost::json::value_to<std::string>(row.at("name")) + ".",
                       boost::json::value_to<std::string>(row.at("address"))));
    }
  }
  CHECK(looping.stop() == 0); // nothing failed
  const std::string said = read_file(load.lab.folder() / "loop.log");
  WARN(said << loaded << " state files with " << rows << " rows, " << in_maps
            << " rows after a start");
  CHECK(loaded > 0);
}

TEST_CASE("D10: names without end cost a bounded memory, and none of them stays open") {
  require_root();
  Load load("minTtl: 1s, grace: 1s, maxNames: 2000");
  const std::string count = times(20000);
  REQUIRE(Load::loop(load.client, "ask", times(10000), "1000000").exit_code == 0);
  const std::size_t before = load.memory();
  const Outcome asked = Load::loop(load.client, "ask", count, "1000000");
  INFO(asked.text());
  CHECK(asked.exit_code == 0);
  const std::size_t after = load.memory();
  WARN(asked.out << "from " << before / 1024 << " to " << after / 1024 << " KiB");
  CHECK(after < before + 4 * 1024 * 1024);
  CHECK(load.metric("weir_fqdn_names") <= 2000);
  const bool empty = eventually(
      [&] { return load.metric("weir_fqdn_names") == 0 && load.metric("weir_fqdn_ips") == 0; },
      std::chrono::seconds(60));
  CHECK(empty);
  // What was open once is remembered for a while, to tell why it is not any more.
  CHECK(load.metric("weir_bpf_map_entries{map=\"weir_learned\"}") <= 4000);
}

TEST_CASE("D10: one pod's flood of questions takes nothing from another pod") {
  require_root();
  Load load("maxNames: 1000, maxTotal: 2000");
  const Outcome quiet = Load::loop(load.other, "ask", "2000", "400");
  INFO(quiet.text());
  REQUIRE(quiet.exit_code == 0);
  Process flood = Process::start({.argv = Load::command("flood", times(400000), "1000000"),
                                  .net_namespace = load.client.netns().fd(),
                                  .output = load.lab.folder() / "flood.log"});
  const Outcome asked = Load::loop(load.other, "ask", "2000", "400");
  INFO(asked.text());
  CHECK(flood.wait(std::chrono::minutes(10)) == 0);
  WARN("quiet: " << quiet.out << "beside a flood: " << asked.out);
  CHECK(asked.out.starts_with("0 of 2000 failed, 0 again"));
  // Both have the same share of what there is room for, so all of its names are still there.
  unsigned kept = 0;
  const auto cache = load.lab.admin_json("/fqdn/cache");
  for (const auto& row : cache.as_array()) {
    kept += boost::json::value_to<std::string>(row.at("pod")) == "shop/other";
  }
  CHECK(kept == 800);
}

} // namespace
} // namespace weir::test
