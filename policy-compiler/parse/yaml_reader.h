// YAML text → trees that keep every position. Built on yaml-cpp's events rather than its nodes, so
// that duplicate keys, aliases and size are seen before anything else sees the document.
//
// Hostile input is bounded: nesting (yaml-cpp stops at 500), file size, and the number of nodes
// counted as if every alias were written out, so that an alias bomb is refused and not expanded.
// Never throws.
#pragma once

#include "policy-compiler/diagnostic.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::policy {

inline constexpr std::size_t kMaxFileBytes = 10u << 20;
inline constexpr std::size_t kMaxNodes = 500'000;
inline constexpr std::size_t kMaxDocuments = 10'000;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  struct Entry;

  Kind kind = Kind::kNull;
  int line = 0;
  int column = 0;
  bool plain = false; // scalar without quotes: may stand for a number or a boolean
  std::string scalar;
  std::vector<std::shared_ptr<const YamlNode>> items;
  std::vector<Entry> entries;
  std::size_t size = 1; // nodes below and with it, aliases written out

  // What a plain scalar stands for under YAML 1.1, which is what Kubernetes' tools read.
  [[nodiscard]] bool is_string() const;
  [[nodiscard]] bool is_boolean() const;
  [[nodiscard]] bool is_number() const;
  // "a map", "a list", "a number", …
  [[nodiscard]] const char* description() const;
};

struct YamlNode::Entry {
  std::string key;
  int line = 0;
  int column = 0;
  std::shared_ptr<const YamlNode> value;
};

struct YamlDocument {
  std::shared_ptr<const YamlNode> root; // null: broken, see diagnostics
  int line = 0;
  Diagnostics diagnostics; // duplicate keys and the like; the tree is still whole
};

// Documents without content are left out. What is no YAML is a broken document; those before and
// behind it are unharmed.
[[nodiscard]] std::vector<YamlDocument> read_yaml(std::string_view file, std::string_view text);

} // namespace weir::policy
