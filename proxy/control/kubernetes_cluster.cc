#include "proxy/control/kubernetes_cluster.h"

#include "proxy/base/file.h"
#include "proxy/base/log.h"
#include "proxy/control/uplinks.h"

#include <utility>

namespace weir::control {
namespace {

constexpr std::chrono::milliseconds kTick{200};
constexpr std::size_t kMaxState = 512u << 20;

} // namespace

KubernetesCluster::KubernetesCluster(boost::asio::io_context& context, const config::Config& config,
                                     redirect::Redirector& redirector,
                                     std::function<void()> changed)
    : x_config(config), x_redirector(redirector), x_changed(std::move(changed)),
      x_source(context,
               {.kubeconfig = config.kubernetes.kubeconfig,
                .node = config.node.name,
                .mark_local = config.redirect.mode != config::RedirectMode::kNone,
                .ignore_labels = config.kubernetes.ignore_labels},
               [this] { tell(); }),
      x_clock(context), x_writer(context, config.state.directory + "/cluster.json", kSaveEvery) {
  if (config.redirect.mode == config::RedirectMode::kNone) {
    return;
  }
  auto interfaces = PodInterfaces::open(context, [this] { tell(); }, [this] { hold_new_pods(); });
  if (interfaces) {
    x_interfaces = std::move(*interfaces);
  } else {
    log::error("{}", interfaces.error().text()); // every pod stays held
  }
  hold_new_pods(); // before the first interface gets its programs
}

void KubernetesCluster::hold_new_pods() {
  if (!x_config.kubernetes.hold_new_pods) {
    return;
  }
  auto found = uplinks();
  if (!found) {
    log::error("{}", found.error().text());
    return;
  }
  if (x_uplinks == *found) {
    return;
  }
  x_uplinks = std::move(*found);
  const auto held = x_redirector.hold_new_pods(
      {.uplinks = *x_uplinks, .names = x_config.kubernetes.other_interfaces});
  if (!held) {
    log::error("{}", held.error().text());
  }
}

void KubernetesCluster::end_holds() {
  const auto limit = x_config.kubernetes.hold_new_pods_for;
  if (limit.count() == 0) {
    return;
  }
  // Who is unknown only because the API does not say anything is held on.
  if (!known() || !x_source.trouble().empty()) {
    x_heard_since.reset();
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  x_heard_since = x_heard_since.value_or(now);
  if (now - *x_heard_since < limit) {
    return;
  }
  const auto ended = x_redirector.end_holds(now - limit);
  if (!ended) {
    log::error("{}", ended.error().text());
  }
}

void KubernetesCluster::restore() {
  const auto text = read_file(x_writer.path(), kMaxState);
  if (!text) {
    if (text.error().code != std::errc::no_such_file_or_directory) {
      log::error("state: {}", text.error().text());
    }
    return;
  }
  const auto restored = x_source.restore(*text);
  if (!restored) {
    log::error("state: {}; {} is set aside", restored.error().text(), x_writer.path());
    set_aside(x_writer.path());
  }
}

void KubernetesCluster::start() {
  x_source.start();
  keep_time();
}

void KubernetesCluster::stop() {
  x_clock.cancel();
  x_source.stop();
  x_interfaces.reset();
  x_writer.stop();
  if (known() && x_source.changes() != x_saved_changes) {
    x_writer.write_last(x_source.serializer());
  }
}

std::string KubernetesCluster::trouble() const {
  if (auto trouble = x_source.trouble(); !trouble.empty()) {
    return trouble;
  }
  const auto missing = x_interfaces ? x_interfaces->missing() : std::vector<std::string>();
  if (!missing.empty()) {
    return "kubernetes: held, as no interface leads to them: " + missing.front() +
           (missing.size() > 1 ? " and " + std::to_string(missing.size() - 1) + " more" : "");
  }
  return "";
}

endpoint::ClusterSpec KubernetesCluster::cluster() {
  auto cluster = x_source.cluster();
  if (x_interfaces) {
    cluster.pods = x_interfaces->place(cluster.pods);
  }
  return cluster;
}

admin::ClusterHealth KubernetesCluster::health() const {
  const std::lock_guard lock(x_health_mutex);
  return x_health;
}

void KubernetesCluster::tell() {
  look_at_health(); // whoever sees the news in force is not told of old trouble
  x_changed();
  look_at_health(); // pods may have been placed
}

void KubernetesCluster::look_at_health() {
  admin::ClusterHealth health{
      .followed = true, .known = known(), .trouble = trouble(), .staleness = x_source.staleness()};
  const std::lock_guard lock(x_health_mutex);
  x_health = std::move(health);
}

void KubernetesCluster::keep_time() {
  look_at_health();
  save();
  end_holds();
  x_clock.expires_after(kTick);
  x_clock.async_wait([this](boost::system::error_code failed) {
    if (!failed) {
      keep_time();
    }
  });
}

void KubernetesCluster::save() {
  if (known() && x_source.changes() != x_saved_changes && x_writer.ready()) {
    x_saved_changes = x_source.changes();
    x_writer.write(x_source.serializer());
  }
}

} // namespace weir::control
