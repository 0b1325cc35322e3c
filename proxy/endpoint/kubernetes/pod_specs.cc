#include "proxy/endpoint/kubernetes/pod_specs.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace weir::endpoint::kubernetes {
namespace {

// A pod in the host's network has the node's address, and is the node to policy.
bool counts(const PodObject& pod) { return !pod.host_network && !pod.ended; }

// Two pods with one address: the one on its way out has given it up, else the later one has it.
bool has_better_claim(const PodObject& a, const PodObject& b) {
  return std::pair(!a.terminating, std::string_view(a.created)) >
         std::pair(!b.terminating, std::string_view(b.created));
}

} // namespace

const std::string& PodSpecs::owner_of(const IpAddress& address) const {
  const auto& claims = x_claims.at(address);
  return *std::max_element(claims.begin(), claims.end(), [&](const auto& a, const auto& b) {
    return has_better_claim(**x_objects.find(b), **x_objects.find(a));
  });
}

std::shared_ptr<const PodSpec> PodSpecs::spec_of(const std::string& key) const {
  const auto* object = x_objects.find(key);
  if (object == nullptr || !counts(**object)) {
    return nullptr;
  }
  auto spec = std::make_shared<PodSpec>((*object)->spec);
  std::erase_if(spec->addresses, [&](const auto& address) { return owner_of(address) != key; });
  for (const auto& label : x_options.ignore_labels) {
    spec->labels.erase(label);
  }
  spec->local = x_options.mark_local && (*object)->node == x_options.node;
  return spec;
}

PodMap PodSpecs::update(const Objects& objects) {
  std::set<std::string> touched; // also those whose address another one claims or gives up
  const auto claimed = [&](const IpAddress& address) {
    const auto& claims = x_claims[address];
    touched.insert(claims.begin(), claims.end());
  };
  Objects::for_each_difference(
      x_objects, objects, [&](const std::string& key, const auto* before, const auto* after) {
        touched.insert(key);
        if (before != nullptr && counts(**before)) {
          for (const auto& address : (*before)->spec.addresses) {
            std::erase(x_claims[address], key);
            claimed(address);
          }
        }
        if (after != nullptr && counts(**after)) {
          for (const auto& address : (*after)->spec.addresses) {
            claimed(address);
            auto& claims = x_claims[address];
            claims.insert(std::lower_bound(claims.begin(), claims.end(), key), key);
          }
        }
        if (before != nullptr) {
          for (const auto& address : (*before)->spec.addresses) {
            if (const auto at = x_claims.find(address);
                at != x_claims.end() && at->second.empty()) {
              x_claims.erase(at);
            }
          }
        }
      });
  x_objects = objects;
  for (const std::string& key : touched) {
    auto spec = spec_of(key);
    if (spec == nullptr) {
      x_specs.erase(key);
    } else if (const auto* known = x_specs.find(key); known == nullptr || !(**known == *spec)) {
      x_specs.set(key, std::move(spec));
    }
  }
  return x_specs.take();
}

} // namespace weir::endpoint::kubernetes
