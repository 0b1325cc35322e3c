#include "proxy/endpoint/kubernetes/objects.h"

#include <netinet/in.h>

#include <optional>

namespace weir::endpoint::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::int64_t kDefaultAffinity = 10800; // seconds; the API server fills it in as well

const json::value* find(const json::object* owner, std::string_view key) {
  return owner == nullptr ? nullptr : owner->if_contains(json::string_view(key.data(), key.size()));
}
const json::object* object_at(const json::object* owner, std::string_view key) {
  const auto* found = find(owner, key);
  return found == nullptr ? nullptr : found->if_object();
}
const json::array& array_at(const json::object* owner, std::string_view key) {
  static const json::array kNone;
  const auto* found = find(owner, key);
  const auto* array = found == nullptr ? nullptr : found->if_array();
  return array == nullptr ? kNone : *array;
}
std::string text_of(const json::value& value) {
  const auto* text = value.if_string();
  return text == nullptr ? "" : std::string(text->data(), text->size());
}
std::string text_at(const json::object* owner, std::string_view key) {
  const auto* found = find(owner, key);
  return found == nullptr ? "" : text_of(*found);
}
std::int64_t number_at(const json::object* owner, std::string_view key, std::int64_t otherwise) {
  const auto* found = find(owner, key);
  const auto* number = found == nullptr ? nullptr : found->if_int64();
  return number == nullptr || *number < 0 ? otherwise : *number;
}
bool true_at(const json::object* owner, std::string_view key) {
  const auto* found = find(owner, key);
  const auto* flag = found == nullptr ? nullptr : found->if_bool();
  return flag != nullptr && *flag;
}
std::uint16_t port_at(const json::object* owner, std::string_view key) {
  const auto number = number_at(owner, key, 0);
  return number < 65536 ? static_cast<std::uint16_t>(number) : std::uint16_t{0};
}
PlainLabels labels_at(const json::object* owner, std::string_view key) {
  PlainLabels labels;
  if (const auto* object = object_at(owner, key)) {
    for (const auto& [name, value] : *object) {
      if (const auto* text = value.if_string()) {
        labels.emplace(std::string(name), std::string(text->data(), text->size()));
      }
    }
  }
  return labels;
}
std::uint8_t protocol_at(const json::object* owner) {
  const std::string name = text_at(owner, "protocol");
  return name == "UDP" ? IPPROTO_UDP : name == "SCTP" ? IPPROTO_SCTP : IPPROTO_TCP;
}
// Of [{KEY: address}, …]
void add_addresses(std::vector<IpAddress>& out, const json::array& list, std::string_view key) {
  for (const auto& item : list) {
    if (const auto address = IpAddress::parse(text_at(item.if_object(), key))) {
      out.push_back(*address);
    }
  }
}
void add_named_ports(std::vector<policy::NamedPort>& out, const json::array& containers) {
  for (const auto& container : containers) {
    for (const auto& item : array_at(container.if_object(), "ports")) {
      const auto* port = item.if_object();
      std::string name = text_at(port, "name");
      const auto number = port_at(port, "containerPort");
      if (!name.empty() && number != 0) {
        out.push_back({std::move(name), number, protocol_at(port)});
      }
    }
  }
}

} // namespace

std::string key_of(const json::object& object) {
  const auto* metadata = object_at(&object, "metadata");
  const std::string name = text_at(metadata, "name");
  const std::string space = text_at(metadata, "namespace");
  return space.empty() || name.empty() ? name : space + "/" + name;
}

PlainLabels labels_of(const json::object& object) {
  return labels_at(object_at(&object, "metadata"), "labels");
}

PodObject read_pod(const json::object& object) {
  const auto* metadata = object_at(&object, "metadata");
  const auto* spec = object_at(&object, "spec");
  const auto* status = object_at(&object, "status");
  PodObject pod;
  pod.spec.pod_namespace = text_at(metadata, "namespace");
  pod.spec.name = text_at(metadata, "name");
  pod.spec.labels = labels_of(object);
  if (auto account = text_at(spec, "serviceAccountName"); !account.empty()) {
    pod.spec.service_account = std::move(account);
  }
  add_addresses(pod.spec.addresses, array_at(status, "podIPs"), "ip");
  if (pod.spec.addresses.empty()) {
    if (const auto address = IpAddress::parse(text_at(status, "podIP"))) {
      pod.spec.addresses.push_back(*address);
    }
  }
  add_named_ports(pod.spec.named_ports, array_at(spec, "containers"));
  add_named_ports(pod.spec.named_ports, array_at(spec, "initContainers")); // sidecars
  pod.node = text_at(spec, "nodeName");
  pod.created = text_at(metadata, "creationTimestamp");
  pod.host_network = true_at(spec, "hostNetwork");
  const std::string phase = text_at(status, "phase");
  pod.ended = phase == "Succeeded" || phase == "Failed";
  pod.terminating = !text_at(metadata, "deletionTimestamp").empty();
  return pod;
}

ServiceObject read_service(const json::object& object) {
  const auto* metadata = object_at(&object, "metadata");
  const auto* spec = object_at(&object, "spec");
  ServiceObject read;
  read.same_node = text_at(spec, "internalTrafficPolicy") == "Local";
  ServiceSpec& service = read.spec;
  service.service_namespace = text_at(metadata, "namespace");
  service.name = text_at(metadata, "name");
  service.labels = labels_of(object);
  service.selector = labels_at(spec, "selector");
  for (const auto& item : array_at(spec, "clusterIPs")) {
    if (const auto address = IpAddress::parse(text_of(item))) { // "None" for headless ones
      service.cluster_addresses.push_back(*address);
    }
  }
  if (service.cluster_addresses.empty()) {
    if (const auto address = IpAddress::parse(text_at(spec, "clusterIP"))) {
      service.cluster_addresses.push_back(*address);
    }
  }
  for (const auto& item : array_at(spec, "ports")) {
    const auto* port = item.if_object();
    ServicePort made;
    made.name = text_at(port, "name");
    made.port = port_at(port, "port");
    made.protocol = protocol_at(port);
    const auto number = port_at(port, "targetPort");
    const auto name = text_at(port, "targetPort");
    if (!name.empty()) {
      made.target = name;
    } else {
      made.target = number != 0 ? number : made.port;
    }
    service.ports.push_back(std::move(made));
  }
  if (text_at(spec, "sessionAffinity") == "ClientIP") {
    const auto* client = object_at(object_at(spec, "sessionAffinityConfig"), "clientIP");
    service.affinity = std::chrono::seconds(number_at(client, "timeoutSeconds", kDefaultAffinity));
  }
  return read;
}

SliceObject read_slice(const json::object& object) {
  SliceObject slice;
  const auto* metadata = object_at(&object, "metadata");
  const std::string service = text_at(object_at(metadata, "labels"), "kubernetes.io/service-name");
  if (!service.empty()) {
    slice.service = text_at(metadata, "namespace") + "/" + service;
  }
  for (const auto& item : array_at(&object, "endpoints")) {
    const auto* endpoint = item.if_object();
    const auto* conditions = object_at(endpoint, "conditions");
    SliceObject::Backend backend;
    for (const auto& text : array_at(endpoint, "addresses")) {
      if (const auto address = IpAddress::parse(text_of(text))) { // not those of type FQDN
        backend.addresses.push_back(*address);
      }
    }
    backend.node = text_at(endpoint, "nodeName");
    if (backend.node.empty()) { // v1beta1
      backend.node = text_at(object_at(endpoint, "topology"), "kubernetes.io/hostname");
    }
    // Not said means ready.
    backend.ready = find(conditions, "ready") == nullptr || true_at(conditions, "ready");
    backend.serving = true_at(conditions, "serving");
    slice.backends.push_back(std::move(backend));
  }
  for (const auto& item : array_at(&object, "ports")) {
    const auto* port = item.if_object();
    slice.ports.push_back({text_at(port, "name"), port_at(port, "port"), protocol_at(port)});
  }
  return slice;
}

NodeSpec read_node(const json::object& object) {
  NodeSpec node;
  node.name = text_at(object_at(&object, "metadata"), "name");
  // Host names among them are no addresses and drop out.
  add_addresses(node.addresses, array_at(object_at(&object, "status"), "addresses"), "address");
  return node;
}

std::string policy_text(const json::object& object, std::string_view api_version,
                        std::string_view kind) {
  json::object metadata;
  for (const std::string_view key : {"name", "namespace", "labels", "annotations"}) {
    if (const auto* value = find(object_at(&object, "metadata"), key)) {
      metadata[json::string_view(key.data(), key.size())] = *value;
    }
  }
  json::object document;
  document["apiVersion"] = json::string_view(api_version.data(), api_version.size());
  document["kind"] = json::string_view(kind.data(), kind.size());
  document["metadata"] = std::move(metadata);
  for (const std::string_view key : {"spec", "specs"}) {
    if (const auto* value = find(&object, key)) {
      document[json::string_view(key.data(), key.size())] = *value;
    }
  }
  return json::serialize(document);
}

} // namespace weir::endpoint::kubernetes
