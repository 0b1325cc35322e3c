// The cluster of which this node is one: what the Kubernetes API says, with the interfaces of this
// node's pods, kept over a restart in the state folder. Tells the controller when to look again,
// and the redirector which interfaces are no new pods'.
//
// Control thread, except health(). stop() before destruction.
#pragma once

#include "proxy/admin/model.h"
#include "proxy/config/config.h"
#include "proxy/control/pod_interfaces.h"
#include "proxy/control/state_writer.h"
#include "proxy/endpoint/kubernetes/source.h"
#include "redirect-bpf/user/redirector.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace weir::control {

class KubernetesCluster {
public:
  // What changed is on disk after this long, or later where the cluster is big (state_writer.h).
  static constexpr std::chrono::seconds kSaveEvery{5};

  // The references outlive it. `changed`: cluster() or policies() may say something new.
  KubernetesCluster(boost::asio::io_context& context, const config::Config& config,
                    redirect::Redirector& redirector, std::function<void()> changed);

  // What an earlier process knew. What cannot be read is set aside and said.
  void restore();
  void start();
  void stop();

  // Before this nothing may be concluded from what is not there.
  [[nodiscard]] bool known() const { return x_source.known(); }
  [[nodiscard]] std::string trouble() const;
  [[nodiscard]] endpoint::ClusterSpec cluster();
  [[nodiscard]] std::map<std::string, std::string> policies() const { return x_source.policies(); }
  // Rises when policies() says something new.
  [[nodiscard]] std::uint64_t policy_changes() const { return x_source.policy_changes(); }

  [[nodiscard]] admin::ClusterHealth health() const; // any thread

private:
  void tell();
  void look_at_health();
  void hold_new_pods();
  void end_holds();
  void keep_time();
  void save();

  const config::Config& x_config;
  redirect::Redirector& x_redirector;
  std::function<void()> x_changed;
  endpoint::kubernetes::Source x_source;
  std::unique_ptr<PodInterfaces> x_interfaces; // null where no packets are seen
  std::optional<std::set<std::string>> x_uplinks;
  std::optional<std::chrono::steady_clock::time_point> x_heard_since; // the API, without a gap
  boost::asio::steady_timer x_clock;
  std::uint64_t x_saved_changes = 0;
  StateWriter x_writer;

  mutable std::mutex x_health_mutex;
  admin::ClusterHealth x_health;
};

} // namespace weir::control
