#include "proxy/endpoint/pods.h"

#include <set>
#include <utility>

namespace weir::endpoint {

void Pods::enter(const Endpoint& pod) {
  Labelled& labelled = x_identities[pod.identity];
  if (labelled.pods++ == 0) {
    labelled.labels = pod.labels;
  }
  for (const auto& port : pod.named_ports) {
    ++x_ports[{pod.identity, port.name, port.port, port.protocol}];
  }
}

void Pods::leave(const Endpoint& pod) {
  const auto labelled = x_identities.find(pod.identity);
  if (--labelled->second.pods == 0) {
    x_identities.erase(labelled);
  }
  for (const auto& port : pod.named_ports) {
    const auto at = x_ports.find({pod.identity, port.name, port.port, port.protocol});
    if (--at->second == 0) {
      x_ports.erase(at);
    }
  }
}

EndpointPtr Pods::made_of(const PodSpec& pod, const NamespaceMap& namespaces) {
  auto made = std::make_shared<Endpoint>();
  made->endpoint_namespace = pod.pod_namespace;
  made->name = pod.name;
  policy::Labels labels = identity_labels(pod, namespaces);
  made->identity = x_numbers.identity_of(labels);
  // One object for all that have the identity: it is compared by its place.
  const auto known = x_identities.find(made->identity);
  made->labels = known != x_identities.end()
                     ? known->second.labels
                     : std::make_shared<const policy::Labels>(std::move(labels));
  made->addresses = pod.addresses;
  made->interface = pod.interface;
  made->local = pod.local;
  made->named_ports = pod.named_ports;
  if (x_judged(pod)) {
    made->id = x_numbers.endpoint_id(made->full_name());
  }
  return made;
}

void Pods::update(const PodMap& pods, const NamespaceMap& namespaces) {
  std::set<std::string> touched;
  PodMap::for_each_difference(x_pods, pods,
                              [&](const std::string& name, const auto* /*before*/,
                                  const auto* /*after*/) { touched.insert(name); });
  std::set<std::string> relabelled;
  NamespaceMap::for_each_difference(
      x_namespaces, namespaces,
      [&](const std::string& name, const auto* before, const auto* after) {
        if (before == nullptr || after == nullptr || **before != **after) {
          relabelled.insert(name);
        }
      });
  if (!relabelled.empty()) {
    pods.for_each([&](const std::string& name, const auto& pod) {
      if (relabelled.contains(pod->pod_namespace)) {
        touched.insert(name);
      }
    });
  }
  x_pods = pods;
  x_namespaces = namespaces;
  EndpointsByName::Editor by_name(std::move(x_by_name));
  EndpointsByAddress::Editor by_address(std::move(x_by_address));
  // All that go before any that come: an address may have moved from one to another.
  for (const std::string& name : touched) {
    if (const auto* known = by_name.find(name)) {
      const EndpointPtr before = *known;
      for (const auto& address : before->addresses) {
        by_address.erase(address);
      }
      by_name.erase(name);
      x_own.erase(name);
      leave(*before);
    }
  }
  for (const std::string& name : touched) {
    const auto* spec = pods.find(name);
    if (spec == nullptr) {
      continue;
    }
    const EndpointPtr made = made_of(**spec, namespaces);
    for (const auto& address : made->addresses) {
      by_address.set(address, made);
    }
    by_name.set(name, made);
    if (made->id != 0) {
      x_own.emplace(name, made);
    }
    enter(*made);
  }
  x_by_name = by_name.take();
  x_by_address = by_address.take();
}

void Pods::add_to(policy::CompileInput& input) const {
  for (const auto& [name, pod] : x_own) {
    input.endpoints.push_back(
        {pod->id, pod->identity, pod->endpoint_namespace, pod->name, pod->named_ports});
  }
  input.identities.reserve(x_identities.size());
  for (const auto& [id, labelled] : x_identities) {
    input.identities.emplace_back(id, labelled.labels);
  }
  for (const auto& [port, count] : x_ports) {
    const auto& [identity, name, number, protocol] = port;
    input.peer_ports.emplace_hint(input.peer_ports.end(), identity,
                                  policy::NamedPort{name, number, protocol});
  }
}

} // namespace weir::endpoint
