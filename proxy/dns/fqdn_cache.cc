#include "proxy/dns/fqdn_cache.h"

#include "proxy/base/file.h"
#include "proxy/base/log.h"
#include "proxy/dns/learned_names.h"
#include "proxy/dns/state_file.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace weir::dns {
namespace {

constexpr std::size_t kShards = 16;
constexpr std::size_t kMaxStateFile = 512U << 20;

std::uint64_t nanoseconds(std::chrono::seconds seconds) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(seconds).count());
}

} // namespace

struct FqdnCache::Shard {
  mutable std::mutex mutex;
  std::unordered_map<policy::EndpointId, LearnedNames> endpoints;
  std::atomic<std::uint64_t> evicted{0};
};

FqdnCache::FqdnCache(redirect::Redirector& redirector, FqdnCacheOptions options)
    : x_redirector(redirector), x_options(std::move(options)) {
  for (std::size_t i = 0; i < kShards; ++i) {
    x_shards.push_back(std::make_unique<Shard>());
  }
}

FqdnCache::~FqdnCache() = default;

FqdnCache::Shard& FqdnCache::shard_of(policy::EndpointId endpoint) const {
  return *x_shards[endpoint % kShards];
}

Result<std::size_t> FqdnCache::learn(const policy::EndpointPolicy& policy,
                                     policy::EndpointId endpoint, const DnsName& name,
                                     std::uint32_t ttl, const std::vector<IpAddress>& addresses) {
  const std::uint64_t groups = policy.fqdn_groups(name);
  if (groups == 0 || addresses.empty()) {
    return 0;
  }
  {
    Shard& shard = shard_of(endpoint);
    const std::lock_guard lock(shard.mutex);
    LearnedNames& names = shard.endpoints[endpoint];
    const std::size_t before = names.records().size();
    names.start_answer();
    x_changes.fetch_add(1, std::memory_order_relaxed);
    const std::uint64_t ends_ns = end_of(ttl);
    Result<void> written;
    for (const IpAddress& address : addresses) {
      const bool known = names.kernel_covers(address, {groups, ends_ns});
      if (!known) {
        written =
            x_redirector.learn({endpoint, address, groups, ends_ns + nanoseconds(x_options.grace)});
      }
      if (!written) {
        break;
      }
      names.put(name, groups, address, ttl, ends_ns);
      if (!known) {
        names.kernel_joined(address, {groups, ends_ns});
      }
    }
    if (written) {
      written = make_room(shard, endpoint, names);
    }
    note_size(before, names.records().size());
    if (!written) {
      return written.error();
    }
  }
  if (size() > x_options.max_total) {
    if (const Result<void> made_room = make_room_for_all(); !made_room) {
      return made_room.error();
    }
  }
  return addresses.size();
}

void FqdnCache::note_size(std::size_t before, std::size_t after) {
  x_total.fetch_add(after - before, std::memory_order_relaxed); // wraps: a difference may be < 0
}

// One that a flow still uses is passed over, but not for ever: the limit holds, whatever a pod
// keeps open. The caller has asked oldest().
Result<void> FqdnCache::evict_oldest(Shard& shard, policy::EndpointId endpoint, LearnedNames& names,
                                     int& spared) {
  constexpr int kMaxSpared = 16;
  const LearnedNames::Record& oldest = *names.oldest();
  if (spared < kMaxSpared && in_use(endpoint, oldest.address)) {
    ++spared;
    names.spare_oldest();
    return {};
  }
  const IpAddress address = oldest.address;
  names.drop_oldest();
  shard.evicted.fetch_add(1, std::memory_order_relaxed);
  return correct(endpoint, names, address);
}

Result<void> FqdnCache::make_room(Shard& shard, policy::EndpointId endpoint, LearnedNames& names) {
  int spared = 0;
  // Without an oldest there is the newest answer alone; the next one makes room.
  while ((names.name_count() > x_options.max_names ||
          names.records().size() > x_options.max_addresses) &&
         names.oldest() != nullptr) {
    if (Result<void> evicted = evict_oldest(shard, endpoint, names, spared); !evicted) {
      return evicted;
    }
  }
  return {};
}

// Whoever has the most gives a part of it: then nobody else loses anything, and the search for him
// is not made anew for each answer.
Result<void> FqdnCache::make_room_for_all() {
  constexpr std::size_t kPart = 16;
  Shard* fattest = nullptr;
  policy::EndpointId endpoint = 0;
  std::size_t most = 0;
  for (const auto& shard : x_shards) {
    const std::lock_guard lock(shard->mutex);
    for (const auto& [id, names] : shard->endpoints) {
      if (names.records().size() > most) {
        most = names.records().size();
        endpoint = id;
        fattest = shard.get();
      }
    }
  }
  if (fattest == nullptr) {
    return {};
  }
  const std::lock_guard lock(fattest->mutex);
  const auto at = fattest->endpoints.find(endpoint);
  if (at == fattest->endpoints.end()) {
    return {};
  }
  LearnedNames& names = at->second;
  const std::size_t before = names.records().size();
  const std::size_t wanted = before - std::min(before, most / kPart + 1);
  Result<void> evicted;
  int spared = 0;
  while (evicted && names.records().size() > wanted && names.oldest() != nullptr) {
    evicted = evict_oldest(*fattest, endpoint, names, spared);
  }
  note_size(before, names.records().size());
  return evicted;
}

std::uint64_t FqdnCache::lifetime_ns(std::uint32_t ttl) const {
  // RFC 8767 §4: no sensible record wants to be kept for longer than a week.
  constexpr std::chrono::seconds kMaxTtl{7 * 24 * 3600};
  return nanoseconds(std::max(std::min(std::chrono::seconds(ttl), kMaxTtl), x_options.min_ttl));
}

// At a whole second, up to one later: so the answers of one second, of which a busy pod has
// thousands, are one write to the kernel.
std::uint64_t FqdnCache::end_of(std::uint32_t ttl) const {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  return (x_options.clock() + lifetime_ns(ttl) + kSecond - 1) / kSecond * kSecond;
}

bool FqdnCache::in_use(policy::EndpointId endpoint, const IpAddress& address) const {
  const std::uint64_t used_ns = x_redirector.last_used_ns(endpoint, address);
  return used_ns != 0 && used_ns + nanoseconds(x_options.grace) > x_options.clock();
}

// Makes the kernel's entry what the records say.
Result<void> FqdnCache::correct(policy::EndpointId endpoint, LearnedNames& names,
                                const IpAddress& address) const {
  const LearnedNames::KernelEntry wanted = names.wanted(address, graceful_now_ns());
  if (names.kernel_has(address, wanted)) {
    return {};
  }
  const std::uint64_t expires_ns =
      wanted.groups == 0 ? 0 : wanted.ends_ns + nanoseconds(x_options.grace);
  Result<void> written = x_redirector.set_learned({endpoint, address, wanted.groups, expires_ns});
  if (written) {
    names.kernel_told(address, wanted);
  }
  return written;
}

// A record is over when it ended before this. Time counts from boot, so there may not be as much
// of it yet as the grace time.
std::uint64_t FqdnCache::graceful_now_ns() const {
  const std::uint64_t now_ns = x_options.clock();
  const std::uint64_t grace_ns = nanoseconds(x_options.grace);
  return now_ns > grace_ns ? now_ns - grace_ns : 0;
}

std::uint64_t FqdnCache::groups_of(policy::EndpointId endpoint, const IpAddress& address) const {
  Shard& shard = shard_of(endpoint);
  const std::lock_guard lock(shard.mutex);
  const auto at = shard.endpoints.find(endpoint);
  return at == shard.endpoints.end() ? 0 : at->second.live_groups(address, graceful_now_ns());
}

bool FqdnCache::has_learned(policy::EndpointId endpoint, const DnsName& name,
                            const IpAddress& address) const {
  Shard& shard = shard_of(endpoint);
  const std::lock_guard lock(shard.mutex);
  const auto at = shard.endpoints.find(endpoint);
  const LearnedNames::Record* record =
      at == shard.endpoints.end() ? nullptr : at->second.find(name, address);
  return record != nullptr && record->ends_ns > graceful_now_ns();
}

std::optional<ExpiredName> FqdnCache::expired(policy::EndpointId endpoint,
                                              const IpAddress& address) const {
  Shard& shard = shard_of(endpoint);
  const std::lock_guard lock(shard.mutex);
  const auto at = shard.endpoints.find(endpoint);
  const LearnedNames::Record* last =
      at == shard.endpoints.end() ? nullptr : at->second.latest(address);
  const std::uint64_t now_ns = graceful_now_ns();
  if (last == nullptr || last->ends_ns > now_ns) {
    return std::nullopt;
  }
  return ExpiredName{*last->name, std::chrono::duration_cast<std::chrono::seconds>(
                                      std::chrono::nanoseconds(now_ns - last->ends_ns))};
}

Result<void> FqdnCache::extend(const policy::Program& program) {
  for (const auto& shard : x_shards) {
    const std::lock_guard lock(shard->mutex);
    for (auto& [endpoint, names] : shard->endpoints) {
      const policy::EndpointPolicy* policy = program.find(endpoint);
      if (policy == nullptr) {
        continue;
      }
      for (const LearnedNames::Record& record : names.records()) {
        const std::uint64_t groups = policy->fqdn_groups(*record.name);
        if (names.kernel_covers(record.address, {groups, groups == 0 ? 0 : record.ends_ns})) {
          continue;
        }
        const std::uint64_t expires_ns = record.ends_ns + nanoseconds(x_options.grace);
        if (Result<void> written =
                x_redirector.learn({endpoint, record.address, groups, expires_ns});
            !written) {
          return written;
        }
        names.kernel_joined(record.address, {groups, record.ends_ns});
      }
    }
  }
  return {};
}

Result<void> FqdnCache::reconcile(const policy::Program& program) {
  Result<void> outcome;
  const auto note = [&](const Result<void>& written) {
    if (!written && outcome) {
      outcome = written;
    }
  };
  for (const auto& shard : x_shards) {
    const std::lock_guard lock(shard->mutex);
    for (auto at = shard->endpoints.begin(); at != shard->endpoints.end();) {
      auto& [endpoint, names] = *at;
      const std::vector<IpAddress> addresses = names.addresses();
      const policy::EndpointPolicy* policy = program.find(endpoint);
      if (policy == nullptr) {
        note_size(names.records().size(), 0);
        names.drop_if([](const LearnedNames::Record&) { return true; });
        x_changes.fetch_add(1, std::memory_order_relaxed);
      } else {
        names.regroup([&](const DnsName& name) { return policy->fqdn_groups(name); });
      }
      for (const IpAddress& address : addresses) {
        note(correct(endpoint, names, address));
      }
      at = policy == nullptr ? shard->endpoints.erase(at) : std::next(at);
    }
  }
  return outcome;
}

void FqdnCache::expire() {
  const std::uint64_t remember_ns = nanoseconds(x_options.remember);
  for (const auto& shard : x_shards) {
    const std::lock_guard lock(shard->mutex);
    for (auto at = shard->endpoints.begin(); at != shard->endpoints.end();) {
      auto& [endpoint, names] = *at;
      const std::uint64_t now_ns = graceful_now_ns();
      const std::size_t before = names.records().size();
      // Where another name keeps the address open, this one's groups go.
      std::vector<IpAddress> touched = names.end_before(now_ns);
      const auto forgotten = names.drop_if([&](const LearnedNames::Record& record) {
        return record.ends_ns + remember_ns <= now_ns &&
               (names.live_groups(record.address, now_ns) != 0 ||
                !in_use(endpoint, record.address));
      });
      touched.insert(touched.end(), forgotten.begin(), forgotten.end());
      x_changes.fetch_add(touched.size(), std::memory_order_relaxed);
      note_size(before, names.records().size());
      for (const IpAddress& address : touched) {
        if (const Result<void> corrected = correct(endpoint, names, address); !corrected) {
          log::warning("learned address {} of endpoint {} could not be corrected: {}",
                       address.to_string(), endpoint, corrected.error().text());
        }
      }
      at = names.records().empty() ? shard->endpoints.erase(at) : std::next(at);
    }
  }
}

std::vector<LearnedName> FqdnCache::entries() const {
  std::vector<LearnedName> entries;
  const auto now_ns = static_cast<std::int64_t>(x_options.clock());
  const std::uint64_t over_ns = graceful_now_ns();
  const auto wall = x_options.wall();
  for (const auto& shard : x_shards) {
    const std::lock_guard lock(shard->mutex);
    for (const auto& [endpoint, names] : shard->endpoints) {
      for (const LearnedNames::Record& record : names.records()) {
        const std::chrono::nanoseconds left(static_cast<std::int64_t>(record.ends_ns) - now_ns);
        entries.push_back(
            {endpoint, *record.name, record.address, record.ttl,
             wall + std::chrono::duration_cast<std::chrono::system_clock::duration>(left),
             record.ends_ns <= over_ns});
      }
    }
  }
  return entries;
}

std::uint64_t FqdnCache::changes() const { return x_changes.load(std::memory_order_relaxed); }

std::uint64_t FqdnCache::evicted() const {
  std::uint64_t evicted = 0;
  for (const auto& shard : x_shards) {
    evicted += shard->evicted.load(std::memory_order_relaxed);
  }
  return evicted;
}

Result<void> FqdnCache::save(const std::string& path) const {
  return replace_file(path, format_state(entries()));
}

Result<void> FqdnCache::load(const std::string& path) {
  const Result<std::string> text = read_file(path, kMaxStateFile);
  if (!text) {
    if (text.error().code == std::errc::no_such_file_or_directory) {
      return {};
    }
    return text.error();
  }
  const auto parsed = parse_state(*text);
  if (!parsed) {
    set_aside(path);
    return invalid_error(path + " was set aside: " + parsed.error().context);
  }
  const auto wall = x_options.wall();
  const std::uint64_t now_ns = x_options.clock();
  for (const LearnedName& entry : *parsed) {
    // The wall clock may have jumped since: nothing lives longer than if it had been answered now,
    // and what is over already ends at once (a flow may still use it).
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(entry.expires - wall);
    const auto ago_ns = static_cast<std::uint64_t>(left.count() <= 0 ? -left.count() : 0);
    const std::uint64_t ends_ns =
        left.count() <= 0
            ? std::min(graceful_now_ns(), now_ns - std::min(now_ns, ago_ns))
            : now_ns + std::min(static_cast<std::uint64_t>(left.count()), lifetime_ns(entry.ttl));
    Shard& shard = shard_of(entry.endpoint);
    const std::lock_guard lock(shard.mutex);
    LearnedNames& names = shard.endpoints[entry.endpoint];
    const std::size_t before = names.records().size();
    names.start_answer();
    names.put(entry.name, 0, entry.address, entry.ttl, ends_ns);
    while (names.name_count() > x_options.max_names ||
           names.records().size() > x_options.max_addresses || size() + 1 > x_options.max_total) {
      names.drop_oldest();
    }
    note_size(before, names.records().size());
  }
  return {};
}

} // namespace weir::dns
