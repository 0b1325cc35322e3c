// A map whose copies share what is the same in both. A copy is a pointer, a change costs what it
// touches, and what differs between two copies is found without a look at the rest. So a stage that
// keeps something made of a map asks what differs from the map that it was made of.
//
//     root ──▶ 64 branches ──▶ 64 leaves each ──▶ the few entries whose hash leads there
//
// A SharedMap never changes: any thread may read it, and copies may go to other threads. An Editor
// makes the next one. Order is by hash: the same for the same content in one process.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace weir {

template <typename Key, typename Value, typename Hash = std::hash<Key>>
class SharedMap {
public:
  class Editor;

  [[nodiscard]] std::size_t size() const { return x_size; }
  [[nodiscard]] bool empty() const { return x_size == 0; }

  // Null when there is none. Lives as long as some map that holds it.
  [[nodiscard]] const Value* find(const Key& key) const {
    const Place at = place_of(key);
    const Branch* branch = x_root == nullptr ? nullptr : x_root->children[at.branch].get();
    const Leaf* leaf = branch == nullptr ? nullptr : branch->children[at.leaf].get();
    if (leaf == nullptr) {
      return nullptr;
    }
    const auto found = entry_of(leaf->entries, key);
    return found == leaf->entries.end() ? nullptr : &found->second;
  }
  [[nodiscard]] bool contains(const Key& key) const { return find(key) != nullptr; }

  template <typename Visit> // (key, value)
  void for_each(Visit&& visit) const {
    for_each_difference(
        {}, *this,
        [&](const Key& key, const Value* /*before*/, const Value* after) { visit(key, *after); });
  }

  // Entries that only one of the two has, or that they have with values that are not equal.
  template <typename Visit> // (key, before, after); null: not there
  static void for_each_difference(const SharedMap& before, const SharedMap& after, Visit&& visit) {
    each_child(before.x_root.get(), after.x_root.get(), [&](const Branch* a, const Branch* b) {
      each_child(a, b, [&](const Leaf* c, const Leaf* d) { compare(c, d, visit); });
    });
  }

private:
  static constexpr unsigned kBits = 6;
  static constexpr std::size_t kFan = std::size_t{1} << kBits;

  using Entry = std::pair<Key, Value>;
  // `editor`: who made it, and may change it until done. 0 is nobody.
  struct Leaf {
    std::uint64_t editor = 0;
    std::vector<Entry> entries;
  };
  template <typename Child>
  struct Node {
    std::uint64_t editor = 0;
    std::array<std::shared_ptr<Child>, kFan> children;
  };
  using Branch = Node<Leaf>;
  using Root = Node<Branch>;
  struct Place {
    std::size_t branch, leaf;
  };

  static Place place_of(const Key& key) {
    // Hashes of numbers are the numbers: the upper bits of the product depend on all of them.
    const std::uint64_t mixed = Hash{}(key)*UINT64_C(0x9e3779b97f4a7c15);
    return {mixed >> (64 - kBits), mixed >> (64 - 2 * kBits) & (kFan - 1)};
  }
  template <typename Entries>
  static auto entry_of(Entries& entries, const Key& key) {
    return std::find_if(entries.begin(), entries.end(),
                        [&](const Entry& entry) { return entry.first == key; });
  }
  template <typename Parent, typename Visit>
  static void each_child(const Parent* a, const Parent* b, Visit&& visit) {
    if (a == b) {
      return;
    }
    for (std::size_t at = 0; at < kFan; ++at) {
      const auto* before = a == nullptr ? nullptr : a->children[at].get();
      const auto* after = b == nullptr ? nullptr : b->children[at].get();
      if (before != after) {
        visit(before, after);
      }
    }
  }
  template <typename Visit>
  static void compare(const Leaf* before, const Leaf* after, Visit& visit) {
    static const std::vector<Entry> kNone;
    const auto& old_entries = before == nullptr ? kNone : before->entries;
    const auto& new_entries = after == nullptr ? kNone : after->entries;
    for (const auto& [key, value] : old_entries) {
      const auto now = entry_of(new_entries, key);
      if (now == new_entries.end()) {
        visit(key, &value, static_cast<const Value*>(nullptr));
      } else if (!(now->second == value)) {
        visit(key, &value, &now->second);
      }
    }
    for (const auto& [key, value] : new_entries) {
      if (entry_of(old_entries, key) == old_entries.end()) {
        visit(key, static_cast<const Value*>(nullptr), &value);
      }
    }
  }

  std::shared_ptr<Root> x_root; // null: empty
  std::size_t x_size = 0;
};

// Changes a copy. What it has copied it changes in place, as nobody else sees it before take().
template <typename Key, typename Value, typename Hash>
class SharedMap<Key, Value, Hash>::Editor {
public:
  explicit Editor(SharedMap from) : x_map(std::move(from)) {}
  Editor(Editor&&) noexcept = default;
  Editor& operator=(Editor&&) noexcept = default;

  [[nodiscard]] const Value* find(const Key& key) const { return x_map.find(key); }

  void set(const Key& key, Value value) {
    const Value* known = x_map.find(key);
    if (known != nullptr && *known == value) {
      return; // stays shared
    }
    auto& entries = own_leaf(key).entries;
    if (const auto found = entry_of(entries, key); found != entries.end()) {
      found->second = std::move(value);
      return;
    }
    entries.emplace_back(key, std::move(value));
    ++x_map.x_size;
  }
  void erase(const Key& key) {
    if (!x_map.contains(key)) {
      return;
    }
    auto& entries = own_leaf(key).entries;
    entries.erase(entry_of(entries, key));
    --x_map.x_size;
  }

  // The changed map; the editor goes on from it with a copy of its own.
  [[nodiscard]] SharedMap take() {
    x_self = next_editor();
    return x_map;
  }

private:
  static std::uint64_t next_editor() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }
  template <typename Part>
  Part& own(std::shared_ptr<Part>& part) {
    if (part == nullptr || part->editor != x_self) {
      part = part == nullptr ? std::make_shared<Part>() : std::make_shared<Part>(*part);
      part->editor = x_self;
    }
    return *part;
  }
  Leaf& own_leaf(const Key& key) {
    const Place at = place_of(key);
    return own(own(own(x_map.x_root).children[at.branch]).children[at.leaf]);
  }

  SharedMap x_map;
  std::uint64_t x_self = next_editor();
};

} // namespace weir
