// Where services lead, out of the slices that say it. Pure; for one pass over a cluster.
#pragma once

#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/kubernetes/objects.h"

#include <map>
#include <string>
#include <vector>

namespace weir::endpoint::kubernetes {

class ServiceBackendsBuilder {
public:
  // `node`: whose clients ask.
  explicit ServiceBackendsBuilder(std::string node) : x_node(std::move(node)) {}

  // The slice outlives the builder.
  void add(const SliceObject& slice) { x_slices[slice.service].push_back(&slice); }

  // By port: those that are ready; where none is, those that still answer while they end, as
  // kube-proxy does it.
  [[nodiscard]] std::vector<ServiceBackends> backends_of(const std::string& service,
                                                         bool same_node) const;
  // All of them, each once, whatever their state: what policy calls the service.
  [[nodiscard]] std::vector<IpAddress> addresses_of(const std::string& service) const;

private:
  std::string x_node;
  std::map<std::string, std::vector<const SliceObject*>> x_slices; // by service
};

} // namespace weir::endpoint::kubernetes
