// What weir has learned from DNS: per endpoint, names → addresses with their time. The one place
// that knows names; BPF only sees (endpoint, address) → groups.
//
// Threads: any worker (learn, groups_of) and the control thread (rest). Sharded by endpoint behind
// a mutex each: the HTTP request path does not come here except once a connection.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "redirect-bpf/user/redirector.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::dns {

struct FqdnCacheOptions {
  std::chrono::seconds min_ttl{60};
  std::chrono::seconds grace{60};
};

struct LearnedName {
  policy::EndpointId endpoint = 0;
  DnsName name; // the question's
  IpAddress address;
  std::uint32_t ttl = 0;                          // as answered, seconds
  std::chrono::system_clock::time_point expires;  // without grace
};

class FqdnCache {
public:
  // The redirector outlives the cache.
  FqdnCache(redirect::Redirector& redirector, FqdnCacheOptions options);
  ~FqdnCache();

  // Records that `name` resolved to `addresses` for this endpoint and writes those that some group
  // wants to the kernel, before it returns: only then may the answer be released. Names that no
  // group of the endpoint wants are not kept. An error means that the kernel refused: the answer
  // must not be released.
  Result<std::size_t> learn(const policy::EndpointPolicy& policy, policy::EndpointId endpoint,
                            const DnsName& name, std::uint32_t ttl,
                            const std::vector<IpAddress>& addresses);

  // The endpoint's FQDN groups that the address was learned for and that have not expired.
  [[nodiscard]] std::uint64_t groups_of(policy::EndpointId endpoint, const IpAddress& address) const;

  // After a policy change or at start: matches every kept name anew and corrects the kernel's
  // entries; forgets endpoints that the program does not know.
  Result<void> reconcile(const policy::Program& program);

  // Forgets what is over: past expiry and grace, and no flow has used it for the grace time.
  void expire();

  [[nodiscard]] std::vector<LearnedName> entries() const;

  // State file: versioned JSON, written beside and renamed. A file that cannot be read is set
  // aside as "PATH.corrupt" and reported as an error; the cache is then empty.
  Result<void> save(const std::string& path) const;
  Result<void> load(const std::string& path);

private:
  struct Shard;
  std::vector<std::unique_ptr<Shard>> x_shards;
  redirect::Redirector& x_redirector;
  FqdnCacheOptions x_options;
};

} // namespace weir::dns
