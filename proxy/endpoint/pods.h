// The cluster's pods with their numbers, as the Registry and the compiler want them, kept in step
// with a cluster that changes. A change costs what it touches, however many pods there are.
//
// Control thread; what it hands out is for any.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/identity.h"
#include "proxy/endpoint/registry.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

namespace weir::endpoint {

class Pods {
public:
  using Judged = std::function<bool(const PodSpec&)>;

  // `judged`: policy is computed for such a pod; it gets an id. `numbers` outlives it.
  Pods(IdentityAllocator& numbers, Judged judged)
      : x_numbers(numbers), x_judged(std::move(judged)) {}

  void update(const PodMap& pods, const NamespaceMap& namespaces);

  [[nodiscard]] const EndpointsByName& by_name() const { return x_by_name; }
  [[nodiscard]] const EndpointsByAddress& by_address() const { return x_by_address; }
  // Those that policy is computed for, by name.
  [[nodiscard]] const std::map<std::string, EndpointPtr>& judged() const { return x_own; }

  // Identities and named ports of all, endpoints of those that are judged.
  void add_to(policy::CompileInput& input) const;

private:
  struct Labelled {
    std::shared_ptr<const policy::Labels> labels;
    std::size_t pods = 0;
  };
  using Port = std::tuple<policy::IdentityId, std::string, std::uint16_t, std::uint8_t>;

  [[nodiscard]] EndpointPtr made_of(const PodSpec& pod, const NamespaceMap& namespaces);
  void enter(const Endpoint& pod);
  void leave(const Endpoint& pod);

  IdentityAllocator& x_numbers;
  Judged x_judged;
  PodMap x_pods; // of the last update
  NamespaceMap x_namespaces;
  EndpointsByName x_by_name;
  EndpointsByAddress x_by_address;
  std::map<std::string, EndpointPtr> x_own;
  std::map<policy::IdentityId, Labelled> x_identities;
  std::map<Port, std::size_t> x_ports; // pods that have it
};

} // namespace weir::endpoint
