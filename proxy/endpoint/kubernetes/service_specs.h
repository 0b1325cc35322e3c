// The API's services and the slices that say where they lead, as the cluster's services. Follows
// the objects as they change: a slice costs what its service has behind it.
//
// Control thread.
#pragma once

#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/kubernetes/objects.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weir::endpoint::kubernetes {

class ServiceSpecs {
public:
  using Services = SharedMap<std::string, std::shared_ptr<const ServiceObject>>;
  using Slices = SharedMap<std::string, std::shared_ptr<const SliceObject>>;

  // `node`: whose clients ask.
  explicit ServiceSpecs(std::string node) : x_node(std::move(node)) {}

  // `old_slices`: of v1beta1; where a server has a slice in both versions, v1 counts.
  ServiceMap update(const Services& services, const Slices& old_slices, const Slices& slices);
  // Of the last update.
  [[nodiscard]] const std::vector<IpAddress>& api_servers() const { return x_api_servers; }

private:
  using Touched = std::set<std::string>; // services

  void settle_slice(const std::string& key, Touched& touched);
  void settle_service(const std::string& name);

  std::string x_node;
  Services x_services; // of the last update
  Slices x_old_slices, x_slices;
  std::map<std::string, std::shared_ptr<const SliceObject>>
      x_known;                                              // slices by key: those that count
  std::map<std::string, std::set<std::string>> x_slices_of; // keys by service
  ServiceMap::Editor x_specs{{}};
  std::vector<IpAddress> x_api_servers;
};

} // namespace weir::endpoint::kubernetes
