#include "policy-compiler/lower/l4.h"

#include "policy-compiler/lower/ports.h"

#include <netinet/in.h>

#include <algorithm>
#include <bit>
#include <tuple>
#include <unordered_map>

namespace weir::policy {
namespace {

using Effect = Filter::Effect;
using Row = EndpointPolicy::Row;

std::uint16_t big_endian(std::uint16_t number) {
  return std::endian::native == std::endian::little ? __builtin_bswap16(number) : number;
}

// A place in the trie below identity and direction: any protocol, one protocol, or a block of its
// ports.
struct Block {
  std::uint32_t prefix_length = WEIR_POLICY_PREFIX_ANY_PROTOCOL;
  std::uint8_t protocol = 0;
  std::uint16_t port = 0;

  [[nodiscard]] std::uint64_t key() const {
    return std::uint64_t{prefix_length} << 32 | std::uint64_t{protocol} << 16 | port;
  }
  // The next wider place; false at the widest.
  bool widen() {
    if (prefix_length == WEIR_POLICY_PREFIX_ANY_PROTOCOL) {
      return false;
    }
    if (prefix_length == WEIR_POLICY_PREFIX_ANY_PORT) {
      *this = Block{};
      return true;
    }
    --prefix_length;
    const unsigned bits = prefix_length - WEIR_POLICY_PREFIX_ANY_PORT;
    port = static_cast<std::uint16_t>(port & (0xffff0000u >> bits));
    return true;
  }
};

// What filters say of one place, joined.
struct Joined {
  int rank = -1; // of the verdict; -1: nothing
  std::uint32_t rule = 0;
  std::uint64_t fqdn_deny = 0, fqdn_redirect = 0, fqdn_allow = 0;

  void join(const Joined& other) {
    if (other.rank > rank) {
      rank = other.rank;
      rule = other.rule;
    }
    fqdn_deny |= other.fqdn_deny;
    fqdn_redirect |= other.fqdn_redirect;
    fqdn_allow |= other.fqdn_allow;
  }
  // Nothing lost by leaving this row to the wider one.
  [[nodiscard]] bool says_no_more_than(const Joined& wider) const {
    return rank <= wider.rank && fqdn_deny == wider.fqdn_deny &&
           fqdn_redirect == wider.fqdn_redirect && fqdn_allow == wider.fqdn_allow;
  }
};

int rank_of(Effect effect) {
  switch (effect) {
  case Effect::kDeny:
    return 2;
  case Effect::kAllowL7:
  case Effect::kDenyL7:
    return 1;
  case Effect::kAllow:
    return 0;
  }
  return 2;
}

std::uint8_t verdict_of(int rank) {
  return rank == 2 ? WEIR_DENY : rank == 1 ? WEIR_REDIRECT : WEIR_ALLOW;
}

Joined statement_of(const Filter& filter) {
  Joined out;
  out.rank = rank_of(filter.effect);
  out.rule = filter.rule->number;
  if (filter.fqdn_mask != 0) {
    std::uint64_t& mask = out.rank == 2   ? out.fqdn_deny
                          : out.rank == 1 ? out.fqdn_redirect
                                          : out.fqdn_allow;
    mask = filter.fqdn_mask;
  }
  return out;
}

std::vector<Block> blocks_of(const Filter& filter) {
  if (filter.protocol == 0) {
    return {Block{}};
  }
  std::vector<Block> out;
  for (const auto& [port, bits] : port_blocks(filter.first, filter.last)) {
    out.push_back({WEIR_POLICY_PREFIX_ANY_PORT + bits, filter.protocol, port});
  }
  return out;
}

// The rows of one identity, before they have a direction and a number.
class Rows {
public:
  using Places = std::unordered_map<std::uint64_t, std::pair<Block, Joined>>;

  void add(const Filter& filter) {
    const Joined statement = statement_of(filter);
    for (const Block& block : blocks_of(filter)) {
      x_own.try_emplace(block.key(), block, Joined{}).first->second.second.join(statement);
    }
  }

  // Carries wider rows into narrower ones, then leaves out what the wider row says as well.
  void finish() {
    Places joined = x_own;
    for (auto& [key, place] : joined) {
      for (Block wider = place.first; wider.widen();) {
        if (const auto found = x_own.find(wider.key()); found != x_own.end()) {
          place.second.join(found->second.second);
        }
      }
    }
    x_places.clear();
    for (const auto& [key, place] : joined) {
      Block wider = place.first;
      const Joined* above = nullptr;
      while (above == nullptr && wider.widen()) {
        if (const auto found = joined.find(wider.key()); found != joined.end()) {
          above = &found->second.second;
        }
      }
      if (above == nullptr || !place.second.says_no_more_than(*above)) {
        x_places.emplace(key, place);
      }
    }
  }

  // The longest match at a place or above it.
  [[nodiscard]] const Joined* find(Block block) const {
    do {
      if (const auto found = x_places.find(block.key()); found != x_places.end()) {
        return &found->second.second;
      }
    } while (block.widen());
    return nullptr;
  }
  [[nodiscard]] const Places& places() const { return x_places; }

private:
  Places x_own;
  Places x_places;
};

// In the order of their keys.
std::vector<std::pair<Block, Joined>> sorted(const Rows& rows) {
  std::vector<std::pair<Block, Joined>> out;
  out.reserve(rows.places().size());
  for (const auto& [key, place] : rows.places()) {
    out.push_back(place);
  }
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.first.key() < b.first.key(); });
  return out;
}

void emit(std::uint8_t direction, IdentityId identity,
          const std::vector<std::pair<Block, Joined>>& places, std::vector<Row>& out) {
  for (const auto& [block, joined] : places) {
    Row row{};
    row.key.prefix_length = block.prefix_length;
    row.key.identity = identity;
    row.key.direction = direction;
    row.key.protocol = block.protocol;
    row.key.port_be = big_endian(block.port);
    row.entry.fqdn_deny = joined.fqdn_deny;
    row.entry.fqdn_redirect = joined.fqdn_redirect;
    row.entry.fqdn_allow = joined.fqdn_allow;
    row.entry.rule = joined.rule;
    if (identity != WEIR_IDENTITY_LEARNED) {
      row.entry.verdict = verdict_of(joined.rank);
    }
    out.push_back(row);
  }
}

// Rows of single identities that the row for everybody does not make superfluous.
std::vector<std::pair<Block, Joined>> sorted_beside(const Rows& rows, const Rows& everybody) {
  auto out = sorted(rows);
  std::erase_if(out, [&](const auto& place) {
    const Joined* shared = everybody.find(place.first);
    return shared != nullptr && place.second.rank <= shared->rank;
  });
  return out;
}

auto order_of(const weir_policy_key& key) {
  return std::tuple(key.identity, key.prefix_length, key.protocol, key.port_be);
}

using Indices = std::vector<std::uint32_t>;

struct IndicesHash {
  std::size_t operator()(const Indices& indices) const noexcept {
    std::size_t hash = indices.size();
    for (const std::uint32_t index : indices) {
      hash = hash * 0x9e3779b97f4a7c15ULL + index;
    }
    return hash;
  }
};

void lower_direction(std::uint8_t direction, const std::vector<Filter>& filters,
                     const Universe& universe, std::vector<Row>& out) {
  const std::size_t begin = out.size();
  Rows everybody;
  Rows learned;
  std::vector<Indices> of_place(universe.size());
  for (std::uint32_t index = 0; index < filters.size(); ++index) {
    const Filter& filter = filters[index];
    if (filter.anybody) {
      everybody.add(filter);
    } else if (filter.fqdn_mask != 0) {
      learned.add(filter);
    } else if (filter.identities != nullptr) {
      filter.identities->for_each([&](std::size_t place) { of_place[place].push_back(index); });
    }
  }
  everybody.finish();
  learned.finish();
  emit(direction, WEIR_IDENTITY_ANY, sorted(everybody), out);
  emit(direction, WEIR_IDENTITY_LEARNED, sorted(learned), out);

  // Identities that the same filters concern have the same rows.
  std::unordered_map<Indices, std::vector<std::pair<Block, Joined>>, IndicesHash> known;
  for (std::size_t place = 0; place < of_place.size(); ++place) {
    if (of_place[place].empty()) {
      continue;
    }
    const auto [found, is_new] = known.try_emplace(of_place[place]);
    if (is_new) {
      Rows rows;
      for (const std::uint32_t index : of_place[place]) {
        rows.add(filters[index]);
      }
      rows.finish();
      found->second = sorted_beside(rows, everybody);
    }
    emit(direction, universe.id_of(place), found->second, out);
  }
  // Places are in the order in which identities came, which is not the same in every process.
  std::sort(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
            [](const Row& a, const Row& b) { return order_of(a.key) < order_of(b.key); });
}

std::vector<Filter> with_dns_observed(const std::vector<Filter>& filters) {
  constexpr std::uint16_t kDnsPort = 53;
  std::vector<Filter> out = filters;
  for (const Filter& filter : filters) {
    for (const std::uint8_t protocol : {std::uint8_t{IPPROTO_UDP}, std::uint8_t{IPPROTO_TCP}}) {
      if (filter.effect != Effect::kAllow || filter.first > kDnsPort || filter.last < kDnsPort ||
          (filter.protocol != 0 && filter.protocol != protocol)) {
        continue;
      }
      Filter observed = filter;
      observed.effect = Effect::kAllowL7;
      observed.protocol = protocol;
      observed.first = observed.last = kDnsPort;
      out.push_back(std::move(observed));
    }
  }
  return out;
}

// Where nothing is enforced, everything passes.
Row pass_all(std::uint8_t direction) {
  Row row{};
  row.key.prefix_length = WEIR_POLICY_PREFIX_ANY_PROTOCOL;
  row.key.identity = WEIR_IDENTITY_ANY;
  row.key.direction = direction;
  row.entry.verdict = WEIR_ALLOW;
  row.entry.rule = kRuleDefaultAllow;
  return row;
}

} // namespace

std::vector<EndpointPolicy::Row> lower_unaudited_rows(const LoweredEndpoint& endpoint,
                                                      const Universe& universe, bool observe_dns) {
  std::vector<Row> out = lower_rows(endpoint, universe, observe_dns);
  for (Row& row : out) {
    row.key.direction |= WEIR_WITHOUT_AUDITED;
  }
  for (const std::uint8_t direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    if (!endpoint.is_enforced[direction]) {
      out.push_back(pass_all(direction | WEIR_WITHOUT_AUDITED));
    }
  }
  return out;
}

std::vector<EndpointPolicy::Row> lower_rows(const LoweredEndpoint& endpoint,
                                            const Universe& universe, bool observe_dns) {
  std::vector<Row> out;
  for (const std::uint8_t direction : {WEIR_INGRESS, WEIR_EGRESS}) {
    if (endpoint.is_enforced[direction]) {
      const auto& filters = endpoint.filters[direction];
      if (observe_dns && direction == WEIR_EGRESS) {
        lower_direction(direction, with_dns_observed(filters), universe, out);
      } else {
        lower_direction(direction, filters, universe, out);
      }
    }
  }
  return out;
}

} // namespace weir::policy
