#include "proxy/dns/fqdn_cache.h"

#include "proxy/base/file.h"
#include "proxy/dns/state_file.h"
#include "test/support/temp_folder.h"
#include "test/unit/dns/fakes.h"
#include "test/unit/dns/wire.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir::dns {
namespace {

using test::FqdnPolicy;
using test::FqdnProgram;
using test::ManualClock;
using test::name;
using test::RecordingRedirector;
using namespace std::chrono_literals;

constexpr std::uint64_t kSecond = ManualClock::kSecond;

std::vector<IpAddress> ips(std::initializer_list<std::string_view> texts) {
  std::vector<IpAddress> addresses;
  for (const auto text : texts) {
    addresses.push_back(*IpAddress::parse(text));
  }
  return addresses;
}

IpAddress numbered(unsigned number) {
  const std::uint8_t bytes[4] = {10, static_cast<std::uint8_t>(number >> 16),
                                 static_cast<std::uint8_t>(number >> 8),
                                 static_cast<std::uint8_t>(number)};
  return IpAddress::from_v4(bytes);
}

// Bit 0: a.com; bit 1: b.com; bit 2: whatever ends in .wild.
std::uint64_t groups(const DnsName& asked) {
  if (asked == name("a.com")) {
    return 1;
  }
  if (asked == name("b.com")) {
    return 2;
  }
  const auto labels = asked.labels();
  return !labels.empty() && labels.back() == "wild" ? 4 : 0;
}

struct Fixture {
  ManualClock clock;
  RecordingRedirector kernel;
  FqdnPolicy policy{groups};
  FqdnCache cache{kernel, clock.options()};
};

TEST_CASE("A learned address is in the kernel, with groups and graceful expiry, on return") {
  Fixture f;
  const auto learned =
      f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1", "192.0.2.2"}));
  REQUIRE(learned.has_value());
  CHECK(*learned == 2);
  const auto* entry = f.kernel.find(7, "192.0.2.1");
  REQUIRE(entry != nullptr);
  CHECK(entry->groups == 1);
  CHECK(entry->expires_ns == f.clock.boot_ns + 360 * kSecond);
  CHECK(f.cache.groups_of(7, ips({"192.0.2.2"})[0]) == 1);
}

TEST_CASE("A name that no group wants is not kept") {
  Fixture f;
  CHECK(*f.cache.learn(f.policy, 7, name("c.com"), 300, ips({"192.0.2.1"})) == 0);
  CHECK(f.kernel.writes == 0);
  CHECK(f.cache.entries().empty());
}

TEST_CASE("What one endpoint learned opens nothing for another") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  CHECK(f.cache.groups_of(23, ips({"192.0.2.1"})[0]) == 0);
  CHECK(f.kernel.find(23, "192.0.2.1") == nullptr);
}

TEST_CASE("An address of two names has the groups of both") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(f.cache.learn(f.policy, 7, name("b.com"), 300, ips({"192.0.2.1"})).has_value());
  CHECK(f.cache.groups_of(7, ips({"192.0.2.1"})[0]) == 3);
  CHECK(f.kernel.find(7, "192.0.2.1")->groups == 3);
}

TEST_CASE("When the kernel takes no more, learning is an error") {
  Fixture f;
  f.kernel.capacity = 1;
  CHECK_FALSE(
      f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1", "192.0.2.2"})).has_value());
}

TEST_CASE("D9: short times are raised to the least, long ones cut to a week") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 0, ips({"192.0.2.1"})).has_value());
  REQUIRE(f.cache.learn(f.policy, 7, name("b.com"), 0x7fffffff, ips({"192.0.2.2"})).has_value());
  CHECK(f.kernel.find(7, "192.0.2.1")->expires_ns == f.clock.boot_ns + 120 * kSecond);
  CHECK(f.kernel.find(7, "192.0.2.2")->expires_ns ==
        f.clock.boot_ns + (7 * 24 * 3600 + 60) * kSecond);
}

TEST_CASE("D9: a time that shrinks does not shorten what an earlier answer promised") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 3600, ips({"192.0.2.1"})).has_value());
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 5, ips({"192.0.2.1"})).has_value());
  f.clock.advance(600s);
  f.cache.expire();
  CHECK(f.cache.groups_of(7, ips({"192.0.2.1"})[0]) == 1);
  CHECK(f.kernel.find(7, "192.0.2.1")->expires_ns > f.clock.boot_ns);
}

TEST_CASE("An address is good through its grace time, and gone after it") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  f.clock.advance(359s);
  f.cache.expire();
  CHECK(f.cache.groups_of(7, ips({"192.0.2.1"})[0]) == 1);
  f.clock.advance(1s);
  CHECK(f.cache.groups_of(7, ips({"192.0.2.1"})[0]) == 0);
  f.cache.expire();
  CHECK(f.kernel.learned.empty());
  CHECK(f.cache.entries().empty());
}

TEST_CASE("D9: an expired address stays in the kernel while a flow uses it, closed to new ones") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  f.clock.advance(400s);
  f.kernel.learned.begin()->second.last_used_ns = f.clock.boot_ns - 10 * kSecond;
  f.cache.expire();
  const auto* entry = f.kernel.find(7, "192.0.2.1");
  REQUIRE(entry != nullptr);
  CHECK(entry->expires_ns < f.clock.boot_ns);
  CHECK(f.cache.groups_of(7, ips({"192.0.2.1"})[0]) == 0);
  f.clock.advance(60s);
  f.cache.expire();
  CHECK(f.kernel.learned.empty());
}

TEST_CASE("D9: an address whose time is over is remembered for a while, and why it opens nothing") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.remember = 600s;
  FqdnCache cache(kernel, options);
  const IpAddress address = ips({"192.0.2.1"})[0];
  REQUIRE(cache.learn(policy, 7, name("a.com"), 300, {address}).has_value());
  REQUIRE(cache.learn(policy, 7, name("b.com"), 600, {address}).has_value());
  CHECK_FALSE(cache.expired(7, address));
  clock.advance(370s);
  cache.expire();
  CHECK_FALSE(cache.expired(7, address)); // b.com opens it still
  CHECK(kernel.find(7, "192.0.2.1")->groups == 2);
  clock.advance(330s);
  cache.expire();
  CHECK(cache.groups_of(7, address) == 0);
  REQUIRE(kernel.find(7, "192.0.2.1") != nullptr); // which tells the kernel that it was open once
  CHECK(kernel.find(7, "192.0.2.1")->expires_ns < clock.boot_ns);
  const auto expired = cache.expired(7, address);
  REQUIRE(expired);
  CHECK(expired->name == name("b.com"));
  CHECK(expired->age == 40s);
  CHECK_FALSE(cache.expired(8, address));
  const auto entries = cache.entries();
  CHECK(std::all_of(entries.begin(), entries.end(), [](const auto& entry) { return entry.over; }));
  // It comes back as if it had never been away.
  REQUIRE(cache.learn(policy, 7, name("b.com"), 600, {address}).has_value());
  CHECK(cache.groups_of(7, address) == 2);
  CHECK_FALSE(cache.expired(7, address));
  clock.advance(2000s);
  cache.expire();
  CHECK(kernel.learned.empty());
  CHECK(cache.size() == 0);
}

TEST_CASE("What was over before a restart is told with its age after it") {
  test::TempFolder folder;
  ManualClock clock;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.remember = 600s;
  const IpAddress address = ips({"192.0.2.1"})[0];
  {
    RecordingRedirector kernel;
    FqdnCache cache(kernel, options);
    REQUIRE(cache.learn(policy, 7, name("a.com"), 300, {address}).has_value());
    clock.advance(400s);
    cache.expire();
    REQUIRE(cache.save(folder.file("fqdn.json")).has_value());
  }
  RecordingRedirector kernel;
  FqdnCache cache(kernel, options);
  REQUIRE(cache.load(folder.file("fqdn.json")).has_value());
  CHECK(cache.groups_of(7, address) == 0);
  REQUIRE(cache.expired(7, address));
  CHECK(cache.expired(7, address)->age == 40s);
}

TEST_CASE("When one of an address's names expires, the kernel loses that name's groups") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 60, ips({"192.0.2.1"})).has_value());
  REQUIRE(f.cache.learn(f.policy, 7, name("b.com"), 600, ips({"192.0.2.1"})).has_value());
  f.clock.advance(130s);
  CHECK(f.cache.groups_of(7, ips({"192.0.2.1"})[0]) == 2);
  f.cache.expire();
  CHECK(f.kernel.find(7, "192.0.2.1")->groups == 2);
}

TEST_CASE("A policy change gives kept names their new groups, and takes the old ones away") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(f.cache.learn(f.policy, 7, name("b.com"), 300, ips({"192.0.2.2"})).has_value());
  FqdnProgram program;
  program.endpoints[7] = std::make_shared<FqdnPolicy>(
      [](const DnsName& asked) { return asked == name("a.com") ? 8U : 0U; });
  REQUIRE(f.cache.reconcile(program).has_value());
  CHECK(f.kernel.find(7, "192.0.2.1")->groups == 8);
  CHECK(f.kernel.find(7, "192.0.2.2") == nullptr);
  CHECK(f.cache.groups_of(7, ips({"192.0.2.2"})[0]) == 0);

  // Back again before b.com expired.
  program.endpoints[7] = std::make_shared<FqdnPolicy>(groups);
  REQUIRE(f.cache.reconcile(program).has_value());
  CHECK(f.kernel.find(7, "192.0.2.1")->groups == 1);
  CHECK(f.kernel.find(7, "192.0.2.2")->groups == 2);
}

TEST_CASE("Between two policies an address has the groups of both") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  FqdnProgram program;
  program.endpoints[7] = std::make_shared<FqdnPolicy>(
      [](const DnsName& asked) { return asked == name("a.com") ? 8U : 0U; });
  REQUIRE(f.cache.extend(program).has_value());
  CHECK(f.kernel.find(7, "192.0.2.1")->groups == (1 | 8));
  const auto writes = f.kernel.writes;
  REQUIRE(f.cache.extend(program).has_value());
  CHECK(f.kernel.writes == writes);
  REQUIRE(f.cache.reconcile(program).has_value());
  CHECK(f.kernel.find(7, "192.0.2.1")->groups == 8);
}

TEST_CASE("What entries() shows differently is a change worth saving, and nothing else is") {
  Fixture f;
  const auto before = f.cache.changes();
  REQUIRE(f.cache.learn(f.policy, 7, name("unwanted.com"), 300, ips({"192.0.2.9"})).has_value());
  f.cache.expire();
  CHECK(f.cache.changes() == before);
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  CHECK(f.cache.changes() > before);
}

TEST_CASE("A policy change that changes nothing writes nothing to the kernel") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  FqdnProgram program;
  program.endpoints[7] = std::make_shared<FqdnPolicy>(groups);
  REQUIRE(f.cache.reconcile(program).has_value());
  const std::size_t before = f.kernel.writes;
  REQUIRE(f.cache.reconcile(program).has_value());
  CHECK(f.kernel.writes == before);
}

TEST_CASE("An endpoint that the program does not know is forgotten, here and in the kernel") {
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(f.cache.learn(f.policy, 23, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  FqdnProgram program;
  program.endpoints[23] = std::make_shared<FqdnPolicy>(groups);
  REQUIRE(f.cache.reconcile(program).has_value());
  CHECK(f.kernel.find(7, "192.0.2.1") == nullptr);
  CHECK(f.kernel.find(23, "192.0.2.1") != nullptr);
  CHECK(f.cache.entries().size() == 1);
}

TEST_CASE("D10: over the limit of addresses the one learned longest ago goes, and is counted") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.max_addresses = 3;
  FqdnCache cache(kernel, options);
  REQUIRE(cache.learn(policy, 7, name("a.com"), 300, ips({"192.0.2.1", "192.0.2.2"})).has_value());
  REQUIRE(cache.learn(policy, 7, name("b.com"), 300, ips({"192.0.2.3"})).has_value());
  REQUIRE(cache.learn(policy, 7, name("a.com"), 300, ips({"192.0.2.1"}))
              .has_value()); // now younger than .2
  REQUIRE(cache.learn(policy, 7, name("b.com"), 300, ips({"192.0.2.4"})).has_value());
  CHECK(kernel.find(7, "192.0.2.2") == nullptr);
  CHECK(kernel.learned.size() == 3);
  CHECK(cache.entries().size() == 3);
  CHECK(cache.evicted() == 1);
}

TEST_CASE("D10: an answer larger than the limit is kept whole, and nothing else beside it") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.max_addresses = 2;
  FqdnCache cache(kernel, options);
  REQUIRE(cache.learn(policy, 7, name("b.com"), 300, ips({"192.0.2.9"})).has_value());
  REQUIRE(cache.learn(policy, 7, name("a.com"), 300, ips({"192.0.2.1", "192.0.2.2", "192.0.2.3"}))
              .has_value());
  CHECK(kernel.learned.size() == 3);
  CHECK(kernel.find(7, "192.0.2.9") == nullptr);
}

TEST_CASE("D10: a flood of names costs the flooding endpoint only") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.max_names = 100;
  FqdnCache cache(kernel, options);
  REQUIRE(cache.learn(policy, 23, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  for (unsigned i = 0; i < 2000; ++i) {
    REQUIRE(cache.learn(policy, 7, name("n" + std::to_string(i) + ".wild"), 300, {numbered(i)})
                .has_value());
    // The newest is always there.
    REQUIRE(cache.groups_of(7, numbered(i)) == 4);
  }
  CHECK(cache.groups_of(23, ips({"192.0.2.1"})[0]) == 1);
  CHECK(kernel.learned.size() == 101);
  CHECK(cache.evicted() == 1900);
}

TEST_CASE("D10: over the limit of all, who has the most gives way, and nobody else") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.max_total = 200;
  FqdnCache cache(kernel, options);
  for (policy::EndpointId endpoint = 1; endpoint <= 10; ++endpoint) {
    REQUIRE(
        cache.learn(policy, endpoint, name("a.com"), 300, {numbered(1), numbered(2)}).has_value());
  }
  for (unsigned i = 0; i < 5000; ++i) {
    REQUIRE(cache.learn(policy, 77, name("n" + std::to_string(i) + ".wild"), 300, {numbered(i)})
                .has_value());
    REQUIRE(cache.groups_of(77, numbered(i)) == 4);
    REQUIRE(kernel.learned.size() <= 200);
  }
  for (policy::EndpointId endpoint = 1; endpoint <= 10; ++endpoint) {
    CHECK(cache.groups_of(endpoint, numbered(1)) == 1);
    CHECK(cache.groups_of(endpoint, numbered(2)) == 1);
  }
  CHECK(cache.size() == kernel.learned.size());
  CHECK(cache.evicted() == 20 + 5000 - cache.size());
}

TEST_CASE("D10: what goes over a limit is always what was learned longest ago") {
  constexpr std::size_t kMaxAddresses = 50;
  constexpr std::size_t kMaxNames = 20;
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.max_addresses = kMaxAddresses;
  options.max_names = kMaxNames;
  FqdnCache cache(kernel, options);
  std::mt19937 engine(30);
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  // The plainest model: a list, oldest first, whose last `answer` entries are never given up.
  using Entry = std::pair<DnsName, IpAddress>;
  std::vector<Entry> model;
  for (int step = 0; step < 3000; ++step) {
    const auto asked = name("n" + std::to_string(random() % 40) + ".wild");
    std::vector<IpAddress> addresses;
    for (unsigned i = 0; i <= random() % 6; ++i) {
      addresses.push_back(numbered(random() % 100));
    }
    std::sort(addresses.begin(), addresses.end());
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    REQUIRE(cache.learn(policy, 7, asked, 300, addresses).has_value());
    for (const auto& address : addresses) {
      std::erase(model, Entry(asked, address));
      model.emplace_back(asked, address);
    }
    const auto name_count = [&model] {
      std::set<DnsName> different;
      for (const auto& entry : model) {
        different.insert(entry.first);
      }
      return different.size();
    };
    while ((model.size() > kMaxAddresses || name_count() > kMaxNames) &&
           model.size() > addresses.size()) {
      model.erase(model.begin());
    }
    std::set<Entry> kept;
    for (const auto& entry : cache.entries()) {
      kept.emplace(entry.name, entry.address);
    }
    REQUIRE(kept == std::set<Entry>(model.begin(), model.end()));
  }
}

TEST_CASE("D10: one address of very many names costs one entry of the kernel") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  FqdnCache cache(kernel, clock.options());
  for (unsigned i = 0; i < 20'000; ++i) {
    REQUIRE(cache.learn(policy, 7, name("n" + std::to_string(i) + ".wild"), 300, {numbered(1)})
                .has_value());
  }
  CHECK(kernel.learned.size() == 1);
  CHECK(cache.size() == 8192);
  clock.advance(400s);
  cache.expire();
  CHECK(kernel.learned.empty());
  CHECK(cache.size() == 0);
}

TEST_CASE("Over a limit, an address that a flow uses is passed over") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.max_addresses = 2;
  FqdnCache cache(kernel, options);
  REQUIRE(cache.learn(policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(cache.learn(policy, 7, name("a.com"), 300, ips({"192.0.2.2"})).has_value());
  kernel.learned.begin()->second.last_used_ns = clock.boot_ns;
  REQUIRE(cache.learn(policy, 7, name("a.com"), 300, ips({"192.0.2.3"})).has_value());
  CHECK(kernel.find(7, "192.0.2.1") != nullptr);
  CHECK(kernel.find(7, "192.0.2.2") == nullptr);
}

TEST_CASE("However answers, policies and time come, the kernel holds what the names say") {
  ManualClock clock;
  RecordingRedirector kernel;
  const FqdnPolicy policy(groups);
  auto options = clock.options();
  options.max_addresses = 20;
  options.max_names = 8;
  FqdnCache cache(kernel, options);
  FqdnProgram program;
  program.endpoints[1] = program.endpoints[2] = std::make_shared<FqdnPolicy>(groups);
  std::mt19937 engine(20);
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  for (int step = 0; step < 5000; ++step) {
    const auto endpoint = 1 + random() % 2;
    const auto asked =
        random() % 3 == 0 ? name("a.com") : name("n" + std::to_string(random() % 12) + ".wild");
    std::vector<IpAddress> addresses;
    for (unsigned i = 0; i <= random() % 4; ++i) {
      addresses.push_back(numbered(random() % 30));
    }
    REQUIRE(cache.learn(policy, endpoint, asked, random() % 200, addresses).has_value());
    for (const auto& address : addresses) {
      REQUIRE((cache.groups_of(endpoint, address) & groups(asked)) != 0);
    }
    clock.advance(std::chrono::seconds(random() % 10));
    if (random() % 10 == 0) {
      cache.expire();
      REQUIRE(cache.reconcile(program).has_value());
      std::map<RecordingRedirector::Key, std::uint64_t> wanted;
      for (const auto& entry : cache.entries()) {
        wanted[{entry.endpoint, entry.address}] |= groups(entry.name);
      }
      REQUIRE(wanted.size() == kernel.learned.size());
      for (const auto& [key, entry] : kernel.learned) {
        REQUIRE(wanted.at(key) == entry.groups);
        REQUIRE(cache.groups_of(key.first, key.second) == entry.groups);
      }
    }
  }
  CHECK(cache.evicted() > 0);
}

TEST_CASE("What was learned survives a restart, and is in the kernel after the first program") {
  const test::TempFolder folder;
  Fixture before;
  REQUIRE(
      before.cache.learn(before.policy, 7, name("a.com"), 300, ips({"192.0.2.1", "2001:db8::1"}))
          .has_value());
  REQUIRE(before.cache.learn(before.policy, 7, name("x\\.y.wild"), 300, ips({"192.0.2.3"}))
              .has_value());
  REQUIRE(before.cache.save(folder.file("fqdn.json")).has_value());

  Fixture after;
  after.clock.boot_ns = 50 * kSecond; // the machine was started anew
  after.clock.wall += 100s;
  REQUIRE(after.cache.load(folder.file("fqdn.json")).has_value());
  CHECK(after.kernel.writes == 0);
  FqdnProgram program;
  program.endpoints[7] = std::make_shared<FqdnPolicy>(groups);
  REQUIRE(after.cache.reconcile(program).has_value());
  CHECK(after.cache.groups_of(7, ips({"2001:db8::1"})[0]) == 1);
  CHECK(after.cache.groups_of(7, ips({"192.0.2.3"})[0]) == 4);
  CHECK(after.kernel.find(7, "192.0.2.1")->expires_ns ==
        after.clock.boot_ns + (200 + 60) * kSecond);
  REQUIRE(after.cache.entries().size() == 3);
  CHECK(after.cache.entries()[0].ttl == 300);
}

TEST_CASE("S4: a wall clock that jumped back lengthens no learned address's life") {
  const test::TempFolder folder;
  Fixture before;
  REQUIRE(before.cache.learn(before.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(before.cache.save(folder.file("fqdn.json")).has_value());
  Fixture after;
  after.clock.wall -= 3600s;
  REQUIRE(after.cache.load(folder.file("fqdn.json")).has_value());
  CHECK(after.cache.entries()[0].expires == after.clock.wall + 300s);
}

TEST_CASE("What expired while weir was away opens nothing") {
  const test::TempFolder folder;
  Fixture before;
  REQUIRE(before.cache.learn(before.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(before.cache.save(folder.file("fqdn.json")).has_value());
  Fixture after;
  after.clock.wall += 400s;
  REQUIRE(after.cache.load(folder.file("fqdn.json")).has_value());
  FqdnProgram program;
  program.endpoints[7] = std::make_shared<FqdnPolicy>(groups);
  REQUIRE(after.cache.reconcile(program).has_value());
  CHECK(after.cache.groups_of(7, ips({"192.0.2.1"})[0]) == 0);
  CHECK(after.kernel.find(7, "192.0.2.1")->expires_ns <= after.clock.boot_ns);
  after.cache.expire();
  CHECK(after.kernel.learned.empty());
}

TEST_CASE("A state file that is missing is an empty one") {
  const test::TempFolder folder;
  Fixture f;
  CHECK(f.cache.load(folder.file("fqdn.json")).has_value());
  CHECK(f.cache.entries().empty());
}

TEST_CASE("S4: a state file cut short or changed at any byte is set aside, and nothing is loaded") {
  const test::TempFolder folder;
  Fixture before;
  REQUIRE(before.cache.learn(before.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(before.cache.save(folder.file("fqdn.json")).has_value());
  const auto read = read_file(folder.file("fqdn.json"));
  REQUIRE(read.has_value());
  const std::string& good = *read;
  const auto refused = [&](const std::string& text) {
    REQUIRE(replace_file(folder.file("fqdn.json"), text).has_value());
    Fixture f;
    const bool failed = !f.cache.load(folder.file("fqdn.json"));
    const bool moved = !std::filesystem::exists(folder.file("fqdn.json")) &&
                       std::filesystem::exists(folder.file("fqdn.json") + ".corrupt");
    return failed && moved && f.cache.entries().empty();
  };
  for (std::size_t i = 0; i < good.size(); ++i) {
    CAPTURE(i);
    CHECK(refused(good.substr(0, i)));
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 0x02);
    CHECK(refused(changed));
  }
}

TEST_CASE(
    "S4: on a full disk the state file that is there stays whole, and is replaced afterwards") {
  const test::TempFolder folder;
  Fixture f;
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.1"})).has_value());
  REQUIRE(f.cache.save(folder.file("fqdn.json")).has_value());
  REQUIRE(f.cache.learn(f.policy, 7, name("a.com"), 300, ips({"192.0.2.2"})).has_value());
  std::filesystem::create_symlink("/dev/full", folder.file("fqdn.json") + ".tmp");
  const Result<void> saved = f.cache.save(folder.file("fqdn.json"));
  REQUIRE_FALSE(saved.has_value());
  CHECK(saved.error().code == std::errc::no_space_on_device);
  const auto stored = [&] {
    Fixture after;
    CHECK(after.cache.load(folder.file("fqdn.json")).has_value());
    return after.cache.entries().size();
  };
  CHECK(stored() == 1);
  CHECK(f.cache.groups_of(7, ips({"192.0.2.2"})[0]) == 1); // goes on without
  REQUIRE(f.cache.save(folder.file("fqdn.json")).has_value());
  CHECK(stored() == 2);
}

TEST_CASE("A state file of another version is set aside") {
  CHECK_FALSE(
      parse_state(R"({"version":2,"checksum":"cbf29ce484222325","entries":[]})").has_value());
  CHECK_FALSE(parse_state(R"([])").has_value());
  CHECK(parse_state(format_state({})).has_value());
}

TEST_CASE("A state file larger than the limits is loaded up to them") {
  const test::TempFolder folder;
  Fixture before;
  for (unsigned i = 0; i < 10; ++i) {
    REQUIRE(before.cache.learn(before.policy, 7, name("a.com"), 300, {numbered(i)}).has_value());
  }
  REQUIRE(before.cache.save(folder.file("fqdn.json")).has_value());
  ManualClock clock;
  auto options = clock.options();
  options.max_addresses = 4;
  RecordingRedirector kernel;
  FqdnCache cache(kernel, options);
  REQUIRE(cache.load(folder.file("fqdn.json")).has_value());
  CHECK(cache.entries().size() == 4);
}

} // namespace
} // namespace weir::dns
