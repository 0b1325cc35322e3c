// The admin server's window on the process: reads what the control plane shows, asks workers for a
// sign of life, hands wishes over to the control thread. Any thread.
#pragma once

#include "proxy/admin/model.h"
#include "proxy/control/controller.h"

#include <functional>

namespace weir::control {

class AdminSource final : public admin::Source {
public:
  // Called on the control thread.
  struct Wishes {
    std::function<void()> reload;
    std::function<void(bool on)> accelerate;
    std::function<void()> drain, quit;
  };

  // All references outlive it.
  AdminSource(boost::asio::io_context& control, const Controller& controller,
              const dns::FqdnCache& fqdn_cache, redirect::Redirector& redirector,
              admin::FlowLog& flows, std::vector<runtime::Worker*> workers, Wishes wishes);

  [[nodiscard]] std::shared_ptr<const admin::View> view() const override;
  [[nodiscard]] std::vector<admin::EndpointRow> endpoints() const override;
  [[nodiscard]] std::vector<admin::FqdnRow> fqdn() const override;
  [[nodiscard]] std::uint64_t fqdn_evicted() const override;
  [[nodiscard]] admin::ClusterHealth cluster_health() const override;
  [[nodiscard]] std::string_view attach_mode() const override;
  [[nodiscard]] admin::Readiness readiness() override;
  [[nodiscard]] std::vector<const WorkerMetrics*> worker_metrics() const override;
  [[nodiscard]] Result<redirect::Counters> bpf_counters() override;
  [[nodiscard]] std::vector<redirect::MapUse> bpf_map_use() override;
  [[nodiscard]] Result<boost::json::object>
  trace(const admin::TraceQuestion& question) const override;
  [[nodiscard]] Result<boost::json::array> probes() const override;
  [[nodiscard]] redirect::AccelerationState acceleration() override;
  [[nodiscard]] admin::FlowLog& flows() override { return x_flows; }
  void reload() override;
  void accelerate(bool on) override;
  void drain() override;
  void quit() override;

private:
  boost::asio::io_context& x_control;
  const Controller& x_controller;
  const dns::FqdnCache& x_fqdn_cache;
  redirect::Redirector& x_redirector;
  admin::FlowLog& x_flows;
  std::vector<runtime::Worker*> x_workers;
  Wishes x_wishes;
};

} // namespace weir::control
