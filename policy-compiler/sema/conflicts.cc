#include "policy-compiler/sema/conflicts.h"

#include <bit>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weir::policy {
namespace {

const char* name_of(L7Kind kind) {
  switch (kind) {
  case L7Kind::kHttp:
    return "http";
  case L7Kind::kDns:
    return "dns";
  case L7Kind::kTls:
    return "serverNames";
  case L7Kind::kNone:
    break;
  }
  return "none";
}

struct Claim {
  L7Kind kind;
  bool looks_inside_tls; // kHttp with terminatingTLS
  const SpecInUse* owner;

  // Where the hello is read, names can be asked for beside requests.
  [[nodiscard]] bool goes_with(const Claim& other) const {
    const bool names_and_requests = (kind == L7Kind::kTls && other.kind == L7Kind::kHttp) ||
                                    (kind == L7Kind::kHttp && other.kind == L7Kind::kTls);
    return kind == other.kind ||
           (names_and_requests && (looks_inside_tls || other.looks_inside_tls));
  }
};
// Direction, port and peer → who speaks what there.
using Claims = std::unordered_map<std::string, Claim>;

template <typename Visit>
void for_each_peer(const ResolvedRule& rule, const std::string& ports, Visit&& visit) {
  for (const ResolvedPeer& peer : rule.peers) {
    visit(ports + ' ' + peer.key);
  }
  for (const ResolvedName& name : rule.names) {
    visit(ports + " fqdn " + name.key);
  }
}

} // namespace

void withdraw_conflicts(std::vector<SpecInUse>& specs, const std::set<std::uint32_t>& subjects,
                        Diagnostics& diagnostics) {
  // Most sets of policies speak one protocol on each port: those are done after this look.
  std::unordered_map<std::string_view, unsigned> kinds; // a bit each
  for (const SpecInUse& one : specs) {
    for (const auto& [ports, kind] : one.spec.rules->judged_ports) {
      kinds[ports] |= 1u << static_cast<unsigned>(kind);
    }
  }
  std::erase_if(kinds, [](const auto& one) { return std::has_single_bit(one.second); });
  if (kinds.empty()) {
    return;
  }

  std::map<std::uint32_t, Claims> claims;
  for (std::size_t begin = 0; begin < specs.size();) {
    std::size_t end = begin;
    while (end < specs.size() && &specs[end].policy() == &specs[begin].policy()) {
      ++end;
    }
    std::map<std::uint32_t, Claims> added;
    const SpecInUse* other = nullptr;
    std::string message;
    for (std::size_t i = begin; i < end; ++i) {
      const ResolvedSpec& spec = specs[i].spec;
      for_each_judged_port(*spec.rules, [&](const ResolvedRule& rule, const std::string& ports,
                                            const PortRule& port_rule) {
        if (!kinds.contains(ports)) {
          return;
        }
        for_each_peer(rule, ports, [&](const std::string& key) {
          for (const std::uint32_t place : subjects) {
            if (!spec.subjects->test(place)) {
              continue;
            }
            const auto before = claims[place].find(key);
            const Claim own{port_rule.l7, port_rule.terminating.has_value(), &specs[i]};
            const Claim claim = before != claims[place].end()
                                    ? before->second
                                    : added[place].try_emplace(key, own).first->second;
            if (!own.goes_with(claim) && other == nullptr) {
              other = claim.owner;
              message = std::string("`") + name_of(own.kind) + "` and `" + name_of(claim.kind) +
                        "` for the same peer and port: " + specs[i].policy().policy_namespace +
                        '/' + specs[i].policy().name + " against " +
                        other->policy().policy_namespace + '/' + other->policy().name;
            }
          }
        });
      });
    }
    if (other != nullptr) {
      for (std::size_t i = begin; i < end; ++i) {
        specs[i].withdrawn = true;
      }
      diagnostics.push_back({Severity::kError, specs[begin].policy().location, message,
                             "what the first of them allows is not in force", "l7-conflict"});
    } else {
      for (auto& [place, keys] : added) {
        claims[place].merge(keys);
      }
    }
    begin = end;
  }
}

} // namespace weir::policy
