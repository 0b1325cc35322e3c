// The few fields of Kubernetes' objects that weir needs, out of their JSON, and back into JSON of
// the same form for the state folder: reading what write_*() made gives the same value. Nothing
// throws; what is absent or of another kind than the API says reads as absent.
#pragma once

#include "proxy/endpoint/cluster.h"

#include <boost/json.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace weir::endpoint::kubernetes {

struct PodObject {
  PodSpec spec; // without interface
  std::string node;
  std::string created; // RFC 3339, so that texts compare as times do
  bool host_network = false;
  bool ended = false;       // Succeeded or Failed: its address may be another pod's already
  bool terminating = false; // deletionTimestamp is set

  bool operator==(const PodObject&) const = default;
};

struct ServiceObject {
  ServiceSpec spec;
  bool same_node = false; // internalTrafficPolicy: only backends of the client's node

  bool operator==(const ServiceObject&) const = default;
};

// One of the slices that together say where a service leads.
struct SliceObject {
  struct Backend {
    std::vector<IpAddress> addresses;
    std::string node; // empty: not known
    bool ready = true;
    bool serving = false; // on its way out, and still answering

    bool operator==(const Backend&) const = default;
  };
  struct Port {
    std::string name;
    std::uint16_t number = 0;
    std::uint8_t protocol = 0;

    bool operator==(const Port&) const = default;
  };
  std::string service; // "namespace/name"
  std::vector<Backend> backends;
  std::vector<Port> ports;

  bool operator==(const SliceObject&) const = default;
};

// "namespace/name", or "name" for kinds of the whole cluster; empty when there is no name.
[[nodiscard]] std::string key_of(const boost::json::object& object);
[[nodiscard]] PlainLabels labels_of(const boost::json::object& object);
[[nodiscard]] PodObject read_pod(const boost::json::object& object);
[[nodiscard]] ServiceObject read_service(const boost::json::object& object);
[[nodiscard]] SliceObject read_slice(const boost::json::object& object); // v1 and v1beta1
[[nodiscard]] NodeSpec read_node(const boost::json::object& object);
// The object as a document for the policy reader: what a person would have written in a file.
// Lists leave kind and apiVersion out of their items.
[[nodiscard]] std::string policy_text(const boost::json::object& object,
                                      std::string_view api_version, std::string_view kind);

// `key` as key_of() gave it: a slice or a namespace does not hold its own name.
[[nodiscard]] boost::json::object write_labels(const std::string& key, const PlainLabels& labels);
[[nodiscard]] boost::json::object write_pod(const std::string& key, const PodObject& pod);
[[nodiscard]] boost::json::object write_service(const std::string& key,
                                                const ServiceObject& service);
[[nodiscard]] boost::json::object write_slice(const std::string& key, const SliceObject& slice);
[[nodiscard]] boost::json::object write_node(const std::string& key, const NodeSpec& node);

} // namespace weir::endpoint::kubernetes
