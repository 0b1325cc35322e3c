// What a reflector has said, by key: a list is gathered beside what is known and takes its place at
// its end, so that nobody ever sees half a list. One change costs one look-up, whatever the size.
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
  Collection(Read read, std::function<void()> changed)
      : x_read(std::move(read)), x_changed(std::move(changed)) {}

  void begin_list() override {
    x_next.clear();
    x_listing = true;
  }
  void put(const boost::json::object& object) override {
    std::string key = key_of(object);
    if (!key.empty()) {
      (x_listing ? x_next : x_items).insert_or_assign(std::move(key), x_read(object));
    }
  }
  void remove(const boost::json::object& object) override { x_items.erase(key_of(object)); }
  void end_list() override {
    if (std::exchange(x_listing, false)) {
      x_items = std::exchange(x_next, {});
    }
    x_changed();
  }
  void absent() override {
    x_listing = false;
    x_next.clear();
    x_items.clear();
    x_changed();
  }

  [[nodiscard]] const std::map<std::string, T>& items() const { return x_items; }

private:
  Read x_read;
  std::function<void()> x_changed;
  std::map<std::string, T> x_items, x_next;
  bool x_listing = false;
};

} // namespace weir::endpoint::kubernetes
