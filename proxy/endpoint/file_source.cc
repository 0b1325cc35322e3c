#include "proxy/endpoint/file_source.h"

#include <netinet/in.h>

#include <array>
#include <charconv>
#include <set>
#include <utility>

namespace weir::endpoint {
namespace {

using config::YamlDocument;
using config::YamlFields;

constexpr std::array<std::pair<std::string_view, std::uint8_t>, 3> kProtocols = {
    {{"TCP", IPPROTO_TCP}, {"UDP", IPPROTO_UDP}, {"SCTP", IPPROTO_SCTP}}};

std::uint8_t read_protocol(YamlFields& fields) {
  return fields.choice<std::uint8_t>("protocol", std::span(kProtocols)).value_or(IPPROTO_TCP);
}

policy::NamedPort read_named_port(YamlFields& fields) {
  policy::NamedPort port;
  port.name = fields.required<std::string>("name").value_or("");
  port.port = fields.required<std::uint16_t>("port").value_or(0);
  port.protocol = read_protocol(fields);
  fields.finish();
  return port;
}

ServicePort read_service_port(YamlFields& fields) {
  ServicePort port;
  port.name = fields.optional<std::string>("name", "");
  port.port = fields.required<std::uint16_t>("port").value_or(0);
  port.protocol = read_protocol(fields);
  const auto target = fields.find<std::string>("targetPort");
  port.target = port.port;
  if (target) {
    std::uint16_t number = 0;
    const char* end = target->data() + target->size();
    const auto [stop, failed] = std::from_chars(target->data(), end, number);
    if (failed == std::errc{} && stop == end && number != 0) {
      port.target = number;
    } else {
      port.target = *target;
    }
  }
  fields.finish();
  return port;
}

template <typename Spec, typename Read>
std::vector<Spec> read_all(YamlFields& parent, std::string_view key, Read read) {
  std::vector<Spec> specs;
  for (YamlFields& fields : parent.mappings(key)) {
    specs.push_back(read(fields));
  }
  return specs;
}

PodSpec read_pod(YamlFields& fields) {
  PodSpec pod;
  pod.name = fields.required<std::string>("name").value_or("");
  pod.pod_namespace = fields.required<std::string>("namespace").value_or("");
  pod.labels = fields.texts("labels");
  pod.service_account = fields.optional<std::string>("serviceAccount", "default");
  pod.addresses = fields.list<IpAddress>("ips");
  pod.interface = fields.optional<std::string>("interface", "");
  pod.named_ports = read_all<policy::NamedPort>(fields, "namedPorts", read_named_port);
  if (fields.has("netns")) {
    fields.error("netns", "`netns` is not supported yet",
                 "name the host side of the pod's veth with `interface`");
  }
  if (!pod.interface.empty() && pod.addresses.empty()) {
    fields.error("interface", "a pod with an interface needs its addresses", "add `ips: […]`");
  }
  fields.finish();
  return pod;
}

// As Kubernetes spells it, with its default.
std::chrono::seconds read_affinity(YamlFields& fields) {
  constexpr std::uint32_t kDefaultSeconds = 10800;
  static constexpr std::pair<std::string_view, bool> kKinds[] = {{"None", false},
                                                                 {"ClientIP", true}};
  const bool by_client = fields.choice<bool>("sessionAffinity", std::span(kKinds)).value_or(false);
  std::uint32_t seconds = kDefaultSeconds;
  if (fields.has("sessionAffinityConfig")) {
    YamlFields configuration = fields.mapping("sessionAffinityConfig");
    YamlFields client = configuration.mapping("clientIP");
    seconds = client.optional<std::uint32_t>("timeoutSeconds", kDefaultSeconds);
    client.finish();
    configuration.finish();
  }
  return std::chrono::seconds(by_client ? seconds : 0);
}

ServiceSpec read_service(YamlFields& fields) {
  ServiceSpec service;
  service.name = fields.required<std::string>("name").value_or("");
  service.service_namespace = fields.required<std::string>("namespace").value_or("");
  service.labels = fields.texts("labels");
  service.cluster_addresses = fields.list<IpAddress>("clusterIPs");
  service.ports = read_all<ServicePort>(fields, "ports", read_service_port);
  service.selector = fields.texts("selector");
  service.endpoints = fields.list<IpAddress>("endpoints");
  service.affinity = read_affinity(fields);
  fields.finish();
  return service;
}

NodeSpec read_node(YamlFields& fields) {
  NodeSpec node;
  node.name = fields.required<std::string>("name").value_or("");
  node.addresses = fields.list<IpAddress>("ips");
  fields.finish();
  return node;
}

// One address or name that stands for two pods would let one pass for the other.
void refuse_doubles(YamlDocument& document, const std::vector<PodSpec>& pods) {
  std::set<std::string> names;
  std::map<IpAddress, std::string> owners;
  for (const auto& pod : pods) {
    const std::string name = pod.pod_namespace + "/" + pod.name;
    if (!names.insert(name).second) {
      document.add_error(0, 0, "endpoint " + name + " is listed twice");
    }
    for (const auto& address : pod.addresses) {
      const auto [owner, added] = owners.emplace(address, name);
      if (!added) {
        document.add_error(0, 0,
                           "address " + address.to_string() + " belongs to " + owner->second +
                               " and to " + name);
      }
    }
  }
}

} // namespace

LoadedCluster parse_cluster(std::string file, const std::string& text) {
  YamlDocument document(std::move(file), text);
  YamlFields root = document.root();
  ClusterSpec cluster;
  auto pods = read_all<PodSpec>(root, "endpoints", read_pod);
  std::map<std::string, PlainLabels> namespaces;
  for (auto& [name, fields] : root.named("namespaces")) {
    namespaces[name] = fields.texts("labels");
    fields.finish();
  }
  auto services = read_all<ServiceSpec>(root, "services", read_service);
  cluster.nodes = read_all<NodeSpec>(root, "nodes", read_node);
  root.finish();
  refuse_doubles(document, pods);
  auto errors = document.errors();
  if (!errors.empty()) {
    return {std::nullopt, std::move(errors)};
  }
  cluster.pods = pod_map(std::move(pods));
  cluster.namespaces = namespace_map(namespaces);
  cluster.services = service_map(std::move(services));
  return {std::move(cluster), {}};
}

} // namespace weir::endpoint
