// Pods by name, in configuration: "shop/web", "shop/*", "*/*".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir::config {

class PodPattern {
public:
  // NAMESPACE/NAME, each of which may be *.
  static std::optional<PodPattern> parse(std::string_view text);

  [[nodiscard]] bool covers(std::string_view pod_namespace, std::string_view name) const;
  [[nodiscard]] std::string to_string() const { return x_namespace + "/" + x_name; }

private:
  std::string x_namespace, x_name;
};

} // namespace weir::config
