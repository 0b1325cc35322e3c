#include "proxy/admin/stats.h"

#include "proxy/base/log.h"
#include "proxy/base/version.h"
#include "redirect-bpf/user/names.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <utility>

namespace weir::admin {
namespace {

using Labels = std::vector<std::pair<std::string_view, std::string>>;

std::string seconds_text(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.begin(), text.end(), value, std::chars_format::fixed, 6);
  return {text.data(), end.ptr};
}

class Samples {
public:
  struct Sample {
    Labels labels;
    std::string value;
    std::string_view suffix; // of the metric's name: parts of a histogram
  };

  void add(std::uint64_t value, Labels labels = {}, std::string_view suffix = {}) {
    x_samples.push_back({std::move(labels), std::to_string(value), suffix});
  }
  void add_seconds(double value, Labels labels = {}, std::string_view suffix = {}) {
    x_samples.push_back({std::move(labels), seconds_text(value), suffix});
  }
  [[nodiscard]] const std::vector<Sample>& all() const { return x_samples; }

private:
  std::vector<Sample> x_samples;
};

constexpr std::array<std::string_view, kAccessVerdicts> kVerdicts = {"allowed", "denied", "audit",
                                                                     "error"};
// RFC 1035 §4.1.1, RFC 2136 §2.2.
constexpr std::array<std::string_view, 16> kRcodes = {
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE",  "RCODE11",  "RCODE12", "RCODE13", "RCODE14",  "RCODE15"};

// Order of Http2Flood.
constexpr std::array<std::string_view, kHttp2Floods> kHttp2FloodNames = {
    "reset",    "continuation", "header_block",  "settings",      "ping",
    "priority", "empty_data",   "window_update", "unknown_frame", "outbound_queue"};

std::uint64_t total(const StatsInput& in, Counter WorkerMetrics::* counter) {
  std::uint64_t sum = 0;
  for (const auto* worker : in.workers) {
    sum += (worker->*counter).value();
  }
  return sum;
}

template <Counter WorkerMetrics::* counter>
void plain(const StatsInput& in, Samples& out) {
  out.add(total(in, counter));
}

// Opened and closed are read one after the other while connections come and go.
std::uint64_t still_open(std::uint64_t opened, std::uint64_t closed) {
  return opened > closed ? opened - closed : 0;
}

void policies(const StatsInput& in, Samples& out) {
  std::map<std::pair<std::string, std::string>, std::uint64_t> counts;
  for (const auto& row : in.view->policies) {
    ++counts[{row.kind.empty() ? "unknown" : row.kind, row.status}];
  }
  for (const auto& [key, count] : counts) {
    out.add(count, {{"kind", key.first}, {"state", key.second}});
  }
}

void policy_loads(const StatsInput& in, Samples& out) {
  const auto failed = in.view->policy_load_errors;
  out.add(still_open(in.view->policy_loads, failed), {{"outcome", "success"}});
  out.add(failed, {{"outcome", "failure"}});
}

void endpoints(const StatsInput& in, Samples& out) {
  std::map<std::string, std::uint64_t> counts;
  for (const auto& row : in.endpoints) {
    ++counts[row.state];
  }
  for (const auto& [state, count] : counts) {
    out.add(count, {{"state", state}});
  }
}

void connections(const StatsInput& in, Samples& out) {
  out.add(total(in, &WorkerMetrics::http_connections_opened), {{"protocol", "http"}});
  out.add(total(in, &WorkerMetrics::http2_connections_opened), {{"protocol", "http2"}});
  out.add(total(in, &WorkerMetrics::dns_tcp_connections_opened), {{"protocol", "dns"}});
}

void active_connections(const StatsInput& in, Samples& out) {
  out.add(still_open(total(in, &WorkerMetrics::http_connections_opened),
                     total(in, &WorkerMetrics::http_connections_closed)),
          {{"protocol", "http"}});
  out.add(still_open(total(in, &WorkerMetrics::http2_connections_opened),
                     total(in, &WorkerMetrics::http2_connections_closed)),
          {{"protocol", "http2"}});
  out.add(still_open(total(in, &WorkerMetrics::dns_tcp_connections_opened),
                     total(in, &WorkerMetrics::dns_tcp_connections_closed)),
          {{"protocol", "dns"}});
}

void http_requests(const StatsInput& in, Samples& out) {
  for (std::size_t verdict = 0; verdict < kAccessVerdicts; ++verdict) {
    for (std::size_t code = 0; code < 600; ++code) {
      std::uint64_t sum = 0;
      for (const auto* worker : in.workers) {
        sum += worker->http_requests[verdict][code].value();
      }
      if (sum > 0) {
        out.add(sum, {{"code", code == 0 ? "none" : std::to_string(code)},
                      {"verdict", std::string(kVerdicts[verdict])}});
      }
    }
  }
}

template <auto kByVerdict>
void by_verdict(const StatsInput& in, Samples& out) {
  for (std::size_t verdict = 0; verdict < kAccessVerdicts; ++verdict) {
    std::uint64_t sum = 0;
    for (const auto* worker : in.workers) {
      sum += (worker->*kByVerdict)[verdict].value();
    }
    out.add(sum, {{"verdict", std::string(kVerdicts[verdict])}});
  }
}

void dns_responses(const StatsInput& in, Samples& out) {
  for (std::size_t rcode = 0; rcode < kRcodes.size(); ++rcode) {
    std::uint64_t sum = 0;
    for (const auto* worker : in.workers) {
      sum += worker->dns_responses[rcode].value();
    }
    if (sum > 0) {
      out.add(sum, {{"rcode", std::string(kRcodes[rcode])}});
    }
  }
}

// Order of dns::NotLearned.
constexpr std::array<std::string_view, 4> kNotLearnedNames = {"chain", "range", "cluster",
                                                              "private"};

template <auto kMember, const auto& kNames>
void by_reason(const StatsInput& in, Samples& out) {
  for (std::size_t reason = 0; reason < kNames.size(); ++reason) {
    std::uint64_t sum = 0;
    for (const auto* worker : in.workers) {
      sum += (worker->*kMember)[reason].value();
    }
    out.add(sum, {{"reason", std::string(kNames[reason])}});
  }
}

void add_durations(const StatsInput& in, Samples& out, Durations WorkerMetrics::* member,
                   const Labels& labels) {
  std::uint64_t count = 0;
  std::uint64_t sum = 0;
  for (std::size_t bucket = 0; bucket <= Durations::kBounds.size(); ++bucket) {
    for (const auto* worker : in.workers) {
      count += (worker->*member).count(bucket);
    }
    Labels with_bound = labels;
    with_bound.emplace_back(
        "le", bucket < Durations::kBounds.size()
                  ? seconds_text(static_cast<double>(Durations::kBounds[bucket]) * 1e-6)
                  : "+Inf");
    out.add(count, std::move(with_bound), "_bucket");
  }
  for (const auto* worker : in.workers) {
    sum += (worker->*member).sum();
  }
  out.add_seconds(static_cast<double>(sum) * 1e-6, labels, "_sum");
  out.add(count, labels, "_count");
}

void dns_durations(const StatsInput& in, Samples& out) {
  add_durations(in, out, &WorkerMetrics::dns_upstream_time, {{"scope", "upstream"}});
  add_durations(in, out, &WorkerMetrics::dns_held_time, {{"scope", "held"}});
}

void http_durations(const StatsInput& in, Samples& out) {
  add_durations(in, out, &WorkerMetrics::http_duration, {});
}

void audited_flows(const StatsInput& in, Samples& out) {
  if (!in.bpf) {
    return;
  }
  out.add(in.bpf->drops[weir_drop_index(WEIR_DROP_AUDIT, WEIR_INGRESS)],
          {{"direction", "ingress"}});
  out.add(in.bpf->drops[weir_drop_index(WEIR_DROP_AUDIT, WEIR_EGRESS)], {{"direction", "egress"}});
}

void fqdn_evicted(const StatsInput& in, Samples& out) { out.add(in.fqdn_evicted); }

// Of pods that are there still.
template <auto kMember>
void by_pod(const StatsInput& in, Samples& out) {
  for (const auto& pod : in.endpoints) {
    if (const auto at = in.dns_volumes.find(pod.endpoint_namespace + '/' + pod.name);
        at != in.dns_volumes.end()) {
      out.add(at->second.*kMember, {{"namespace", pod.endpoint_namespace}, {"pod", pod.name}});
    }
  }
}

void fqdn_names(const StatsInput& in, Samples& out) {
  std::set<std::string_view> names;
  for (const auto& row : in.fqdn) {
    if (!row.expired) {
      names.insert(row.name);
    }
  }
  out.add(names.size());
}

void fqdn_ips(const StatsInput& in, Samples& out) {
  std::set<std::string_view> addresses;
  for (const auto& row : in.fqdn) {
    if (!row.expired) {
      addresses.insert(row.address);
    }
  }
  out.add(addresses.size());
}

void http2_floods(const StatsInput& in, Samples& out) {
  for (std::size_t kind = 0; kind < kHttp2Floods; ++kind) {
    std::uint64_t sum = 0;
    for (const auto* worker : in.workers) {
      sum += worker->http2_floods[kind].value();
    }
    out.add(sum, {{"kind", std::string(kHttp2FloodNames[kind])}});
  }
}

void drops(const StatsInput& in, Samples& out) {
  if (!in.bpf) {
    return;
  }
  for (const auto& [reason, name] : redirect::drop_names()) {
    out.add(in.bpf->drops[weir_drop_index(reason, WEIR_INGRESS)],
            {{"reason", std::string(name)}, {"direction", "ingress"}});
    out.add(in.bpf->drops[weir_drop_index(reason, WEIR_EGRESS)],
            {{"reason", std::string(name)}, {"direction", "egress"}});
  }
}

void packets(const StatsInput& in, Samples& out) {
  if (!in.bpf) {
    return;
  }
  for (const auto& [verdict, name] : redirect::packet_verdict_names()) {
    out.add(in.bpf->packets[verdict], {{"verdict", std::string(name)}});
  }
}

void events_lost(const StatsInput& in, Samples& out) {
  out.add(total(in, &WorkerMetrics::access_log_lost) + in.flows_unlogged,
          {{"source", "access_log"}});
  if (in.bpf) {
    out.add(in.bpf->packets[WEIR_COUNT_EVENTS_LOST], {{"source", "bpf"}});
  }
  out.add(in.flows_missed, {{"source", "followers"}});
}

void map_entries(const StatsInput& in, Samples& out) {
  for (const auto& map : in.maps) {
    out.add(map.entries, {{"map", map.name}});
  }
}

void map_capacity(const StatsInput& in, Samples& out) {
  for (const auto& map : in.maps) {
    out.add(map.capacity, {{"map", map.name}});
  }
}

void joined_bytes(const StatsInput& in, Samples& out) {
  out.add(in.acceleration.counts[WEIR_JOIN_BYTES_TO_PROXY], {{"to", "proxy"}});
  out.add(in.acceleration.counts[WEIR_JOIN_BYTES_TO_POD], {{"to", "pod"}});
}

void joined_messages(const StatsInput& in, Samples& out) {
  out.add(in.acceleration.counts[WEIR_JOIN_MESSAGES_TO_PROXY], {{"to", "proxy"}});
  out.add(in.acceleration.counts[WEIR_JOIN_MESSAGES_TO_POD], {{"to", "pod"}});
}

void unjoined_messages(const StatsInput& in, Samples& out) {
  for (const auto& [code, name] : kUnjoinedReasons) {
    out.add(in.acceleration.counts[code], {{"reason", std::string(name)}});
  }
}

double seconds_since_epoch(std::chrono::system_clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

void cpu_seconds(const StatsInput& /*in*/, Samples& out) {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    out.add_seconds(static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6);
  }
}

void resident_memory(const StatsInput& /*in*/, Samples& out) {
  std::uint64_t all_pages = 0, resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> all_pages >> resident_pages) {
    out.add(resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
  }
}

void open_fds(const StatsInput& /*in*/, Samples& out) {
  std::error_code failed;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", failed), end; !failed && at != end;
       at.increment(failed)) {
    ++count;
  }
  if (!failed && count > 0) {
    out.add(count - 1); // not the one that reads the folder
  }
}

void max_fds(const StatsInput& /*in*/, Samples& out) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    out.add(limit.rlim_cur);
  }
}

struct Metric {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  void (*collect)(const StatsInput&, Samples&);
};

constexpr std::string_view kCounter = "counter";
constexpr std::string_view kGauge = "gauge";
constexpr std::string_view kHistogram = "histogram";

constexpr Metric kMetrics[] = {
    {"weir_build_info", kGauge, "The version that runs; always 1.",
     +[](const StatsInput& /*in*/, Samples& out) {
       out.add(1, {{"version", std::string(version())}});
     }},
    {"weir_workers", kGauge, "Threads that carry traffic.",
     +[](const StatsInput& in, Samples& out) { out.add(in.workers.size()); }},
    {"weir_policies", kGauge, "Policy documents by kind and what became of them.", policies},
    {"weir_policy_revision", kGauge, "Number of the policy program in force.",
     +[](const StatsInput& in, Samples& out) { out.add(in.view->revision); }},
    {"weir_policy_loaded_timestamp_seconds", kGauge, "When the policies in force were loaded.",
     +[](const StatsInput& in, Samples& out) {
       out.add_seconds(seconds_since_epoch(in.view->loaded_at));
     }},
    {"weir_policy_loads_total", kCounter, "Reads of the policy folder.", policy_loads},
    {"weir_kubernetes_degraded", kGauge,
     "1 while news of the Kubernetes API may be missing or pods are held; enforcement goes on.",
     +[](const StatsInput& in, Samples& out) {
       if (in.cluster.followed) {
         out.add(in.cluster.trouble.empty() ? 0 : 1);
       }
     }},
    {"weir_kubernetes_staleness_seconds", kGauge,
     "Since when the Kubernetes API was last heard of; 0 while it is.",
     +[](const StatsInput& in, Samples& out) {
       if (in.cluster.followed) {
         out.add(static_cast<std::uint64_t>(in.cluster.staleness.count()));
       }
     }},
    {"weir_endpoints", kGauge, "Known pods by state.", endpoints},
    {"weir_connections_total", kCounter, "TCP connections that clients opened.", connections},
    {"weir_connections_active", kGauge, "TCP connections of clients that are open.",
     active_connections},
    {"weir_connections_refused_total", kCounter,
     "Connections for which no endpoint or policy is known.",
     plain<&WorkerMetrics::connections_refused>},
    {"weir_http_requests_total", kCounter, "HTTP requests by status code answered and verdict.",
     http_requests},
    {"weir_http_received_bytes_total", kCounter, "Bytes of HTTP that clients sent.",
     plain<&WorkerMetrics::http_bytes_in>},
    {"weir_http_sent_bytes_total", kCounter, "Bytes of HTTP sent to clients.",
     plain<&WorkerMetrics::http_bytes_out>},
    {"weir_http_request_duration_seconds", kHistogram,
     "Time from a request's head to the end of its answer.", http_durations},
    {"weir_http_policy_resets_total", kCounter,
     "HTTP/1 requests and tunnels under way ended by a change of policy.",
     plain<&WorkerMetrics::http_policy_resets>},
    {"weir_connections_over_limit_total", kCounter,
     "Connections refused because their client has too many, or memory is short.",
     plain<&WorkerMetrics::connections_over_limit>},
    {"weir_http_parse_errors_total", kCounter, "Requests refused because of their form.",
     plain<&WorkerMetrics::http_parse_errors>},
    {"weir_http2_floods_total", kCounter, "HTTP/2 connections ended because of a flood.",
     http2_floods},
    {"weir_http2_protocol_errors_total", kCounter,
     "HTTP/2 connections of clients ended for another violation.",
     plain<&WorkerMetrics::http2_protocol_errors>},
    {"weir_http2_stalls_total", kCounter,
     "HTTP/2 streams and connections ended because the client did not read.",
     plain<&WorkerMetrics::http2_stalls>},
    {"weir_http2_policy_resets_total", kCounter,
     "Running HTTP/2 streams ended by a change of policy.",
     plain<&WorkerMetrics::http2_policy_resets>},
    {"weir_tls_connections_total", kCounter, "TLS connections judged by server name, by verdict.",
     by_verdict<&WorkerMetrics::tls_connections>},
    {"weir_tls_hellos_refused_total", kCounter,
     "Connections whose first bytes were no acceptable ClientHello.",
     plain<&WorkerMetrics::tls_hellos_refused>},
    {"weir_tls_policy_resets_total", kCounter,
     "Running TLS connections ended by a change of policy.",
     plain<&WorkerMetrics::tls_policy_resets>},
    {"weir_tls_handshake_failures_total", kCounter,
     "Handshakes of clients that failed where weir ends their TLS.",
     plain<&WorkerMetrics::tls_handshake_failures>},
    {"weir_upstream_connections_total", kCounter, "Connections opened to servers.",
     plain<&WorkerMetrics::upstream_connections_opened>},
    {"weir_upstream_connect_failures_total", kCounter, "Connections to servers that failed.",
     plain<&WorkerMetrics::upstream_connect_failures>},
    {"weir_upstream_protocol_errors_total", kCounter,
     "Answers of servers refused because of their form.",
     plain<&WorkerMetrics::upstream_protocol_errors>},
    {"weir_dns_queries_total", kCounter, "DNS queries by verdict.",
     by_verdict<&WorkerMetrics::dns_queries>},
    {"weir_dns_responses_total", kCounter, "DNS answers sent by response code.", dns_responses},
    {"weir_dns_refused_total", kCounter, "DNS queries that weir answered itself, by reason.",
     by_reason<&WorkerMetrics::dns_refused, kDnsRefusedTexts>},
    {"weir_dns_pod_queries_total", kCounter, "DNS queries of each pod of this node.",
     by_pod<&PodVolume::queries>},
    {"weir_dns_pod_name_bytes_total", kCounter,
     "Bytes of the names that each pod of this node asked for; many a query may be data on its way "
     "out.",
     by_pod<&PodVolume::name_bytes>},
    {"weir_dns_repeated_total", kCounter,
     "Queries dropped because they repeat one whose answer is awaited.",
     plain<&WorkerMetrics::dns_repeated>},
    {"weir_dns_duration_seconds", kHistogram,
     "Time that servers took to answer (upstream), and that answers were held to learn from "
     "(held).",
     dns_durations},
    {"weir_dns_malformed_total", kCounter, "Messages from clients that are no query.",
     plain<&WorkerMetrics::dns_malformed>},
    {"weir_dns_mismatched_total", kCounter, "Answers dropped: of another question, id or server.",
     plain<&WorkerMetrics::dns_mismatched>},
    {"weir_dns_learned_total", kCounter, "Addresses learned from answers.",
     plain<&WorkerMetrics::dns_learned>},
    {"weir_dns_learn_refused_total", kCounter,
     "Addresses in answers that were not learned: off the CNAME chain or of a refused range.",
     by_reason<&WorkerMetrics::dns_learn_refused, kNotLearnedNames>},
    {"weir_fqdn_binding_refused_total", kCounter,
     "Requests and TLS connections refused for a name that is not one of their address's.",
     plain<&WorkerMetrics::fqdn_binding_refused>},
    {"weir_fqdn_evicted_total", kCounter,
     "Learned addresses given up, because their pod or all pods had too many.", fqdn_evicted},
    {"weir_fqdn_names", kGauge, "Names whose addresses are known.", fqdn_names},
    {"weir_fqdn_ips", kGauge, "Addresses learned from DNS.", fqdn_ips},
    {"weir_drops_total", kCounter, "Packets dropped by reason, as seen from the pod.", drops},
    {"weir_audited_flows_total", kCounter,
     "New flows let pass that an audited policy would have refused.", audited_flows},
    {"weir_packets_total", kCounter, "Packets let through or handed to the proxy.", packets},
    {"weir_events_lost_total", kCounter, "Records for which a buffer had no room.", events_lost},
    {"weir_bpf_readable", kGauge, "1 when the kernel's counters could be read, else 0.",
     +[](const StatsInput& in, Samples& out) { out.add(in.bpf.has_value() ? 1 : 0); }},
    {"weir_bpf_map_entries", kGauge, "Entries in use.", map_entries},
    {"weir_bpf_map_capacity", kGauge, "Entries that fit.", map_capacity},
    {"weir_acceleration_enabled", kGauge, "1 when sockets of chosen pods are joined, else 0.",
     +[](const StatsInput& in, Samples& out) { out.add(in.acceleration.enabled ? 1 : 0); }},
    {"weir_joined_sockets_total", kCounter, "Sockets that were joined.",
     +[](const StatsInput& in, Samples& out) {
       out.add(in.acceleration.counts[WEIR_JOIN_SOCKETS]);
     }},
    {"weir_unjoined_connections_total", kCounter,
     "Connections that were not joined because the ones before them were hardly used.",
     +[](const StatsInput& in, Samples& out) { out.add(in.acceleration.counts[WEIR_JOIN_BRIEF]); }},
    {"weir_joined_bytes_total", kCounter, "Bytes that went straight from socket to socket.",
     joined_bytes},
    {"weir_joined_messages_total", kCounter, "Writes that went straight from socket to socket.",
     joined_messages},
    {"weir_unjoined_messages_total", kCounter,
     "Writes between joined sockets that went by TCP, by reason.", unjoined_messages},
    {"process_cpu_seconds_total", kCounter, "User and system time.", cpu_seconds},
    {"process_resident_memory_bytes", kGauge, "Resident memory.", resident_memory},
    {"process_open_fds", kGauge, "Open file descriptors.", open_fds},
    {"process_max_fds", kGauge, "Limit of open file descriptors.", max_fds},
    {"process_start_time_seconds", kGauge, "When the process started, since the epoch.",
     +[](const StatsInput& in, Samples& out) {
       out.add_seconds(seconds_since_epoch(in.started_at));
     }},
};

void append_escaped(std::string_view text, bool quotes, std::string& out) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || (quotes && c == '"')) {
      out.push_back('\\');
      out.push_back(c);
    } else {
      out.push_back(c);
    }
  }
}

} // namespace

StatsInput take_stats(Source& source, std::chrono::system_clock::time_point started_at) {
  StatsInput input;
  input.view = source.view();
  input.endpoints = source.endpoints();
  input.workers = source.worker_metrics();
  for (const auto* worker : input.workers) {
    worker->dns_volumes.add_to(input.dns_volumes);
  }
  input.fqdn = source.fqdn();
  input.fqdn_evicted = source.fqdn_evicted();
  input.cluster = source.cluster_health();
  input.bpf = source.bpf_counters();
  input.maps = source.bpf_map_use();
  input.acceleration = source.acceleration();
  input.flows_missed = source.flows().missed();
  input.flows_unlogged = source.flows().unlogged();
  input.started_at = started_at;
  if (!input.bpf) {
    log::debug("stats: {}", input.bpf.error().text());
  }
  return input;
}

std::string stats_text(const StatsInput& input) {
  std::string text;
  for (const auto& metric : kMetrics) {
    Samples samples;
    metric.collect(input, samples);
    for (const auto& sample : samples.all()) {
      text += metric.name;
      text += sample.suffix;
      for (const auto& [label, value] : sample.labels) {
        text += ".";
        text += label;
        text += ".";
        append_escaped(value, false, text);
      }
      text += ": " + sample.value + "\n";
    }
  }
  return text;
}

std::string stats_prometheus(const StatsInput& input) {
  std::string text;
  for (const auto& metric : kMetrics) {
    Samples samples;
    metric.collect(input, samples);
    if (samples.all().empty()) {
      continue;
    }
    text += "# HELP " + std::string(metric.name) + " ";
    append_escaped(metric.help, false, text);
    text += "\n# TYPE " + std::string(metric.name) + " " + std::string(metric.type) + "\n";
    for (const auto& sample : samples.all()) {
      text += metric.name;
      text += sample.suffix;
      char before = '{';
      for (const auto& [label, value] : sample.labels) {
        text.push_back(std::exchange(before, ','));
        text += label;
        text += "=\"";
        append_escaped(value, true, text);
        text.push_back('"');
      }
      text += sample.labels.empty() ? " " : "} ";
      text += sample.value + "\n";
    }
  }
  return text;
}

} // namespace weir::admin
