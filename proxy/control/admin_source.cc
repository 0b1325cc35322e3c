#include "proxy/control/admin_source.h"

#include "proxy/admin/probes.h"
#include "proxy/control/view.h"

#include <boost/asio/post.hpp>

#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace weir::control {
namespace {

constexpr std::chrono::seconds kSignOfLife{1};

// Counts the workers that answered. Shared with them, since a slow one answers after we left.
struct RollCall {
  std::mutex mutex;
  std::condition_variable answered;
  std::size_t missing = 0;
};

} // namespace

AdminSource::AdminSource(boost::asio::io_context& control, const Controller& controller,
                         const dns::FqdnCache& fqdn_cache, redirect::Redirector& redirector,
                         admin::FlowLog& flows, std::vector<runtime::Worker*> workers,
                         Wishes wishes)
    : x_control(control), x_controller(controller), x_fqdn_cache(fqdn_cache),
      x_redirector(redirector), x_flows(flows), x_workers(std::move(workers)),
      x_wishes(std::move(wishes)) {}

std::shared_ptr<const admin::View> AdminSource::view() const { return x_controller.view(); }

std::vector<admin::EndpointRow> AdminSource::endpoints() const {
  const Controller::InForce in_force = x_controller.in_force();
  return in_force.registry == nullptr
             ? std::vector<admin::EndpointRow>()
             : endpoint_rows(*in_force.program, *in_force.registry, x_redirector);
}

std::vector<admin::FqdnRow> AdminSource::fqdn() const {
  const auto registry = x_controller.in_force().registry; // which the pods live in
  std::unordered_map<policy::EndpointId, const endpoint::Endpoint*> pods;
  if (registry != nullptr) {
    pods = registry->by_id();
  }
  std::vector<admin::FqdnRow> rows;
  for (const auto& learned : x_fqdn_cache.entries()) {
    const auto pod = pods.find(learned.endpoint);
    rows.push_back({pod == pods.end() ? "" : pod->second->full_name(), shown_name(learned.name),
                    learned.address.to_string(), learned.ttl, learned.expires, learned.over});
  }
  return rows;
}

std::uint64_t AdminSource::fqdn_evicted() const { return x_fqdn_cache.evicted(); }

admin::ClusterHealth AdminSource::cluster_health() const { return x_controller.cluster_health(); }

std::string_view AdminSource::attach_mode() const { return x_redirector.attach_mode(); }

admin::Readiness AdminSource::readiness() {
  if (auto reason = x_controller.not_ready(); !reason.empty()) {
    return {false, std::move(reason)};
  }
  const auto roll_call = std::make_shared<RollCall>();
  roll_call->missing = x_workers.size();
  for (runtime::Worker* worker : x_workers) {
    worker->post([roll_call] {
      const std::lock_guard lock(roll_call->mutex);
      --roll_call->missing;
      roll_call->answered.notify_one();
    });
  }
  std::unique_lock lock(roll_call->mutex);
  if (!roll_call->answered.wait_for(lock, kSignOfLife, [&] { return roll_call->missing == 0; })) {
    return {false, std::to_string(roll_call->missing) + " workers give no sign of life"};
  }
  // Enforcement goes on with what is known, so this is no reason to be replaced.
  return {true, x_controller.cluster_health().trouble};
}

std::vector<const WorkerMetrics*> AdminSource::worker_metrics() const {
  std::vector<const WorkerMetrics*> metrics;
  for (runtime::Worker* worker : x_workers) {
    metrics.push_back(&worker->metrics());
  }
  return metrics;
}

Result<redirect::Counters> AdminSource::bpf_counters() { return x_redirector.counters(); }

std::vector<redirect::MapUse> AdminSource::bpf_map_use() { return x_redirector.map_use(); }

redirect::AccelerationState AdminSource::acceleration() { return x_redirector.acceleration(); }

Result<boost::json::object> AdminSource::trace(const admin::TraceQuestion& question) const {
  const Controller::InForce in_force = x_controller.in_force();
  if (in_force.input == nullptr) {
    return invalid_error("nothing is in force yet");
  }
  const auto learned = [&](policy::EndpointId endpoint, const IpAddress& address,
                           const DnsName* name) -> std::uint64_t {
    if (name == nullptr) {
      return x_fqdn_cache.groups_of(endpoint, address);
    }
    const policy::EndpointPolicy* policy = in_force.program->find(endpoint);
    return policy != nullptr && x_fqdn_cache.has_learned(endpoint, *name, address)
               ? policy->fqdn_groups(*name)
               : 0;
  };
  return admin::trace(question, {*in_force.input, *in_force.program, *in_force.registry, learned});
}

Result<boost::json::array> AdminSource::probes() const {
  const Controller::InForce in_force = x_controller.in_force();
  if (in_force.input == nullptr) {
    return invalid_error("nothing is in force yet");
  }
  return admin::probes({*in_force.input, *in_force.program, *in_force.registry, {}});
}

void AdminSource::reload() { boost::asio::post(x_control, x_wishes.reload); }
void AdminSource::accelerate(bool on) {
  boost::asio::post(x_control, [this, on] { x_wishes.accelerate(on); });
}
void AdminSource::drain() { boost::asio::post(x_control, x_wishes.drain); }
void AdminSource::quit() { boost::asio::post(x_control, x_wishes.quit); }

} // namespace weir::control
