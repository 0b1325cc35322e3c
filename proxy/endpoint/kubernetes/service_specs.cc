#include "proxy/endpoint/kubernetes/service_specs.h"

#include "proxy/endpoint/kubernetes/service_backends.h"

#include <utility>

namespace weir::endpoint::kubernetes {

namespace {

constexpr const char* kApiServer = "default/kubernetes";

} // namespace

void ServiceSpecs::settle_slice(const std::string& key, Touched& touched) {
  if (const auto known = x_known.find(key); known != x_known.end()) {
    const std::string& service = known->second->service;
    touched.insert(service);
    const auto of_service = x_slices_of.find(service);
    of_service->second.erase(key);
    if (of_service->second.empty()) {
      x_slices_of.erase(of_service);
    }
    x_known.erase(known);
  }
  const auto* now = x_slices.find(key);
  if (now == nullptr) {
    now = x_old_slices.find(key);
  }
  if (now != nullptr) {
    touched.insert((*now)->service);
    x_slices_of[(*now)->service].insert(key);
    x_known.emplace(key, *now);
  }
}

void ServiceSpecs::settle_service(const std::string& name) {
  ServiceBackendsBuilder builder(x_node);
  if (const auto keys = x_slices_of.find(name); keys != x_slices_of.end()) {
    for (const std::string& key : keys->second) {
      builder.add(*x_known.at(key));
    }
  }
  if (name == kApiServer) {
    x_api_servers = builder.addresses_of(name);
  }
  const auto* service = x_services.find(name);
  if (service == nullptr) {
    x_specs.erase(name);
    return;
  }
  auto spec = std::make_shared<ServiceSpec>((*service)->spec);
  spec->backends = builder.backends_of(name, (*service)->same_node);
  if (spec->selector.empty()) {
    spec->endpoints = builder.addresses_of(name);
  }
  if (const auto* known = x_specs.find(name); known == nullptr || !(**known == *spec)) {
    x_specs.set(name, std::move(spec));
  }
}

ServiceMap ServiceSpecs::update(const Services& services, const Slices& old_slices,
                                const Slices& slices) {
  Touched touched;
  Services::for_each_difference(x_services, services,
                                [&](const std::string& name, const auto* /*before*/,
                                    const auto* /*after*/) { touched.insert(name); });
  std::set<std::string> other;
  const auto note = [&](const std::string& key, const auto* /*before*/, const auto* /*after*/) {
    other.insert(key);
  };
  Slices::for_each_difference(x_old_slices, old_slices, note);
  Slices::for_each_difference(x_slices, slices, note);
  x_services = services;
  x_old_slices = old_slices;
  x_slices = slices;
  for (const std::string& key : other) {
    settle_slice(key, touched);
  }
  for (const std::string& name : touched) {
    settle_service(name);
  }
  return x_specs.take();
}

} // namespace weir::endpoint::kubernetes
