// The few fields of Kubernetes' objects that weir needs, out of their JSON. Nothing throws; what is
// absent or of another kind than the API says reads as absent.
#pragma once

#include "proxy/endpoint/cluster.h"

#include <boost/json.hpp>

#include <string>
#include <string_view>

namespace weir::endpoint::kubernetes {

struct PodObject {
  PodSpec spec; // without interface
  std::string node;
  std::string created; // RFC 3339, so that texts compare as times do
  bool host_network = false;
  bool ended = false;       // Succeeded or Failed: its address may be another pod's already
  bool terminating = false; // deletionTimestamp is set
};

// "namespace/name", or "name" for kinds of the whole cluster; empty when there is no name.
[[nodiscard]] std::string key_of(const boost::json::object& object);
[[nodiscard]] PlainLabels labels_of(const boost::json::object& object);
[[nodiscard]] PodObject read_pod(const boost::json::object& object);
[[nodiscard]] ServiceSpec read_service(const boost::json::object& object);
[[nodiscard]] NodeSpec read_node(const boost::json::object& object);
// The object as a document for the policy reader: what a person would have written in a file.
// Lists leave kind and apiVersion out of their items.
[[nodiscard]] std::string policy_text(const boost::json::object& object,
                                      std::string_view api_version, std::string_view kind);

} // namespace weir::endpoint::kubernetes
