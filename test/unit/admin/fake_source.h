// A Source with fixed rows, for the admin server's tests and weirctl's.
#pragma once

#include "proxy/admin/model.h"

#include <boost/json.hpp>

#include <atomic>
#include <mutex>

namespace weir::test {

class FakeSource final : public admin::Source {
public:
  FakeSource() {
    auto shown = std::make_shared<admin::View>();
    shown->revision = 7;
    shown->loaded_at = std::chrono::sys_days(std::chrono::year(2026) / 11 / 24);
    shown->policy_loads = 5;
    shown->policy_load_errors = 2;
    shown->policies = {
        {"CiliumNetworkPolicy", "shop", "api", "/etc/weir/policies/api.yaml", "accepted", ""},
        {"", "", "", "/etc/weir/policies/bad.yaml", "rejected",
         "/etc/weir/policies/bad.yaml:3:5: error: unknown field `ingres`, did you mean "
         "`ingress`?\n/etc/weir/policies/bad.yaml:9:1: error: <b>\"second\"</b>"}};
    admin::EndpointRow web;
    web.endpoint_namespace = "shop";
    web.name = "web";
    web.identity = 256;
    web.labels = {{"k8s:app", "web"}, {"k8s:io.kubernetes.pod.namespace", "shop"}};
    web.ips = {"10.0.1.11", "fd00:10:1::11"};
    web.interface = "lxcb";
    web.policies = {"shop/api"};
    web.state = "enforced";
    admin::EndpointRow replica = web;
    replica.name = "web-2";
    replica.ips = {"10.0.1.13"};
    replica.interface = "";
    replica.policies = {};
    replica.state = "remote";
    x_endpoints = {web, replica};
    shown->listeners = {{"shop", "static", "127.0.0.1:15080", "http"}};
    x_view = shown;

    x_metrics.http_requests[0][200].add(40);
    x_metrics.http_requests[1][403].add(3);
    x_metrics.http_connections_opened.add(9);
    x_metrics.http_connections_closed.add(4);
    x_metrics.dns_queries[0].add(11);
    x_metrics.dns_volumes.of("shop", "web")->add(17);
    x_metrics.dns_volumes.of("shop", "gone")->add(17);
    x_metrics.dns_responses[3].add(2);
    x_metrics.access_log_lost.add(1);
    x_second.http_requests[0][200].add(2);
  }

  std::shared_ptr<const admin::View> view() const override { return x_view; }
  std::vector<admin::EndpointRow> endpoints() const override { return x_endpoints; }
  std::uint64_t fqdn_evicted() const override { return 3; }
  std::string_view attach_mode() const override { return "tcx"; }
  std::vector<admin::FqdnRow> fqdn() const override {
    const auto expiry = std::chrono::sys_days(std::chrono::year(2026) / 11 / 24);
    return {{"shop/client", "www.example.com.", "203.0.113.9", 300, expiry},
            {"shop/client", "www.example.com.", "203.0.113.10", 300, expiry}};
  }
  admin::ClusterHealth cluster_health() const override {
    return {.followed = true,
            .known = true,
            .trouble = "kubernetes: /api/v1/pods: connection refused",
            .staleness = std::chrono::seconds(42)};
  }
  admin::Readiness readiness() override {
    const std::lock_guard lock(x_mutex);
    return x_readiness;
  }
  std::vector<const WorkerMetrics*> worker_metrics() const override {
    return {&x_metrics, &x_second};
  }
  Result<redirect::Counters> bpf_counters() override {
    if (bpf_fails) {
      return errno_error(EPERM, "weir_counters");
    }
    redirect::Counters counters;
    counters.packets[WEIR_COUNT_ALLOWED] = 1000;
    counters.drops[weir_drop_index(WEIR_DROP_POLICY, WEIR_EGRESS)] = 17;
    return counters;
  }
  std::vector<redirect::MapUse> bpf_map_use() override {
    return {{"weir_endpoints", 4, 16384}, {"odd\"\\\nname", 0, 1}};
  }
  redirect::AccelerationState acceleration() override {
    redirect::AccelerationState state;
    state.enabled = accelerated;
    state.reason = accelerated ? "" : "switched off";
    state.counts[WEIR_JOIN_SOCKETS] = 6;
    state.counts[WEIR_JOIN_BYTES_TO_POD] = 4096;
    state.counts[WEIR_JOIN_UNREAD] = 2;
    return state;
  }
  admin::FlowLog& flows() override { return flow_log; }
  Result<boost::json::object> trace(const admin::TraceQuestion& question) const override {
    if (question.from.empty()) {
      return invalid_error("from: must be given");
    }
    boost::json::array headers(question.headers.begin(), question.headers.end());
    return boost::json::object{{"verdict", "denied"},
                               {"from", question.from},
                               {"path", question.path},
                               {"headers", std::move(headers)},
                               {"directions", boost::json::array()}};
  }
  Result<boost::json::array> probes() const override {
    return boost::json::array{boost::json::object{{"rule", "shop/api ingress rule 1"}}};
  }
  void reload() override { ++reloads; }
  void accelerate(bool on) override { accelerated = on; }
  void drain() override { ++drains; }
  void quit() override { ++quits; }

  void set_readiness(admin::Readiness readiness) {
    const std::lock_guard lock(x_mutex);
    x_readiness = std::move(readiness);
  }

  admin::FlowLog flow_log;
  std::atomic<int> reloads{0}, drains{0}, quits{0};
  std::atomic<bool> bpf_fails{false}, accelerated{false};

private:
  std::shared_ptr<const admin::View> x_view;
  std::vector<admin::EndpointRow> x_endpoints;
  WorkerMetrics x_metrics, x_second;
  std::mutex x_mutex;
  admin::Readiness x_readiness{true, ""};
};

} // namespace weir::test
