// The words that fields may hold, for the parser and the schema alike. Where a word stands for an
// enumerator, it does so by its place.
#pragma once

#include "policy-compiler/model/policy.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace weir::policy::words {

// Requirement::Op
inline constexpr std::array<std::string_view, 4> kOperators = {"In", "NotIn", "Exists",
                                                               "DoesNotExist"};
static_assert(static_cast<std::size_t>(Requirement::Op::kDoesNotExist) + 1 == kOperators.size());

// Entity
inline constexpr std::array<std::string_view, 14> kEntities = {
    "all",         "world",          "world-ipv4", "world-ipv6", "cluster", "cluster-mesh", "host",
    "remote-node", "kube-apiserver", "health",     "init",       "ingress", "unmanaged",    "none"};
static_assert(static_cast<std::size_t>(Entity::kNone) + 1 == kEntities.size());
static_assert(kEntities[static_cast<std::size_t>(Entity::kHost)] == "host");

// HeaderRule::Mismatch; left empty, a mismatch rejects
inline constexpr std::array<std::string_view, 5> kMismatches = {"", "LOG", "ADD", "DELETE",
                                                                "REPLACE"};
static_assert(static_cast<std::size_t>(HeaderRule::Mismatch::kReplace) + 1 == kMismatches.size());

inline constexpr std::array<std::string_view, 3> kFamilies = {"", "IPv4", "IPv6"};
inline constexpr std::array<std::string_view, 3> kKafkaRoles = {"", "produce", "consume"};
// enum weir_direction
inline constexpr std::array<std::string_view, 2> kPolicyTypes = {"Ingress", "Egress"};

template <std::size_t N>
constexpr std::optional<std::size_t> place_of(std::string_view word,
                                              const std::array<std::string_view, N>& words) {
  const auto found = std::find(words.begin(), words.end(), word);
  return found == words.end() ? std::nullopt : std::optional(std::size_t(found - words.begin()));
}

} // namespace weir::policy::words
