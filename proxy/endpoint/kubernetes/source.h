// The cluster as the Kubernetes API has it: pods, namespaces, services, nodes and policies,
// followed as they change. While the server is away everything stays as it was last known.
//
// Control thread. stop() before destruction.
#pragma once

#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/kubernetes/client.h"
#include "proxy/endpoint/kubernetes/collection.h"
#include "proxy/endpoint/kubernetes/reflector.h"
#include "proxy/runtime/gate.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weir::endpoint::kubernetes {

class Source {
public:
  struct Options {
    std::string kubeconfig; // empty: the pod's service account
    std::string node;       // this node's name
    // Where packets of this node's pods are to be enforced; else no interface is looked for.
    bool find_interfaces = true;
  };
  // Changes that come together are told once.
  static constexpr std::chrono::milliseconds kGather{10};
  // How often interfaces that could not be found are looked for again.
  static constexpr std::chrono::milliseconds kLookAgain{500};

  // `changed`: cluster() or policies() may say something new, or status() does.
  Source(boost::asio::io_context& context, Options options, std::function<void()> changed);

  void start();
  // Runs the context until nothing of the source is left on it; the context may be stopped.
  void stop();

  // Every kind has been listed once, or is known not to be there.
  [[nodiscard]] bool synced() const;
  // Why news may be missing or a pod is not enforced; empty when all is well.
  [[nodiscard]] std::string trouble() const;
  // Since when the server, for any kind, was last known to be there; 0 while it is.
  [[nodiscard]] std::chrono::seconds staleness() const;

  [[nodiscard]] ClusterSpec cluster();
  // Text by "kind/namespace/name", for the policy reader.
  [[nodiscard]] std::map<std::string, std::string> policies() const;

private:
  struct PolicyKind {
    std::string api_version, kind, path;
    std::unique_ptr<Collection<std::string>> texts;
  };
  struct Place {
    IpAddress address;
    std::string interface;
  };

  void follow(std::string path, Sink& sink);
  void note_change();
  void add_pods(ClusterSpec& cluster);
  [[nodiscard]] std::string place(const std::string& key, const PodSpec& pod);
  void keep_time();

  boost::asio::io_context& x_context;
  Options x_options;
  std::function<void()> x_changed;
  Client x_client;
  Collection<PodObject> x_pods;
  Collection<PlainLabels> x_namespaces;
  Collection<ServiceSpec> x_services;
  Collection<NodeSpec> x_nodes;
  std::vector<PolicyKind> x_policy_kinds;
  std::vector<std::unique_ptr<Reflector>> x_reflectors;
  std::map<std::string, Place> x_places; // of this node's pods, by key
  std::vector<std::string> x_unplaced;
  std::chrono::steady_clock::time_point x_started = std::chrono::steady_clock::now();
  std::string x_told; // trouble() when `changed` was called last
  boost::asio::steady_timer x_gather, x_clock;
  bool x_pending = false;
  runtime::Gate x_gate;
};

} // namespace weir::endpoint::kubernetes
