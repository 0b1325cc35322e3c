#include "proxy/control/controller.h"

#include "policy-compiler/model/policy.h"
#include "proxy/base/clocks.h"
#include "proxy/base/file.h"
#include "proxy/base/log.h"
#include "proxy/control/service_states.h"
#include "proxy/control/view.h"
#include "proxy/endpoint/cluster_input.h"
#include "proxy/endpoint/file_source.h"
#include "proxy/endpoint/local_addresses.h"
#include "proxy/endpoint/resolv_conf.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <latch>
#include <set>
#include <utility>

namespace weir::control {
namespace fs = std::filesystem;
namespace {

// Learned names are on disk this long after they came.
constexpr std::chrono::milliseconds kTick{200};
constexpr unsigned kTicksToExpire = 5;
constexpr unsigned kTicksToLookAtSecrets = 5;
constexpr unsigned kTicksToSettle = 300;
constexpr std::size_t kMaxClusterFile = 64u << 20;
constexpr const char* kResolvConf = "/etc/resolv.conf"; // the node's

std::string parent_of(const std::string& path) {
  const auto parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

bool same_cell(const policy::Program::Prefix& a, const policy::Program::Prefix& b) {
  return a.prefix == b.prefix && a.identity == b.identity;
}

// What weir was given by an earlier process: absent is fine, unreadable is set aside and said.
template <typename Restore>
void restore_file(const std::string& path, Restore&& restore) {
  const auto text = read_file(path);
  if (!text) {
    if (text.error().code != std::errc::no_such_file_or_directory) {
      log::error("state: {}", text.error().text());
    }
    return;
  }
  const Result<void> restored = restore(*text);
  if (!restored) {
    log::error("state: {}; {} is set aside", restored.error().text(), path);
    set_aside(path);
  }
}

} // namespace

Controller::Controller(boost::asio::io_context& context, const config::Config& config,
                       redirect::Redirector& redirector, dns::FqdnCache& fqdn_cache,
                       std::vector<runtime::Worker*> workers)
    : x_context(context), x_config(config), x_redirector(redirector), x_fqdn_cache(fqdn_cache),
      x_workers(std::move(workers)), x_policies(config.policies.directory),
      x_secrets(config.secrets.directory),
      x_numbers(static_cast<std::uint32_t>(std::time(nullptr))),
      x_rule_names(context, state_file("rules.json")),
      x_pods(x_numbers, [this](const endpoint::PodSpec& pod) { return judged_here(pod); }),
      x_clock(context), x_view(std::make_shared<admin::View>()) {
  if (config.kubernetes.enabled) {
    x_kubernetes =
        std::make_unique<KubernetesCluster>(context, config, redirector, [this] { reload(); });
  }
}

std::string Controller::state_file(const char* name) const {
  return x_config.state.directory + "/" + name;
}

void Controller::restore_state() {
  std::error_code failed;
  fs::create_directories(x_config.state.directory, failed);
  if (failed) {
    log::error("state: create {}: {}", x_config.state.directory, failed.message());
  }
  restore_file(state_file("identities.json"),
               [&](const std::string& text) { return x_numbers.restore(text); });
  restore_file(state_file("policies.json"),
               [&](const std::string& text) { return x_policies.restore(text); });
  if (x_kubernetes) {
    x_kubernetes->restore();
  }
  const auto learned = x_fqdn_cache.load(state_file("fqdn.json"));
  if (!learned) {
    log::error("state: {}", learned.error().text());
  }
}

void Controller::reload() {
  ++x_loads;
  x_loaded_at = std::chrono::system_clock::now();
  const auto policies = load_policies();
  if (!policies) {
    log::error("{}{}", policies.error().text(),
               x_policies.loaded() ? "; the last good set stays" : "");
  }
  x_secrets.load(x_policies.policies());
  load_cluster();
  load_local_addresses();
  if (!policies || x_policies.rejected() > 0 || !x_cluster_error.empty()) {
    ++x_load_errors;
  }
  std::string not_ready;
  if (!x_cluster) {
    not_ready = x_cluster_error;
    if (x_revision == 0) {
      publish_denial();
    }
  } else {
    // Without policies this holds every pod: nothing known is not everything allowed.
    not_ready = put_in_force();
  }
  if (!x_policies.loaded()) {
    not_ready = policies.error().text();
  }
  const std::lock_guard lock(x_view_mutex);
  x_not_ready = std::move(not_ready);
}

// What workers judge by before anything is known: nobody is an endpoint, so all is denied.
void Controller::publish_denial() {
  publish({nullptr, policy::compile({}, x_numbers, x_numbers),
           std::make_shared<endpoint::Registry>(std::vector<endpoint::Endpoint>{},
                                                std::vector<policy::Program::Prefix>{}),
           nullptr});
}

// Why not all of it could be; empty when all is in force.
std::string Controller::put_in_force() {
  const Compiled compiled = compile();
  save_numbers();
  publish(compiled);
  if (x_config.redirect.mode == config::RedirectMode::kBpf && !x_redirector.first_revision()) {
    x_rule_names.forget();
  }
  const auto applied = apply(compiled);
  if (const auto first = x_redirector.first_revision()) {
    x_rule_names.keep(compiled.result.program, *first, x_policies.changes());
  }
  show(compiled);
  if (!applied) {
    log::error("policy revision {} is not fully in the kernel: {}", x_revision,
               applied.error().text());
    return applied.error().text();
  }
  log::info("policy revision {}: {} policies, {} documents refused, {} endpoints", x_revision,
            x_policies.policies().size(), x_policies.rejected(), x_cluster->pods.size());
  return "";
}

void Controller::load_local_addresses() {
  if (x_config.redirect.mode == config::RedirectMode::kNone) {
    return; // no packets of pods are seen here
  }
  auto addresses = endpoint::local_addresses();
  if (addresses) {
    x_local_addresses = std::move(*addresses);
  } else {
    log::error("{}", addresses.error().text());
  }
}

// Before the API has told of all policies there is nothing to conclude from.
Result<void> Controller::load_policies() {
  if (x_kubernetes) {
    if (!x_kubernetes->known()) {
      return invalid_error(x_kubernetes->trouble());
    }
    if (x_known_policies != x_kubernetes->policy_changes()) {
      x_known_policies = x_kubernetes->policy_changes();
      x_policies.use_objects(x_kubernetes->policies());
    }
  }
  return x_policies.load();
}

void Controller::load_cluster() {
  if (!x_kubernetes) {
    load_cluster_file();
  } else if (x_kubernetes->known()) {
    x_cluster = x_kubernetes->cluster();
    x_cluster_error.clear();
  } else {
    x_cluster_error = x_kubernetes->trouble();
  }
}

void Controller::load_cluster_file() {
  const auto text = read_file(x_config.endpoints.file, kMaxClusterFile);
  if (!text) {
    x_cluster_error = "endpoints: " + text.error().text();
  } else {
    auto loaded = endpoint::parse_cluster(x_config.endpoints.file, *text);
    x_cluster_error.clear();
    for (const auto& error : loaded.errors) {
      x_cluster_error += (x_cluster_error.empty() ? "" : "\n") + error.text();
    }
    if (loaded.cluster) {
      x_cluster = std::move(loaded.cluster);
    }
  }
  if (!x_cluster_error.empty()) {
    log::error("{}{}", x_cluster_error, x_cluster ? "; the last good version stays" : "");
  }
}

Controller::Compiled Controller::compile() {
  auto shared_input = std::make_shared<policy::CompileInput>();
  policy::CompileInput& input = *shared_input;
  input.revision = ++x_revision;
  input.policies = x_policies.policies();
  input.header_secrets = x_secrets.header_values();
  input.options.observe_dns = x_config.dns.observe;
  x_pods.update(x_cluster->pods, x_cluster->namespaces);
  x_pods.add_to(input);
  if (!x_policies.loaded()) {
    input.endpoints.clear();
  }
  endpoint::add_services(*x_cluster, input);
  x_numbers.begin_compile();
  const auto resolv_conf = read_file(kResolvConf);
  Compiled compiled{
      std::move(shared_input), x_compiler.compile(input, x_numbers, x_numbers), nullptr,
      std::make_shared<endpoint::DnsScope>(
          *x_cluster, x_config.dns, endpoint::parse_resolv_conf(resolv_conf ? *resolv_conf : ""))};
  for (const auto& diagnostic : compiled.result.diagnostics) {
    log::warning("{}", diagnostic.text());
  }
  auto prefixes = node_prefixes();
  const auto named = compiled.result.program->prefixes();
  prefixes.insert(prefixes.end(), named.begin(), named.end());
  if (x_prefixes == nullptr ||
      !std::equal(prefixes.begin(), prefixes.end(), x_prefixes->prefixes().begin(),
                  x_prefixes->prefixes().end(), same_cell)) {
    x_prefixes = std::make_shared<const endpoint::PrefixTable>(std::move(prefixes));
  }
  compiled.registry =
      std::make_shared<endpoint::Registry>(x_pods.by_name(), x_pods.by_address(), x_prefixes);
  return compiled;
}

// Pods of this node, and those that a static listener stands for.
bool Controller::judged_here(const endpoint::PodSpec& known) const {
  return known.local || !known.interface.empty() ||
         std::any_of(x_config.listeners.begin(), x_config.listeners.end(),
                     [name = known.pod_namespace + "/" + known.name](const auto& listener) {
                       return listener.endpoint == name;
                     });
}

std::vector<policy::Program::Prefix> Controller::node_prefixes() const {
  auto prefixes = endpoint::node_prefixes(*x_cluster, x_config.node.name);
  for (const auto& address : x_local_addresses) {
    prefixes.push_back({IpPrefix::host(address), WEIR_IDENTITY_HOST});
  }
  return prefixes;
}

void Controller::publish(const Compiled& compiled) {
  const auto snapshot = std::make_shared<const endpoint::Snapshot>(
      endpoint::Snapshot{.program = compiled.result.program,
                         .registry = compiled.registry,
                         .secrets = x_secrets.secrets(),
                         .dns = compiled.dns});
  std::latch taken(static_cast<std::ptrdiff_t>(x_workers.size()));
  for (runtime::Worker* worker : x_workers) {
    worker->publish(snapshot, [&taken] { taken.count_down(); });
  }
  taken.wait();
}

Result<void> Controller::apply(const Compiled& compiled) {
  const policy::Program& program = *compiled.result.program;
  std::vector<redirect::EndpointState> states;
  for (const auto& [name, pod] : x_pods.judged()) {
    const endpoint::Endpoint& known = *pod;
    if (!known.is_local()) {
      continue;
    }
    const policy::EndpointPolicy* policy = program.find(known.id);
    redirect::EndpointState state;
    state.id = known.id;
    state.identity = known.identity;
    state.interface = known.interface;
    state.addresses = known.addresses;
    state.held = policy == nullptr || known.interface.empty();
    state.joined = std::any_of(x_config.acceleration.pods.begin(), x_config.acceleration.pods.end(),
                               [&known](const auto& chosen) {
                                 return chosen.covers(known.endpoint_namespace, known.name);
                               });
    if (policy != nullptr) {
      state.ingress_enforced = policy->enforced(policy::Direction::kIngress);
      state.egress_enforced = policy->enforced(policy::Direction::kEgress);
      state.audited = policy->audited();
      state.rows = policy->rows();
    }
    states.push_back(std::move(state));
  }
  auto extended = x_fqdn_cache.extend(program);
  if (!extended) {
    return extended;
  }
  // Policies first: a backend is known to them before it is chosen.
  auto applied =
      x_redirector.apply(x_identity_rows.update(x_pods.by_address(), x_prefixes), states);
  if (!applied) {
    return applied;
  }
  std::set<IpAddress> guarded;
  for (const auto& state : states) {
    if (state.ingress_enforced || state.held) {
      guarded.insert(state.addresses.begin(), state.addresses.end());
    }
  }
  auto services = x_redirector.set_services(service_states(
      *x_cluster, [&guarded](const IpAddress& address) { return guarded.contains(address); }));
  if (!services) {
    return services;
  }
  auto reconciled = x_fqdn_cache.reconcile(program);
  if (!reconciled) {
    return reconciled;
  }
  settle_strays();
  x_numbers.release_unused();
  x_compiler.settle();
  return {};
}

// Entries of the kernel that the cache does not know: a process that was killed had learned them
// and not saved their names yet. They live until they expire, with the groups still in use.
void Controller::settle_strays() {
  std::set<std::pair<policy::EndpointId, IpAddress>> known;
  for (const auto& entry : x_fqdn_cache.entries()) {
    known.emplace(entry.endpoint, entry.address);
  }
  const std::uint64_t now_ns = boottime_ns();
  for (redirect::LearnedAddress stray : x_redirector.list_learned()) {
    if (known.contains({stray.endpoint, stray.address})) {
      continue;
    }
    const std::uint64_t wanted =
        stray.expires_ns <= now_ns ? 0 : stray.groups & x_numbers.bits_in_use(stray.endpoint);
    if (wanted != stray.groups) {
      stray.groups = wanted;
      const auto written = x_redirector.set_learned(stray);
      if (!written) {
        log::error("{}", written.error().text());
      }
    }
  }
}

// With what their secrets lack.
std::vector<admin::PolicyRow> Controller::policy_rows() const {
  std::vector<admin::PolicyRow> rows = x_policies.rows();
  for (const auto& policy : x_policies.policies()) {
    const std::string problems = x_secrets.problems_of(*policy);
    if (problems.empty()) {
      continue;
    }
    for (admin::PolicyRow& row : rows) {
      if (row.file == policy->location.file && row.kind == policy->kind &&
          row.policy_namespace == policy->policy_namespace && row.name == policy->name) {
        row.message += (row.message.empty() ? "" : "\n") + problems;
      }
    }
  }
  return rows;
}

void Controller::show(const Compiled& compiled) {
  auto view = std::make_shared<admin::View>();
  view->revision = x_revision;
  view->loaded_at = x_loaded_at;
  view->policy_loads = x_loads;
  view->policy_load_errors = x_load_errors;
  view->policies = policy_rows();
  view->listeners = x_listener_rows;
  const std::lock_guard lock(x_view_mutex);
  x_view = std::move(view);
  x_shown = {compiled.input, compiled.result.program, compiled.registry};
}

Controller::InForce Controller::in_force() const {
  const std::lock_guard lock(x_view_mutex);
  return x_shown;
}

void Controller::set_listener_rows(std::vector<admin::ListenerRow> rows) {
  x_listener_rows = std::move(rows);
  const std::lock_guard lock(x_view_mutex);
  auto view = std::make_shared<admin::View>(*x_view);
  view->listeners = x_listener_rows;
  x_view = std::move(view);
}

std::shared_ptr<const admin::View> Controller::view() const {
  const std::lock_guard lock(x_view_mutex);
  return x_view;
}

admin::ClusterHealth Controller::cluster_health() const {
  return x_kubernetes ? x_kubernetes->health() : admin::ClusterHealth();
}

std::string Controller::not_ready() const {
  const std::lock_guard lock(x_view_mutex);
  return x_not_ready;
}

void Controller::save_numbers() {
  if (x_numbers.dirty()) {
    const auto saved = replace_file(state_file("identities.json"), x_numbers.serialize());
    if (!saved) {
      log::error("state: {}", saved.error().text());
    }
  }
  // Pods come and go much more often than policies do.
  const std::uint64_t changes = x_policies.changes();
  if (changes == x_saved_policies) {
    return;
  }
  const auto saved = replace_file(state_file("policies.json"), x_policies.serialize());
  if (saved) {
    x_saved_policies = changes;
  } else {
    log::error("state: {}", saved.error().text());
  }
}

void Controller::save_learned() {
  const std::uint64_t changes = x_fqdn_cache.changes();
  if (changes == x_saved_changes) {
    return;
  }
  const auto saved = x_fqdn_cache.save(state_file("fqdn.json"));
  if (saved) {
    x_saved_changes = changes;
  } else if (!x_save_failed) { // tried again at each tick, told once
    log::error("state: {}", saved.error().text());
  }
  x_save_failed = !saved;
}

void Controller::start() {
  const auto changed = [this] { reload(); };
  x_watches.push_back(
      std::make_unique<FolderWatch>(x_context, x_config.policies.directory, changed));
  if (x_kubernetes) {
    x_kubernetes->start();
  } else {
    x_watches.push_back(
        std::make_unique<FolderWatch>(x_context, parent_of(x_config.endpoints.file), changed));
  }
  keep_time();
}

void Controller::keep_time() {
  x_clock.expires_after(kTick);
  x_clock.async_wait([this](boost::system::error_code failed) {
    if (failed) {
      return;
    }
    save_learned();
    x_rule_names.save();
    if (++x_ticks % kTicksToExpire == 0) {
      x_fqdn_cache.expire();
    }
    // Mounts are exchanged without a word to anybody, each secret's by itself.
    if (x_ticks % kTicksToLookAtSecrets == 0 && x_secrets.changed()) {
      reload();
    }
    if (x_ticks % kTicksToSettle == 0) {
      settle_strays();
    }
    keep_time();
  });
}

void Controller::stop() {
  x_watches.clear();
  x_clock.cancel();
  if (x_kubernetes) {
    x_kubernetes->stop();
  }
  x_rule_names.stop();
  save_learned();
}

} // namespace weir::control
