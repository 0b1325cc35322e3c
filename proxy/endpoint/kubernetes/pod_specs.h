// The API's pods as the cluster's: those that have addresses of their own, and each address for the
// one pod that has the best claim to it. Follows the objects as they change, and costs what
// changed.
//
// Control thread.
#pragma once

#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/kubernetes/objects.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace weir::endpoint::kubernetes {

class PodSpecs {
public:
  struct Options {
    std::string node;                       // this node's name
    bool mark_local = true;                 // its pods are to be enforced here
    std::vector<std::string> ignore_labels; // make no identity
  };
  using Objects = SharedMap<std::string, std::shared_ptr<const PodObject>>;

  explicit PodSpecs(Options options) : x_options(std::move(options)) {}

  PodMap update(const Objects& objects);

private:
  // Null: no pod of this name has an address of its own.
  [[nodiscard]] std::shared_ptr<const PodSpec> spec_of(const std::string& key) const;
  [[nodiscard]] const std::string& owner_of(const IpAddress& address) const;

  Options x_options;
  Objects x_objects; // of the last update
  // Who claims an address: nearly always one. Sorted by name.
  std::unordered_map<IpAddress, std::vector<std::string>> x_claims;
  PodMap::Editor x_specs{{}};
};

} // namespace weir::endpoint::kubernetes
