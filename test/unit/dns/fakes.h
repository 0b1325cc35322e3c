// Stand-ins for what the FQDN cache works with: a kernel that remembers what it was told, a policy
// with FQDN groups and nothing else, clocks that move when told to.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/dns/fqdn_cache.h"
#include "redirect-bpf/user/redirector.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace weir::test {

class RecordingRedirector final : public redirect::Redirector {
public:
  struct Entry {
    std::uint64_t groups = 0;
    std::uint64_t expires_ns = 0;
    std::uint64_t last_used_ns = 0;
  };
  using Key = std::pair<std::uint32_t, IpAddress>;

  std::map<Key, Entry> learned;
  std::size_t writes = 0;
  std::size_t capacity = SIZE_MAX;

  [[nodiscard]] const Entry* find(std::uint32_t endpoint, std::string_view address) const {
    const auto at = learned.find({endpoint, *IpAddress::parse(address)});
    return at == learned.end() ? nullptr : &at->second;
  }

  Result<void> learn(const redirect::LearnedAddress& address) override {
    ++writes;
    const Key key{address.endpoint, address.address};
    if (!learned.contains(key) && learned.size() >= capacity) {
      return errno_error(E2BIG, "weir_learned");
    }
    Entry& entry = learned[key];
    entry.groups |= address.groups;
    entry.expires_ns = std::max(entry.expires_ns, address.expires_ns);
    return {};
  }
  Result<void> set_learned(const redirect::LearnedAddress& address) override {
    ++writes;
    const Key key{address.endpoint, address.address};
    if (address.groups == 0) {
      learned.erase(key);
      return {};
    }
    Entry& entry = learned[key];
    entry.groups = address.groups;
    entry.expires_ns = address.expires_ns;
    return {};
  }
  std::vector<redirect::LearnedAddress> list_learned() override {
    std::vector<redirect::LearnedAddress> list;
    for (const auto& [key, entry] : learned) {
      list.push_back({key.first, key.second, entry.groups, entry.expires_ns});
    }
    return list;
  }
  std::uint64_t last_used_ns(std::uint32_t endpoint, const IpAddress& address) override {
    const auto at = learned.find({endpoint, address});
    return at == learned.end() ? 0 : at->second.last_used_ns;
  }

  Result<void> apply(const redirect::IdentityRows& /*identities*/,
                     std::span<const redirect::EndpointState> /*endpoints*/) override {
    return {};
  }
  [[nodiscard]] std::optional<std::uint32_t> first_revision() const override {
    return std::nullopt;
  }
  Result<void> hold_new_pods(redirect::OtherInterfaces /*others*/) override { return {}; }
  Result<void> end_holds(std::chrono::steady_clock::time_point /*begun*/) override { return {}; }
  Result<void> set_services(std::span<const redirect::ServiceState> /*services*/) override {
    return {};
  }
  std::optional<SocketAddress> backend_of(const SocketAddress& /*client*/,
                                          const SocketAddress& /*destination*/,
                                          std::uint8_t /*protocol*/) override {
    return std::nullopt;
  }
  Result<void> set_listeners(std::span<const redirect::WorkerListeners> /*workers*/) override {
    return {};
  }
  Result<void> clear_listeners() override { return {}; }
  Result<redirect::Counters> counters() override { return redirect::Counters{}; }
  std::vector<redirect::MapUse> map_use() override { return {}; }
  Result<void> set_acceleration(bool /*enabled*/) override { return {}; }
  redirect::AccelerationState acceleration() override { return {}; }
  bool attached(const std::string& /*interface*/) override { return false; }
  std::string_view attach_mode() const override { return {}; }
  bool leave_acceleration(int /*socket*/) override { return true; }
};

class FqdnPolicy final : public policy::EndpointPolicy {
public:
  explicit FqdnPolicy(std::function<std::uint64_t(const DnsName&)> groups)
      : x_groups(std::move(groups)) {}

  [[nodiscard]] bool enforced(policy::Direction /*direction*/) const override { return true; }
  [[nodiscard]] bool audited() const override { return false; }
  [[nodiscard]] policy::FlowDecision decide(const policy::Flow& /*flow*/) const override {
    return {};
  }
  [[nodiscard]] std::uint64_t fqdn_groups(const DnsName& name) const override {
    return x_groups(name);
  }
  [[nodiscard]] std::span<const Row> rows() const override { return {}; }

private:
  std::function<std::uint64_t(const DnsName&)> x_groups;
};

class FqdnProgram final : public policy::Program {
public:
  std::map<policy::EndpointId, std::shared_ptr<FqdnPolicy>> endpoints;

  [[nodiscard]] std::uint64_t revision() const override { return 1; }
  [[nodiscard]] const policy::EndpointPolicy* find(policy::EndpointId endpoint) const override {
    const auto at = endpoints.find(endpoint);
    return at == endpoints.end() ? nullptr : at->second.get();
  }
  [[nodiscard]] std::span<const Prefix> prefixes() const override { return {}; }
  [[nodiscard]] std::span<const policy::RuleRef* const> rules() const override { return {}; }
};

// A machine that booted half an hour ago.
struct ManualClock {
  static constexpr std::uint64_t kSecond = 1'000'000'000;

  std::uint64_t boot_ns = 1800 * kSecond;
  std::chrono::system_clock::time_point wall{std::chrono::seconds(1'700'000'000)};

  void advance(std::chrono::seconds seconds) {
    boot_ns += static_cast<std::uint64_t>(seconds.count()) * kSecond;
    wall += seconds;
  }
  // The clock outlives the cache.
  dns::FqdnCacheOptions options() {
    dns::FqdnCacheOptions options;
    options.remember = std::chrono::seconds(0); // what is over is gone
    options.clock = [this] { return boot_ns; };
    options.wall = [this] { return wall; };
    return options;
  }
};

} // namespace weir::test
