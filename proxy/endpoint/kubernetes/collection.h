// What a reflector has said, by key: a list is gathered beside what is known and takes its place at
// its end, so that nobody ever sees half a list. One change costs one look-up, whatever the size,
// and what says nothing new (a pod's probe, a node's heartbeat) is no change.
#pragma once

#include "proxy/endpoint/kubernetes/objects.h"
#include "proxy/endpoint/kubernetes/reflector.h"

#include <functional>
#include <map>
#include <string>
#include <utility>

namespace weir::endpoint::kubernetes {

template <typename T>
class Collection final : public Sink {
public:
  using Read = std::function<T(const boost::json::object&)>;
  using Write = std::function<boost::json::object(const std::string& key, const T&)>;
  // `changed`: items() says something new, or for the first time that there is nothing.
  Collection(Read read, Write write, std::function<void()> changed)
      : x_read(std::move(read)), x_write(std::move(write)), x_changed(std::move(changed)) {}

  void begin_list() override {
    x_next.clear();
    x_listing = true;
  }
  void put(const boost::json::object& object) override {
    std::string key = key_of(object);
    if (key.empty()) {
      return;
    }
    T item = x_read(object);
    if (x_listing) {
      x_next.insert_or_assign(std::move(key), std::move(item));
      return;
    }
    const auto known = x_items.find(key);
    if (known == x_items.end() || !(known->second == item)) {
      x_items.insert_or_assign(std::move(key), std::move(item));
      x_news = true;
    }
  }
  void remove(const boost::json::object& object) override {
    x_news = x_items.erase(key_of(object)) > 0 || x_news;
  }
  void end_list() override {
    if (std::exchange(x_listing, false)) {
      x_news = x_news || !x_known || x_items != x_next;
      x_items = std::exchange(x_next, {});
      x_known = true;
    }
    if (std::exchange(x_news, false)) {
      x_changed();
    }
  }
  void absent() override {
    x_listing = false;
    x_next.clear();
    if (!std::exchange(x_known, true) || !x_items.empty()) {
      x_items.clear();
      x_changed();
    }
  }
  [[nodiscard]] bool empty() const override { return x_items.empty(); }

  [[nodiscard]] const std::map<std::string, T>& items() const { return x_items; }
  // Listed once, or restored, or known not to be there.
  [[nodiscard]] bool known() const { return x_known; }

  [[nodiscard]] boost::json::array serialize() const {
    boost::json::array array;
    array.reserve(x_items.size());
    for (const auto& [key, item] : x_items) {
      array.push_back(x_write(key, item));
    }
    return array;
  }
  // Before the reflector runs: what an earlier process knew, until a list replaces it.
  void restore(const boost::json::array& objects) {
    for (const auto& value : objects) {
      if (const auto* object = value.if_object()) {
        put(*object);
      }
    }
    x_known = true;
    x_news = false;
  }

private:
  Read x_read;
  Write x_write;
  std::function<void()> x_changed;
  std::map<std::string, T> x_items, x_next;
  bool x_listing = false, x_news = false, x_known = false;
};

} // namespace weir::endpoint::kubernetes
