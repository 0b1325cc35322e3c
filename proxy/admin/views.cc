#include "proxy/admin/views.h"

#include "proxy/base/rfc3339.h"
#include "proxy/base/version.h"

#include <boost/json.hpp>

#include <map>

namespace weir::admin {
namespace {

namespace json = boost::json;

json::array texts_json(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) {
    array.emplace_back(text);
  }
  return array;
}

json::object labels_json(const policy::Labels& labels) {
  json::object object;
  for (const auto& [key, value] : labels) {
    object[key] = value;
  }
  return object;
}

std::string_view protocol_name(config::ListenerProtocol protocol) {
  switch (protocol) {
  case config::ListenerProtocol::kHttp:
    return "http";
  case config::ListenerProtocol::kDns:
    return "dns";
  case config::ListenerProtocol::kTcp:
    return "tcp";
  }
  return "";
}

std::string_view refusal_name(config::DnsRefusal refusal) {
  switch (refusal) {
  case config::DnsRefusal::kAuto:
    return "auto";
  case config::DnsRefusal::kRefused:
    return "refused";
  case config::DnsRefusal::kNxDomain:
    return "nxdomain";
  }
  return "";
}

json::array prefixes_json(const std::vector<IpPrefix>& prefixes) {
  json::array array;
  for (const auto& prefix : prefixes) {
    array.emplace_back(prefix.to_string());
  }
  return array;
}

} // namespace

json::value policies_json(const View& view) {
  json::array rows;
  for (const auto& row : view.policies) {
    rows.push_back({{"kind", row.kind},
                    {"namespace", row.policy_namespace},
                    {"name", row.name},
                    {"file", row.file},
                    {"status", row.status},
                    {"message", row.message}});
  }
  return rows;
}

json::value endpoints_json(const std::vector<EndpointRow>& endpoints) {
  json::array rows;
  for (const auto& row : endpoints) {
    rows.push_back({{"namespace", row.endpoint_namespace},
                    {"name", row.name},
                    {"identity", row.identity},
                    {"labels", labels_json(row.labels)},
                    {"ips", texts_json(row.ips)},
                    {"interface", row.interface},
                    {"policies", texts_json(row.policies)},
                    {"state", row.state}});
  }
  return rows;
}

json::value listeners_json(const View& view) {
  json::array rows;
  for (const auto& row : view.listeners) {
    rows.push_back({{"name", row.name},
                    {"type", row.type},
                    {"address", row.address},
                    {"protocol", row.protocol}});
  }
  return rows;
}

json::value identities_json(const std::vector<EndpointRow>& endpoints) {
  struct Row {
    const policy::Labels* labels = nullptr;
    json::array endpoints;
  };
  std::map<std::uint32_t, Row> by_identity;
  for (const auto& endpoint : endpoints) {
    Row& row = by_identity[endpoint.identity];
    row.labels = &endpoint.labels;
    row.endpoints.push_back(json::string(endpoint.endpoint_namespace + "/" + endpoint.name));
  }
  json::array rows;
  for (auto& [identity, row] : by_identity) {
    rows.push_back({{"identity", identity},
                    {"labels", labels_json(*row.labels)},
                    {"endpoints", std::move(row.endpoints)}});
  }
  return rows;
}

json::value fqdn_json(const std::vector<FqdnRow>& fqdn, bool expired) {
  json::array rows;
  for (const auto& row : fqdn) {
    if (row.expired != expired) {
      continue;
    }
    rows.push_back({{"pod", row.pod},
                    {"name", row.name},
                    {"address", row.address},
                    {"ttl", row.ttl},
                    {"expires_at", rfc3339(row.expires_at)}});
  }
  return rows;
}

namespace {

json::object flow_end_json(const FlowRow::End& end) {
  json::object object;
  if (!end.pod.empty()) {
    object["namespace"] = end.pod_namespace;
    object["pod"] = end.pod;
  }
  object["ip"] = end.ip.to_string();
  if (end.port != 0) {
    object["port"] = end.port;
  }
  if (end.identity != 0) {
    object["identity"] = end.identity;
  }
  if (!end.entity.empty()) {
    object["entity"] = end.entity;
  }
  return object;
}

} // namespace

json::value flow_json(const FlowRow& row) {
  json::object object = {
      {"time", rfc3339(row.time)},           {"verdict", flow_verdict_text(row.verdict)},
      {"direction", row.direction},          {"protocol", row.protocol},
      {"source", flow_end_json(row.source)}, {"destination", flow_end_json(row.destination)}};
  for (const auto& [key, text] :
       {std::pair("reason", &row.reason), std::pair("policy", &row.policy),
        std::pair("rule", &row.rule), std::pair("nearest", &row.nearest)}) {
    if (!text->empty()) {
      object[key] = *text;
    }
  }
  return object;
}

json::value flows_json(const FlowLog::Rows& flows) {
  json::array rows;
  for (const auto& row : flows) {
    rows.push_back(flow_json(*row));
  }
  return rows;
}

json::value acceleration_json(const redirect::AccelerationState& state) {
  json::object by_tcp;
  for (const auto& [code, name] : kUnjoinedReasons) {
    by_tcp[name] = state.counts[code];
  }
  return {{"enabled", state.enabled},
          {"reason", state.reason},
          {"sockets_joined", state.counts[WEIR_JOIN_SOCKETS]},
          {"connections_not_worth_it", state.counts[WEIR_JOIN_BRIEF]},
          {"bytes_to_proxy", state.counts[WEIR_JOIN_BYTES_TO_PROXY]},
          {"bytes_to_pods", state.counts[WEIR_JOIN_BYTES_TO_POD]},
          {"messages_to_proxy", state.counts[WEIR_JOIN_MESSAGES_TO_PROXY]},
          {"messages_to_pods", state.counts[WEIR_JOIN_MESSAGES_TO_POD]},
          {"messages_by_tcp", std::move(by_tcp)}};
}

json::value config_json(const config::Config& config, const View& view) {
  json::array listeners;
  for (const auto& listener : config.listeners) {
    listeners.push_back(
        {{"name", listener.name},
         {"type", "static"},
         {"address", listener.address.to_string()},
         {"upstream", listener.upstream.to_string()},
         {"protocol", protocol_name(listener.protocol)},
         {"direction",
          listener.direction == config::ListenerDirection::kIngress ? "ingress" : "egress"},
         {"endpoint", listener.endpoint},
         {"peer", listener.peer},
         {"port", listener.port}});
  }
  json::array pods;
  for (const auto& pattern : config.acceleration.pods) {
    pods.push_back(json::value(pattern.to_string()));
  }
  const json::object values = {
      {"node", {{"name", config.node.name}}},
      {"policies", {{"directory", config.policies.directory}}},
      {"endpoints", {{"file", config.endpoints.file}}},
      {"kubernetes",
       {{"enabled", config.kubernetes.enabled},
        {"kubeconfig", config.kubernetes.kubeconfig}, // where it is, not what is in it
        {"ignore_labels", texts_json(config.kubernetes.ignore_labels)},
        {"hold_new_pods", config.kubernetes.hold_new_pods},
        {"hold_new_pods_for_seconds", config.kubernetes.hold_new_pods_for.count()},
        {"other_interfaces", texts_json(config.kubernetes.other_interfaces)}}},
      {"state", {{"directory", config.state.directory}}},
      {"workers", config.workers},
      {"redirect",
       {{"mode", config.redirect.mode == config::RedirectMode::kBpf ? "bpf" : "none"},
        {"bpffs", config.redirect.bpffs}}},
      {"acceleration", {{"enabled", config.acceleration.enabled}, {"pods", std::move(pods)}}},
      {"admin", {{"address", config.admin.to_string()}}},
      {"metrics", {{"address", config.metrics.to_string()}}},
      {"access_log", {{"path", config.access_log.path}, {"format", "json"}}},
      {"http",
       {{"max_head_bytes", config.http.max_head},
        {"max_target_bytes", config.http.max_target},
        {"max_headers", config.http.max_headers},
        {"head_timeout_seconds", config.http.head_timeout.count()},
        {"idle_timeout_seconds", config.http.idle_timeout.count()},
        {"connect_timeout_seconds", config.http.connect_timeout.count()}}},
      {"dns",
       {{"upstream_timeout_ms", config.dns.upstream_timeout.count()},
        {"tcp_idle_seconds", config.dns.tcp_idle.count()},
        {"max_in_flight", config.dns.max_in_flight},
        {"max_in_flight_per_pod", config.dns.max_in_flight_per_pod},
        {"refusal", refusal_name(config.dns.refusal)},
        {"cluster_domain", config.dns.cluster_domain.to_text()},
        {"min_ttl_seconds", config.dns.min_ttl.count()},
        {"grace_seconds", config.dns.grace.count()},
        {"max_names", config.dns.max_names},
        {"max_addresses", config.dns.max_addresses},
        {"max_total", config.dns.max_total},
        {"resolvers", prefixes_json(config.dns.resolvers)},
        {"cluster_ranges", prefixes_json(config.dns.cluster_ranges)},
        {"learn_private", config.dns.learn_private},
        {"observe", config.dns.observe},
        {"lenient", config.dns.lenient}}},
      {"drain_timeout_seconds", config.drain_timeout.count()},
      {"listeners", std::move(listeners)}};
  return {{"config", values},
          {"policy_revision", view.revision},
          {"policies_loaded_at", rfc3339(view.loaded_at)}};
}

json::value server_json(const config::Config& config, const View& view, const Readiness& readiness,
                        const ClusterHealth& cluster, std::string_view attach_mode,
                        std::chrono::system_clock::time_point started_at) {
  json::value kubernetes; // null: not asked
  if (cluster.followed) {
    kubernetes = {{"known", cluster.known},
                  {"trouble", cluster.trouble},
                  {"staleness_seconds", cluster.staleness.count()}};
  }
  const auto uptime = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now() - started_at);
  return {{"version", version()},
          {"state", readiness.ready ? "LIVE" : "NOT_READY"},
          {"reason", readiness.reason},
          {"node", config.node.name},
          {"kubernetes", std::move(kubernetes)},
          {"redirect_mode", config.redirect.mode == config::RedirectMode::kBpf ? "bpf" : "none"},
          {"attached", attach_mode},
          {"abi_version", WEIR_ABI_VERSION},
          {"workers", config.workers},
          {"uptime_seconds", uptime.count()},
          {"started_at", rfc3339(started_at)},
          {"policy_revision", view.revision},
          {"policies_loaded_at", rfc3339(view.loaded_at)},
          {"policy_loads", view.policy_loads},
          {"policy_load_errors", view.policy_load_errors}};
}

} // namespace weir::admin
