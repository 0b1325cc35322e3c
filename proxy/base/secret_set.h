// Secrets as they were read, by "namespace/name". Immutable, shared between threads. A secret that
// did not change between two readings is the same object, so that what was made of it can be kept.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace weir {

struct Secret {
  std::map<std::string, std::string, std::less<>> items; // file name → content

  // Null when there is none.
  [[nodiscard]] const std::string* item(std::string_view name) const {
    const auto found = items.find(name);
    return found == items.end() ? nullptr : &found->second;
  }
};

using SecretSet = std::map<std::string, std::shared_ptr<const Secret>, std::less<>>;

} // namespace weir
