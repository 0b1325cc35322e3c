// endpoints.yaml → ClusterSpec (the form is in README.md). All errors are collected, each with its
// place and a hint; a file with an error gives no ClusterSpec, so that the last good one stays.
#pragma once

#include "proxy/config/yaml_fields.h"
#include "proxy/endpoint/cluster.h"

#include <optional>
#include <string>

namespace weir::endpoint {

// Exactly one of the two is there.
struct LoadedCluster {
  std::optional<ClusterSpec> cluster;
  config::YamlErrors errors;
};

// `file` is only named in errors.
[[nodiscard]] LoadedCluster parse_cluster(std::string file, const std::string& text);

} // namespace weir::endpoint
