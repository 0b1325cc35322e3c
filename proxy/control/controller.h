// Turns what the files and the Kubernetes API say into what is in force: policies and endpoints →
// Program → workers and kernel. One rebuild at a time, always in this order, so that no moment is
// more permissive than both the old and the new policy:
//
//   1. numbers given out by the compile are saved
//   2. every worker has taken the new snapshot
//   3. learned addresses gain the bits of new FQDN groups (old rows do not look at them)
//   4. the kernel's policies are switched (redirector.h)
//   5. learned addresses lose the bits of removed groups, which may then be given out again; those
//      that only the kernel knows (learned just before a crash) keep what is still wanted
//
// A pod of this node whose interface is not known is held: the kernel drops what comes for it, and
// what says to come from it.
//
// Control thread, except view(), in_force(), not_ready() and cluster_health().
#pragma once

#include "policy-compiler/compiler.h"
#include "proxy/admin/model.h"
#include "proxy/config/config.h"
#include "proxy/control/folder_watch.h"
#include "proxy/control/identity_rows.h"
#include "proxy/control/kubernetes_cluster.h"
#include "proxy/control/policy_store.h"
#include "proxy/control/rule_names.h"
#include "proxy/control/secret_store.h"
#include "proxy/dns/fqdn_cache.h"
#include "proxy/endpoint/cluster.h"
#include "proxy/endpoint/dns_scope.h"
#include "proxy/endpoint/identity.h"
#include "proxy/endpoint/pods.h"
#include "proxy/runtime/worker.h"
#include "redirect-bpf/user/redirector.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace weir::control {

class Controller {
public:
  // All references outlive the controller; the workers' threads must run before load().
  Controller(boost::asio::io_context& context, const config::Config& config,
             redirect::Redirector& redirector, dns::FqdnCache& fqdn_cache,
             std::vector<runtime::Worker*> workers);

  // Numbers, learned names and the last good policies of an earlier process. What cannot be read
  // is set aside and said; never fatal.
  void restore_state();

  // Reads everything anew and puts it in force.
  void reload();

  // Watches the folders and keeps time (expiry, saving) until stop().
  void start();
  void stop();

  // Why not all of it is in force; empty when it is. Any thread.
  [[nodiscard]] std::string not_ready() const;
  [[nodiscard]] std::shared_ptr<const admin::View> view() const; // any thread; never null
  // What traffic is judged by now, and what it was compiled from; all null before there is any.
  struct InForce {
    std::shared_ptr<const policy::CompileInput> input;
    std::shared_ptr<const policy::Program> program;
    std::shared_ptr<const endpoint::Registry> registry;
  };
  [[nodiscard]] InForce in_force() const;                    // any thread
  [[nodiscard]] admin::ClusterHealth cluster_health() const; // any thread
  void set_listener_rows(std::vector<admin::ListenerRow> rows);

private:
  struct Compiled {
    std::shared_ptr<const policy::CompileInput> input;
    policy::CompileResult result;
    std::shared_ptr<const endpoint::Registry> registry;
    std::shared_ptr<const endpoint::DnsScope> dns;
  };

  Result<void> load_policies();
  void load_cluster();
  void load_cluster_file();
  void load_local_addresses();
  [[nodiscard]] Compiled compile();
  [[nodiscard]] bool judged_here(const endpoint::PodSpec& known) const;
  [[nodiscard]] std::vector<policy::Program::Prefix> node_prefixes() const;
  void publish(const Compiled& compiled);
  Result<void> apply(const Compiled& compiled);
  [[nodiscard]] std::string put_in_force();
  void publish_denial();
  void show(const Compiled& compiled);
  [[nodiscard]] std::vector<admin::PolicyRow> policy_rows() const;
  void save_numbers();
  void save_learned();
  void settle_strays();
  void keep_time();
  [[nodiscard]] std::string state_file(const char* name) const;

  boost::asio::io_context& x_context;
  const config::Config& x_config;
  redirect::Redirector& x_redirector;
  dns::FqdnCache& x_fqdn_cache;
  std::vector<runtime::Worker*> x_workers;

  PolicyStore x_policies;
  SecretStore x_secrets;
  endpoint::IdentityAllocator x_numbers;
  RuleNames x_rule_names;
  endpoint::Pods x_pods;
  std::shared_ptr<const endpoint::PrefixTable> x_prefixes;
  IdentityRows x_identity_rows;
  policy::Compiler x_compiler;
  std::unique_ptr<KubernetesCluster> x_kubernetes; // null: endpoints come from a file
  std::optional<endpoint::ClusterSpec> x_cluster;  // last good
  std::string x_cluster_error;
  std::vector<IpAddress> x_local_addresses;
  std::uint64_t x_revision = 0;
  std::chrono::system_clock::time_point x_loaded_at;
  std::uint64_t x_loads = 0, x_load_errors = 0;

  std::vector<std::unique_ptr<FolderWatch>> x_watches;
  boost::asio::steady_timer x_clock;
  unsigned x_ticks = 0;
  std::uint64_t x_saved_changes = 0; // of the FQDN cache
  bool x_save_failed = false;
  std::optional<std::uint64_t> x_saved_policies; // PolicyStore::changes() of what is on disk
  std::optional<std::uint64_t> x_known_policies; // KubernetesCluster::policy_changes() taken in

  mutable std::mutex x_view_mutex; // guards the next three
  std::shared_ptr<const admin::View> x_view;
  InForce x_shown;
  std::string x_not_ready = "starting";
  std::vector<admin::ListenerRow> x_listener_rows; // control thread
};

} // namespace weir::control
