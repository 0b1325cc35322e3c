// What weir has learned from DNS: per endpoint, names → addresses with their time. The one place
// that knows names; BPF only sees (endpoint, address) → groups.
//
// Threads: any worker (learn, groups_of) and the control thread (rest). Sharded by endpoint behind
// a mutex each: the HTTP request path does not come here except once a connection. The mutex is
// held across the kernel's map write, so that what the kernel holds and what is kept here cannot
// pass each other; the write is a few microseconds.
//
// Memory is bounded for each endpoint by itself: over a limit what was learned longest ago goes,
// never what the answer at hand teaches, so that one pod's flood costs nobody else. It is bounded
// for all together as well; there the endpoint with the most gives way.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/base/clocks.h"
#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "redirect-bpf/user/redirector.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::dns {

class LearnedNames;

struct FqdnCacheOptions {
  std::chrono::seconds min_ttl{60};
  std::chrono::seconds grace{60};
  std::size_t max_names = 8192;      // of one endpoint
  std::size_t max_addresses = 16384; // of one endpoint, counted once for each name they have
  std::size_t max_total = 60000;     // of all endpoints, counted likewise
  // So long is what is over remembered, so that a refused flow can be told why.
  std::chrono::seconds remember{600};
  // Tests bring their own clocks. `clock` counts what is kept, `wall` is for people and for the
  // state file, which outlives a boot.
  std::function<std::uint64_t()> clock = boottime_ns;
  std::function<std::chrono::system_clock::time_point()> wall = std::chrono::system_clock::now;
};

struct LearnedName {
  policy::EndpointId endpoint = 0;
  DnsName name; // the question's
  IpAddress address;
  std::uint32_t ttl = 0;                         // as answered, seconds
  std::chrono::system_clock::time_point expires; // without grace
  bool over = false;                             // past grace, too: opens nothing
};

// A name whose address was open once.
struct ExpiredName {
  DnsName name;
  std::chrono::seconds age{0}; // since the end of its grace time
};

class FqdnCache {
public:
  // The redirector outlives the cache.
  FqdnCache(redirect::Redirector& redirector, FqdnCacheOptions options);
  ~FqdnCache();
  FqdnCache(const FqdnCache&) = delete;
  FqdnCache& operator=(const FqdnCache&) = delete;

  // Records that `name` resolved to `addresses` for this endpoint and writes those that some group
  // wants to the kernel, before it returns: only then may the answer be released. Names that no
  // group of the endpoint wants are not kept. Gives the number of addresses written. An error
  // means that the kernel refused: the answer must not be released.
  Result<std::size_t> learn(const policy::EndpointPolicy& policy, policy::EndpointId endpoint,
                            const DnsName& name, std::uint32_t ttl,
                            const std::vector<IpAddress>& addresses);

  // The endpoint's FQDN groups that the address was learned for and that have not expired (grace
  // included, as in the kernel).
  [[nodiscard]] std::uint64_t groups_of(policy::EndpointId endpoint,
                                        const IpAddress& address) const;

  // Whether the address was learned for that very name, which has not expired.
  [[nodiscard]] bool has_learned(policy::EndpointId endpoint, const DnsName& name,
                                 const IpAddress& address) const;

  // Why an address opens nothing (any more): the name that was over last. Nothing when some name
  // still opens it, or none ever did as far as is remembered.
  [[nodiscard]] std::optional<ExpiredName> expired(policy::EndpointId endpoint,
                                                   const IpAddress& address) const;

  // First half of a policy change: the kernel's entries gain the groups of the new program and keep
  // those of the old one, so that neither of the two finds an address missing.
  Result<void> extend(const policy::Program& program);

  // After a policy change or at start: matches every kept name anew and corrects the kernel's
  // entries; forgets endpoints that the program does not know. Names that no group wants any more
  // stay until they expire, in case another policy wants them. The first of the kernel's errors is
  // returned after everything was tried. Call it when no worker learns by an older program.
  Result<void> reconcile(const policy::Program& program);

  // Closes what is over, past expiry and grace, to new flows, and forgets it when it has been over
  // for a while and no flow has used it for the grace time.
  void expire();

  [[nodiscard]] std::vector<LearnedName> entries() const;
  // Rises with whatever entries() would show differently: the state file is worth writing again.
  [[nodiscard]] std::uint64_t changes() const;
  [[nodiscard]] std::size_t size() const { return x_total.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t evicted() const; // names' addresses given up over a limit, so far

  // State file: versioned JSON, written beside and renamed. A file that cannot be read is set
  // aside as "PATH.corrupt" and reported as an error; the cache is then as it was. A missing file
  // is an empty one. Loading writes nothing to the kernel: reconcile() does.
  Result<void> save(const std::string& path) const;
  Result<void> load(const std::string& path);

private:
  struct Shard;
  [[nodiscard]] Shard& shard_of(policy::EndpointId endpoint) const;
  // Under the shard's mutex.
  Result<void> evict_oldest(Shard& shard, policy::EndpointId endpoint, LearnedNames& names,
                            int& spared);
  Result<void> make_room(Shard& shard, policy::EndpointId endpoint, LearnedNames& names);
  Result<void> correct(policy::EndpointId endpoint, LearnedNames& names,
                       const IpAddress& address) const;
  void note_size(std::size_t before, std::size_t after);
  // Not under any mutex.
  Result<void> make_room_for_all();
  [[nodiscard]] bool in_use(policy::EndpointId endpoint, const IpAddress& address) const;
  [[nodiscard]] std::uint64_t lifetime_ns(std::uint32_t ttl) const;
  [[nodiscard]] std::uint64_t end_of(std::uint32_t ttl) const;
  [[nodiscard]] std::uint64_t graceful_now_ns() const;

  std::vector<std::unique_ptr<Shard>> x_shards;
  std::atomic<std::uint64_t> x_changes{0};
  std::atomic<std::size_t> x_total{0}; // names' addresses of all endpoints
  redirect::Redirector& x_redirector;
  FqdnCacheOptions x_options;
};

} // namespace weir::dns
