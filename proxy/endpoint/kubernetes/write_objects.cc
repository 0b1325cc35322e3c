#include "proxy/endpoint/kubernetes/objects.h"

#include <netinet/in.h>

#include <utility>

namespace weir::endpoint::kubernetes {
namespace {

namespace json = boost::json;

json::object labels_object(const PlainLabels& labels) {
  json::object object;
  for (const auto& [name, value] : labels) {
    object[name] = value;
  }
  return object;
}

json::object metadata_of(const std::string& key) {
  json::object metadata;
  const auto slash = key.find('/');
  if (slash == std::string::npos) {
    metadata["name"] = key;
  } else {
    metadata["namespace"] = key.substr(0, slash);
    metadata["name"] = key.substr(slash + 1);
  }
  return metadata;
}

json::array addresses_of(const std::vector<IpAddress>& addresses) {
  json::array array;
  for (const IpAddress& address : addresses) {
    array.emplace_back(address.to_string());
  }
  return array;
}

// [{KEY: address}, …]
json::array keyed_addresses(const std::vector<IpAddress>& addresses, const char* key) {
  json::array array;
  for (const IpAddress& address : addresses) {
    array.push_back(json::object{{key, address.to_string()}});
  }
  return array;
}

const char* protocol_name(std::uint8_t protocol) {
  return protocol == IPPROTO_UDP ? "UDP" : protocol == IPPROTO_SCTP ? "SCTP" : "TCP";
}

} // namespace

json::object write_labels(const std::string& key, const PlainLabels& labels) {
  json::object metadata = metadata_of(key);
  metadata["labels"] = labels_object(labels);
  return {{"metadata", std::move(metadata)}};
}

json::object write_pod(const std::string& key, const PodObject& pod) {
  json::object metadata = metadata_of(key);
  metadata["labels"] = labels_object(pod.spec.labels);
  metadata["creationTimestamp"] = pod.created;
  if (pod.terminating) {
    metadata["deletionTimestamp"] = pod.created; // which time does not matter
  }
  json::array ports;
  for (const auto& port : pod.spec.named_ports) {
    ports.push_back(json::object{{"name", port.name},
                                 {"containerPort", port.port},
                                 {"protocol", protocol_name(port.protocol)}});
  }
  json::object spec{{"nodeName", pod.node},
                    {"serviceAccountName", pod.spec.service_account},
                    {"containers", json::array{json::object{{"ports", std::move(ports)}}}}};
  if (pod.host_network) {
    spec["hostNetwork"] = true;
  }
  json::object status{{"podIPs", keyed_addresses(pod.spec.addresses, "ip")}};
  if (pod.ended) {
    status["phase"] = "Succeeded";
  }
  return {
      {"metadata", std::move(metadata)}, {"spec", std::move(spec)}, {"status", std::move(status)}};
}

json::object write_service(const std::string& key, const ServiceObject& service) {
  json::object metadata = metadata_of(key);
  metadata["labels"] = labels_object(service.spec.labels);
  json::array ports;
  for (const auto& port : service.spec.ports) {
    json::object made{
        {"name", port.name}, {"port", port.port}, {"protocol", protocol_name(port.protocol)}};
    if (const auto* number = std::get_if<std::uint16_t>(&port.target)) {
      made["targetPort"] = *number;
    } else {
      made["targetPort"] = std::get<std::string>(port.target);
    }
    ports.push_back(std::move(made));
  }
  json::object spec{{"selector", labels_object(service.spec.selector)},
                    {"clusterIPs", addresses_of(service.spec.cluster_addresses)},
                    {"ports", std::move(ports)}};
  if (service.same_node) {
    spec["internalTrafficPolicy"] = "Local";
  }
  if (service.spec.affinity.count() > 0) {
    spec["sessionAffinity"] = "ClientIP";
    spec["sessionAffinityConfig"] =
        json::object{{"clientIP", json::object{{"timeoutSeconds", service.spec.affinity.count()}}}};
  }
  return {{"metadata", std::move(metadata)}, {"spec", std::move(spec)}};
}

json::object write_slice(const std::string& key, const SliceObject& slice) {
  json::object metadata = metadata_of(key);
  if (const auto slash = slice.service.find('/'); slash != std::string::npos) {
    metadata["labels"] =
        json::object{{"kubernetes.io/service-name", slice.service.substr(slash + 1)}};
  }
  json::array endpoints;
  for (const auto& backend : slice.backends) {
    endpoints.push_back(json::object{
        {"addresses", addresses_of(backend.addresses)},
        {"nodeName", backend.node},
        {"conditions", json::object{{"ready", backend.ready}, {"serving", backend.serving}}}});
  }
  json::array ports;
  for (const auto& port : slice.ports) {
    ports.push_back(json::object{
        {"name", port.name}, {"port", port.number}, {"protocol", protocol_name(port.protocol)}});
  }
  return {{"metadata", std::move(metadata)},
          {"endpoints", std::move(endpoints)},
          {"ports", std::move(ports)}};
}

json::object write_node(const std::string& key, const NodeSpec& node) {
  return {{"metadata", metadata_of(key)},
          {"status", json::object{{"addresses", keyed_addresses(node.addresses, "address")}}}};
}

} // namespace weir::endpoint::kubernetes
