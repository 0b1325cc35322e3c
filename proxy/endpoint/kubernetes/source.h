// The cluster as the Kubernetes API has it: pods, namespaces, services, nodes and policies,
// followed as they change. While the server is away everything stays as it was last known, also
// over a restart: serialize() and restore().
//
// Control thread. stop() before destruction.
#pragma once

#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/kubernetes/client.h"
#include "proxy/endpoint/kubernetes/collection.h"
#include "proxy/endpoint/kubernetes/pod_specs.h"
#include "proxy/endpoint/kubernetes/reflector.h"
#include "proxy/endpoint/kubernetes/service_specs.h"
#include "proxy/runtime/gate.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weir::endpoint::kubernetes {

class Source {
public:
  struct Options {
    std::string kubeconfig;                   // empty: the pod's service account
    std::string node;                         // this node's name
    bool mark_local = true;                   // this node's pods are to be enforced here
    std::vector<std::string> ignore_labels{}; // of pods: make no identity
    std::chrono::seconds absent_for_good = Reflector::kAbsentForGood;
  };
  // Changes that come together are told once.
  static constexpr std::chrono::milliseconds kGather{10};

  // `changed`: cluster() or policies() says something new. Not called before known().
  Source(boost::asio::io_context& context, Options options, std::function<void()> changed);

  void start();
  // Runs the context until nothing of the source is left on it; the context may be stopped.
  void stop();

  // Every kind has been listed once, or is not there, or is known from an earlier process.
  [[nodiscard]] bool known() const;
  // Why news may be missing; empty when all is well.
  [[nodiscard]] std::string trouble() const;
  // Since when the server, for any kind, was last known to be there; 0 while it is.
  [[nodiscard]] std::chrono::seconds staleness() const;

  // Pods without their interfaces. What did not change is the same object as in the last one.
  [[nodiscard]] ClusterSpec cluster();
  // Text by "kind/namespace/name", for the policy reader.
  [[nodiscard]] std::map<std::string, std::string> policies() const;

  // How often something has changed; so that what is saved already is not saved again.
  [[nodiscard]] std::uint64_t changes() const { return x_changes; }
  // The same of policies alone.
  [[nodiscard]] std::uint64_t policy_changes() const { return x_policy_changes; }
  // Makes versioned JSON under a checksum of what is known now; may be called on any thread.
  [[nodiscard]] std::function<std::string()> serializer() const;
  // Before start(). All of it or an error: half a cluster is not believed.
  Result<void> restore(const std::string& text);

private:
  // One kind: where it is listed, and what stands in the state file.
  struct Kind {
    std::string path;
    std::function<bool()> known;
    std::function<std::function<boost::json::array()>()> serializer;
    std::function<void(const boost::json::array&)> restore;
  };
  struct PolicyKind {
    std::string kind;
    std::unique_ptr<Collection<std::string>> texts;
  };

  template <typename T>
  void follow(std::string path, Collection<T>& collection);
  void follow_policies();
  void note_change();

  boost::asio::io_context& x_context;
  Options x_options;
  std::function<void()> x_changed;
  Client x_client;
  Collection<PodObject> x_pods;
  Collection<PlainLabels> x_namespaces;
  Collection<ServiceObject> x_services;
  Collection<SliceObject> x_old_slices, x_slices; // v1beta1 and v1
  Collection<NodeSpec> x_nodes;
  std::vector<PolicyKind> x_policy_kinds;
  PodSpecs x_pod_specs;
  ServiceSpecs x_service_specs;
  std::vector<Kind> x_kinds;
  std::vector<std::unique_ptr<Reflector>> x_reflectors;
  std::chrono::steady_clock::time_point x_started = std::chrono::steady_clock::now();
  std::uint64_t x_changes = 0, x_policy_changes = 0;
  boost::asio::steady_timer x_gather;
  bool x_pending = false;
  runtime::Gate x_gate;
};

} // namespace weir::endpoint::kubernetes
