// What a reflector has said, by key: a list is gathered beside what is known and takes its place at
// its end, so that nobody ever sees half a list. One change costs one look-up, whatever the size,
// and what says nothing new (a pod's probe, a node's heartbeat) is no change: also in a list, of
// which everything that was known already stays the same object.
#pragma once

#include "proxy/base/shared_map.h"
#include "proxy/endpoint/kubernetes/objects.h"
#include "proxy/endpoint/kubernetes/reflector.h"

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::endpoint::kubernetes {

template <typename T>
class Collection final : public Sink {
public:
  using Item = std::shared_ptr<const T>;
  using Items = SharedMap<std::string, Item>;
  using Read = std::function<T(const boost::json::object&)>;
  using Write = std::function<boost::json::object(const std::string& key, const T&)>;
  // `changed`: items() says something new, or for the first time that there is nothing.
  Collection(Read read, Write write, std::function<void()> changed)
      : x_read(std::move(read)), x_write(std::move(write)), x_changed(std::move(changed)) {}

  void begin_list() override {
    x_listed.clear();
    x_listing = true;
  }
  void put(const boost::json::object& object) override {
    std::string key = key_of(object);
    if (key.empty()) {
      return;
    }
    auto item = std::make_shared<const T>(x_read(object));
    if (x_listing) {
      x_listed.insert_or_assign(std::move(key), std::move(item));
    } else {
      set(key, std::move(item));
    }
  }
  void remove(const boost::json::object& object) override { erase(key_of(object)); }
  void end_list() override {
    if (std::exchange(x_listing, false)) {
      x_items.for_each([&](const std::string& key, const Item& /*item*/) {
        if (!x_listed.contains(key)) {
          erase(key);
        }
      });
      for (auto& [key, item] : x_listed) {
        set(key, std::move(item));
      }
      x_listed = {};
      x_news = !std::exchange(x_known, true) || x_news;
    }
    if (std::exchange(x_news, false)) {
      x_items = x_next.take();
      x_changed();
    }
  }
  void absent() override {
    x_listing = false;
    x_listed = {};
    if (!std::exchange(x_known, true) || !x_items.empty()) {
      x_items = {};
      x_next = typename Items::Editor({});
      x_changed();
    }
  }
  [[nodiscard]] bool empty() const override { return x_items.empty(); }

  [[nodiscard]] const Items& items() const { return x_items; }
  // Listed once, or restored, or known not to be there.
  [[nodiscard]] bool known() const { return x_known; }

  // What `items` hold, for the state file; any thread.
  [[nodiscard]] static boost::json::array serialize(const Items& items, const Write& write) {
    boost::json::array array;
    array.reserve(items.size());
    items.for_each(
        [&](const std::string& key, const Item& item) { array.push_back(write(key, *item)); });
    return array;
  }
  [[nodiscard]] const Write& write() const { return x_write; }
  // Before the reflector runs: what an earlier process knew, until a list replaces it.
  void restore(const boost::json::array& objects) {
    for (const auto& value : objects) {
      if (const auto* object = value.if_object()) {
        put(*object);
      }
    }
    x_items = x_next.take();
    x_known = true;
    x_news = false;
  }

private:
  void set(const std::string& key, Item item) {
    const Item* known = x_next.find(key);
    if (known == nullptr || !(**known == *item)) {
      x_next.set(key, std::move(item));
      x_news = true;
    }
  }
  void erase(const std::string& key) {
    if (x_next.find(key) != nullptr) {
      x_next.erase(key);
      x_news = true;
    }
  }

  Read x_read;
  Write x_write;
  std::function<void()> x_changed;
  Items x_items;
  typename Items::Editor x_next{{}}; // items() with the changes that are not told yet
  std::unordered_map<std::string, Item> x_listed;
  bool x_listing = false, x_news = false, x_known = false;
};

} // namespace weir::endpoint::kubernetes
