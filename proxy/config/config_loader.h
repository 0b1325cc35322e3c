// weir.yaml → ValidatedConfig: the only place where the configuration is read, and the only one
// that can make a ValidatedConfig. Every key has a default; an unknown or duplicate key and a value
// that cannot work are errors with their place, all of them at once. Start-up thread.
#pragma once

#include "proxy/config/config.h"
#include "proxy/config/yaml_fields.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir::config {

class ValidatedConfig {
public:
  [[nodiscard]] const Config& operator*() const { return x_config; }
  [[nodiscard]] const Config* operator->() const { return &x_config; }

private:
  friend struct LoadedConfig parse_config(std::string file, const std::string& text);
  explicit ValidatedConfig(Config config) : x_config(std::move(config)) {}

  Config x_config;
};

// Exactly one of the two is there.
struct LoadedConfig {
  std::optional<ValidatedConfig> config;
  YamlErrors errors;
};

// `file` is only named in errors.
[[nodiscard]] LoadedConfig parse_config(std::string file, const std::string& text);
[[nodiscard]] LoadedConfig load_config(const std::string& path);

// Every key but those of `listeners` ("http.maxHead"), and what the configuration says of it, in a
// form that is only good for comparing. Holds README.md of this folder to the code.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> key_values(Config config);

} // namespace weir::config
