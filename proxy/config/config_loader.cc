#include "proxy/config/config_loader.h"

#include "proxy/base/file.h"
#include "redirect-bpf/abi/weir_abi.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <type_traits>
#include <variant>

namespace weir::config {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kHour = 3600;
constexpr std::size_t kMaxFile = kMiB;

constexpr std::pair<std::string_view, RedirectMode> kRedirectModes[] = {
    {"bpf", RedirectMode::kBpf}, {"none", RedirectMode::kNone}};
constexpr std::pair<std::string_view, ListenerProtocol> kProtocols[] = {
    {"http", ListenerProtocol::kHttp},
    {"dns", ListenerProtocol::kDns},
    {"tcp", ListenerProtocol::kTcp}};
constexpr std::pair<std::string_view, ListenerDirection> kDirections[] = {
    {"ingress", ListenerDirection::kIngress}, {"egress", ListenerDirection::kEgress}};

constexpr std::pair<std::string_view, DnsRefusal> kRefusals[] = {
    {"auto", DnsRefusal::kAuto},
    {"refused", DnsRefusal::kRefused},
    {"nxdomain", DnsRefusal::kNxDomain}};
constexpr std::pair<std::string_view, ForwardedFields> kForwardedFields[] = {
    {"strip", ForwardedFields::kStrip}, {"keep", ForwardedFields::kKeep}};
constexpr std::pair<std::string_view, Denials> kDenials[] = {{"explained", Denials::kExplained},
                                                             {"plain", Denials::kPlain}};
constexpr std::pair<std::string_view, Connect> kConnects[] = {{"refuse", Connect::kRefuse},
                                                              {"judge", Connect::kJudge}};
constexpr std::pair<std::string_view, AccessLogFormat> kLogFormats[] = {
    {"json", AccessLogFormat::kJson}, {"envoy", AccessLogFormat::kEnvoy}};

// The words that a key's value may be.
template <typename T>
constexpr std::span<const std::pair<std::string_view, T>> words_of() {
  if constexpr (std::is_same_v<T, RedirectMode>) {
    return kRedirectModes;
  } else if constexpr (std::is_same_v<T, DnsRefusal>) {
    return kRefusals;
  } else if constexpr (std::is_same_v<T, ForwardedFields>) {
    return kForwardedFields;
  } else if constexpr (std::is_same_v<T, Denials>) {
    return kDenials;
  } else if constexpr (std::is_same_v<T, Connect>) {
    return kConnects;
  } else {
    return kLogFormats;
  }
}

struct StaticType {};
constexpr std::pair<std::string_view, StaticType> kListenerTypes[] = {{"static", {}}};

// Where in Config a key's value goes; the type says how it is read.
template <typename T>
using Member = T& (*)(Config&);
using Target =
    std::variant<Member<std::string>, Member<std::uint32_t>, Member<ByteCount>,
                 Member<std::chrono::seconds>, Member<std::chrono::milliseconds>,
                 Member<SocketAddress>, Member<RedirectMode>, Member<ForwardedFields>,
                 Member<Denials>, Member<Connect>, Member<AccessLogFormat>, Member<DnsRefusal>,
                 Member<bool>, Member<DnsName>, Member<std::vector<IpPrefix>>,
                 Member<std::vector<std::string>>, Member<std::vector<PodPattern>>>;

// Every key but those of `listeners`. Bounds are in the member's unit; texts and addresses have
// none.
struct Key {
  std::string_view section; // empty: at the top
  std::string_view name;
  Target target;
  std::uint64_t least = 0, most = 0;
};

constexpr Key kKeys[] = {
    {"", "workers", +[](Config& c) -> std::uint32_t& { return c.workers; }, 0, WEIR_MAX_WORKERS},
    {"", "drainTimeout", +[](Config& c) -> std::chrono::seconds& { return c.drain_timeout; }, 1,
     kHour},
    {"node", "name", +[](Config& c) -> std::string& { return c.node.name; }},
    {"policies", "directory", +[](Config& c) -> std::string& { return c.policies.directory; }},
    {"endpoints", "file", +[](Config& c) -> std::string& { return c.endpoints.file; }},
    {"kubernetes", "kubeconfig",
     +[](Config& c) -> std::string& { return c.kubernetes.kubeconfig; }},
    {"kubernetes", "ignoreLabels",
     +[](Config& c) -> std::vector<std::string>& { return c.kubernetes.ignore_labels; }},
    {"kubernetes", "holdNewPods", +[](Config& c) -> bool& { return c.kubernetes.hold_new_pods; }},
    {"kubernetes", "holdNewPodsFor",
     +[](Config& c) -> std::chrono::seconds& { return c.kubernetes.hold_new_pods_for; }, 0,
     24 * kHour},
    {"kubernetes", "otherInterfaces",
     +[](Config& c) -> std::vector<std::string>& { return c.kubernetes.other_interfaces; }},
    {"state", "directory", +[](Config& c) -> std::string& { return c.state.directory; }},
    {"redirect", "mode", +[](Config& c) -> RedirectMode& { return c.redirect.mode; }},
    {"redirect", "bpffs", +[](Config& c) -> std::string& { return c.redirect.bpffs; }},
    {"acceleration", "enabled", +[](Config& c) -> bool& { return c.acceleration.enabled; }},
    {"acceleration", "pods",
     +[](Config& c) -> std::vector<PodPattern>& { return c.acceleration.pods; }},
    {"admin", "address", +[](Config& c) -> SocketAddress& { return c.admin; }},
    {"metrics", "address", +[](Config& c) -> SocketAddress& { return c.metrics; }},
    {"accessLog", "path", +[](Config& c) -> std::string& { return c.access_log.path; }},
    {"accessLog", "format", +[](Config& c) -> AccessLogFormat& { return c.access_log.format; }},
    {"accessLog", "maxDenialsPerSecond",
     +[](Config& c) -> std::uint32_t& { return c.access_log.max_denials_per_second; }, 1,
     1'000'000},
    {"http", "maxHead", +[](Config& c) -> ByteCount& { return c.http.max_head; }, kKiB, kMiB},
    {"http", "maxTarget", +[](Config& c) -> ByteCount& { return c.http.max_target; }, 64, kMiB},
    {"http", "maxHeaders", +[](Config& c) -> std::uint32_t& { return c.http.max_headers; }, 1,
     10'000},
    {"http", "headTimeout", +[](Config& c) -> std::chrono::seconds& { return c.http.head_timeout; },
     1, kHour},
    {"http", "idleTimeout", +[](Config& c) -> std::chrono::seconds& { return c.http.idle_timeout; },
     1, 24 * kHour},
    {"http", "connectTimeout",
     +[](Config& c) -> std::chrono::seconds& { return c.http.connect_timeout; }, 1, kHour},
    {"http", "maxConnectionsPerPod",
     +[](Config& c) -> std::uint32_t& { return c.http.max_connections_per_pod; }, 1, 1'000'000},
    {"http", "forwardedFields",
     +[](Config& c) -> ForwardedFields& { return c.http.forwarded_fields; }},
    {"http", "denials", +[](Config& c) -> Denials& { return c.http.denials; }},
    {"http", "connect", +[](Config& c) -> Connect& { return c.http.connect; }},
    {"http2", "maxStreams", +[](Config& c) -> std::uint32_t& { return c.http2.max_streams; }, 1,
     10'000},
    {"http2", "streamWindow", +[](Config& c) -> ByteCount& { return c.http2.stream_window; },
     64 * kKiB - 1, 64 * kMiB},
    {"http2", "connectionWindow",
     +[](Config& c) -> ByteCount& { return c.http2.connection_window; }, 64 * kKiB - 1, 64 * kMiB},
    {"http2", "writeTimeout",
     +[](Config& c) -> std::chrono::seconds& { return c.http2.write_timeout; }, 1, kHour},
    {"secrets", "directory", +[](Config& c) -> std::string& { return c.secrets.directory; }},
    {"tls", "helloTimeout", +[](Config& c) -> std::chrono::seconds& { return c.tls.hello_timeout; },
     1, kHour},
    {"tls", "answerTimeout",
     +[](Config& c) -> std::chrono::seconds& { return c.tls.answer_timeout; }, 1, kHour},
    {"tls", "idleTimeout", +[](Config& c) -> std::chrono::seconds& { return c.tls.idle_timeout; },
     1, 24 * kHour},
    {"tls", "handshakeTimeout",
     +[](Config& c) -> std::chrono::seconds& { return c.tls.handshake_timeout; }, 1, kHour},
    {"dns", "upstreamTimeout",
     +[](Config& c) -> std::chrono::milliseconds& { return c.dns.upstream_timeout; }, 1, 60'000},
    {"dns", "tcpIdle", +[](Config& c) -> std::chrono::seconds& { return c.dns.tcp_idle; }, 1,
     kHour},
    {"dns", "maxInFlight", +[](Config& c) -> std::uint32_t& { return c.dns.max_in_flight; }, 1,
     60'000},
    {"dns", "maxInFlightPerPod",
     +[](Config& c) -> std::uint32_t& { return c.dns.max_in_flight_per_pod; }, 1, 60'000},
    {"dns", "refusal", +[](Config& c) -> DnsRefusal& { return c.dns.refusal; }},
    {"dns", "clusterDomain", +[](Config& c) -> DnsName& { return c.dns.cluster_domain; }},
    {"dns", "maxNames", +[](Config& c) -> std::uint32_t& { return c.dns.max_names; }, 1, 1'000'000},
    {"dns", "maxAddresses", +[](Config& c) -> std::uint32_t& { return c.dns.max_addresses; }, 1,
     1'000'000},
    {"dns", "maxTotal", +[](Config& c) -> std::uint32_t& { return c.dns.max_total; }, 1, 65'536},
    {"dns", "resolvers", +[](Config& c) -> std::vector<IpPrefix>& { return c.dns.resolvers; }},
    {"dns", "clusterRanges",
     +[](Config& c) -> std::vector<IpPrefix>& { return c.dns.cluster_ranges; }},
    {"dns", "learnPrivate", +[](Config& c) -> bool& { return c.dns.learn_private; }},
    {"dns", "observe", +[](Config& c) -> bool& { return c.dns.observe; }},
    {"dns", "lenient", +[](Config& c) -> bool& { return c.dns.lenient; }},
    {"dns", "minTtl", +[](Config& c) -> std::chrono::seconds& { return c.dns.min_ttl; }, 1,
     24 * kHour},
    {"dns", "grace", +[](Config& c) -> std::chrono::seconds& { return c.dns.grace; }, 1,
     24 * kHour},
};

std::string bound_text(std::uint64_t bound, std::uint32_t /*kind*/) {
  return std::to_string(bound);
}
std::string bound_text(std::uint64_t bound, YamlBytes /*kind*/) {
  if (bound >= kMiB && bound % kMiB == 0) {
    return std::to_string(bound / kMiB) + "MiB";
  }
  return bound % kKiB == 0 ? std::to_string(bound / kKiB) + "KiB" : std::to_string(bound) + "B";
}
std::string bound_text(std::uint64_t bound, std::chrono::seconds /*kind*/) {
  return bound % kHour == 0 ? std::to_string(bound / kHour) + "h" : std::to_string(bound) + "s";
}
std::string bound_text(std::uint64_t bound, std::chrono::milliseconds /*kind*/) {
  return bound % 1000 == 0 ? std::to_string(bound / 1000) + "s" : std::to_string(bound) + "ms";
}

std::uint64_t count_of(std::uint32_t value) { return value; }
std::uint64_t count_of(YamlBytes value) { return value.count; }
template <typename Ratio>
std::uint64_t count_of(std::chrono::duration<std::int64_t, Ratio> value) {
  return static_cast<std::uint64_t>(value.count());
}

std::string in_quotes(const YamlFields& fields, std::string_view key) {
  return "`" + fields.path_of(key) + "`";
}

template <typename T>
std::optional<T> bounded(YamlFields& fields, const Key& key) {
  const auto value = fields.find<T>(key.name);
  if (value && (count_of(*value) < key.least || count_of(*value) > key.most)) {
    fields.error(key.name, in_quotes(fields, key.name) + " must be from " +
                               bound_text(key.least, T{}) + " to " + bound_text(key.most, T{}));
    return std::nullopt;
  }
  return value;
}

} // namespace

template <>
struct YamlType<DnsName> {
  static constexpr std::string_view kExpected = "a domain name such as cluster.local";
  static std::optional<DnsName> read(const YamlScalar& scalar) {
    return DnsName::from_text(scalar.text);
  }
};
template <>
struct YamlType<PodPattern> {
  static constexpr std::string_view kExpected =
      "NAMESPACE/NAME, where each of both may be * for any";
  static std::optional<PodPattern> read(const YamlScalar& scalar) {
    return PodPattern::parse(scalar.text);
  }
};

namespace {

template <typename T>
std::optional<T> value_of(YamlFields& fields, const Key& key, Member<T>) {
  if constexpr (std::is_same_v<T, ByteCount>) {
    const auto bytes = bounded<YamlBytes>(fields, key);
    return bytes ? std::optional(bytes->count) : std::nullopt;
  } else if constexpr (std::is_enum_v<T>) {
    return fields.choice<T>(key.name, words_of<T>());
  } else if constexpr (std::is_same_v<T, std::vector<IpPrefix>>) {
    return fields.list<IpPrefix>(key.name);
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    return fields.has(key.name) ? std::optional(fields.list<std::string>(key.name)) : std::nullopt;
  } else if constexpr (std::is_same_v<T, std::vector<PodPattern>>) {
    return fields.list<PodPattern>(key.name);
  } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, SocketAddress> ||
                       std::is_same_v<T, bool> || std::is_same_v<T, DnsName>) {
    return fields.find<T>(key.name);
  } else {
    return bounded<T>(fields, key);
  }
}

struct ReadKey {
  Config& config;
  YamlFields& fields;
  const Key& key;

  template <typename T>
  void operator()(Member<T> member) const {
    if (auto value = value_of(fields, key, member)) {
      member(config) = std::move(*value);
    }
  }
};

// --- what must hold beyond a single value

void check_port(YamlFields& fields, std::string_view key, const SocketAddress& address) {
  if (address.port == 0) {
    fields.error(key, "the port of " + in_quotes(fields, key) + " must not be 0");
  }
}

bool is_loopback(const IpAddress& ip) {
  static const IpPrefix kV4 = *IpPrefix::parse("127.0.0.0/8");
  static const IpPrefix kV6 = *IpPrefix::parse("::1/128");
  return kV4.contains(ip) || kV6.contains(ip);
}

void check_section(const Config& config, std::string_view section, YamlFields& fields) {
  if (section == "admin") {
    check_port(fields, "address", config.admin);
    // Whoever reaches it may drain and end the process: there is no log-in.
    if (!is_loopback(config.admin.ip)) {
      fields.error("address", "`admin.address` must be a loopback address",
                   "what others may read is served on `metrics.address`");
    }
  } else if (section == "metrics") {
    check_port(fields, "address", config.metrics);
  } else if (section == "redirect") {
    const std::string& path = config.redirect.bpffs;
    // The kernel refuses pins whose path has a dot.
    if (path.front() != '/' || path.find('.') != std::string::npos) {
      fields.error("bpffs", "`redirect.bpffs` must be an absolute path without dots");
    }
  }
}

bool is_full_name(std::string_view text) {
  const auto slash = text.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < text.size() &&
         text.find('/', slash + 1) == std::string_view::npos;
}

StaticListener read_listener(YamlFields& fields) {
  StaticListener listener;
  listener.name = fields.required<std::string>("name").value_or("");
  static_cast<void>(fields.choice<StaticType>("type", kListenerTypes));
  if (const auto address = fields.required<SocketAddress>("address")) {
    check_port(fields, "address", *address);
    listener.address = *address;
  }
  if (const auto upstream = fields.required<SocketAddress>("upstream")) {
    check_port(fields, "upstream", *upstream);
    listener.upstream = *upstream;
  }
  if (fields.require("protocol")) {
    listener.protocol =
        fields.choice<ListenerProtocol>("protocol", kProtocols).value_or(ListenerProtocol::kHttp);
  }
  if (fields.require("direction")) {
    listener.direction = fields.choice<ListenerDirection>("direction", kDirections)
                             .value_or(ListenerDirection::kIngress);
  }
  listener.endpoint = fields.required<std::string>("endpoint").value_or("");
  if (!listener.endpoint.empty() && !is_full_name(listener.endpoint)) {
    fields.error("endpoint", in_quotes(fields, "endpoint") + " must be namespace/name");
  }
  listener.peer = fields.required<std::string>("peer").value_or("");
  if (listener.peer.find('/') != std::string::npos && !is_full_name(listener.peer)) {
    fields.error("peer",
                 in_quotes(fields, "peer") + " must be namespace/name, an address or an entity");
  }
  if (const auto port = fields.find<std::uint16_t>("port")) {
    if (*port == 0) {
      fields.error("port", in_quotes(fields, "port") + " must not be 0",
                   "leave it out to have the upstream's");
    }
    listener.port = *port;
  } else {
    listener.port = listener.upstream.port;
  }
  fields.finish();
  return listener;
}

void read_listeners(Config& config, YamlFields& root) {
  for (YamlFields& fields : root.mappings("listeners")) {
    StaticListener listener = read_listener(fields);
    for (const auto& earlier : config.listeners) {
      if (!listener.name.empty() && earlier.name == listener.name) {
        fields.error("name", "a second listener named `" + listener.name + "`");
      }
      if (listener.address.port != 0 && earlier.address == listener.address) {
        fields.error("address", "`" + earlier.name + "` listens on " +
                                    listener.address.to_string() + " already");
      }
    }
    if (listener.address == config.admin || listener.address == config.metrics) {
      fields.error("address", "weir's own admin or metrics address");
    }
    config.listeners.push_back(std::move(listener));
  }
}

// --- defaults that the machine decides

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return gethostname(name.data(), name.size() - 1) == 0 && name.front() != '\0' ? name.data()
                                                                                : "localhost";
}

// Cores that this process may run on: fewer than the machine has in a container with a cpuset.
std::uint32_t cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return static_cast<std::uint32_t>(std::clamp(count, 1, WEIR_MAX_WORKERS));
}

Config defaults() {
  Config config;
  const char* node = std::getenv("WEIR_NODE_NAME"); // a DaemonSet's pod is told what it runs on
  config.node.name = node != nullptr && *node != '\0' ? node : host_name();
  config.admin = *SocketAddress::parse("127.0.0.1:9931");
  config.metrics = *SocketAddress::parse("0.0.0.0:9932");
  return config;
}

} // namespace

LoadedConfig parse_config(std::string file, const std::string& text) {
  YamlDocument document(std::move(file), text);
  Config config = defaults();
  YamlFields root = document.root();
  config.kubernetes.enabled = root.has("kubernetes");
  if (config.kubernetes.enabled && root.has("endpoints")) {
    root.error("endpoints", "`endpoints` and `kubernetes` exclude each other",
               "pods come from a file or from the Kubernetes API");
  }
  for (const Key* key = std::begin(kKeys); key != std::end(kKeys);) {
    const auto section = key->section;
    const auto read_section = [&](YamlFields& fields) {
      for (; key != std::end(kKeys) && key->section == section; ++key) {
        std::visit(ReadKey{config, fields, *key}, key->target);
      }
    };
    if (section.empty()) {
      read_section(root);
      continue;
    }
    YamlFields fields = root.mapping(section);
    read_section(fields);
    check_section(config, section, fields);
    fields.finish();
  }
  if (config.admin == config.metrics) {
    root.error("metrics", "`admin.address` and `metrics.address` are the same");
  }
  read_listeners(config, root);
  root.finish();
  if (config.workers == 0) {
    config.workers = cores();
  }
  LoadedConfig loaded;
  loaded.errors = document.errors();
  if (loaded.errors.empty()) {
    loaded.config = ValidatedConfig(std::move(config));
  }
  return loaded;
}

namespace {

struct ValueText {
  Config& config;

  template <typename T>
  std::string operator()(Member<T> member) const {
    const T& value = member(config);
    if constexpr (std::is_same_v<T, std::string>) {
      return value;
    } else if constexpr (std::is_same_v<T, SocketAddress>) {
      return value.to_string();
    } else if constexpr (std::is_enum_v<T>) {
      return std::to_string(static_cast<int>(value));
    } else if constexpr (std::is_arithmetic_v<T>) {
      return std::to_string(value);
    } else if constexpr (requires { value.count(); }) {
      return std::to_string(value.count());
    } else if constexpr (std::is_same_v<T, DnsName>) {
      return value.to_text();
    } else {
      std::string list;
      for (const auto& item : value) {
        list += list.empty() ? "" : ", ";
        if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          list += item;
        } else {
          list += item.to_string();
        }
      }
      return list;
    }
  }
  template <typename T>
  std::string operator()(T /*only one value*/) const {
    return "";
  }
};

} // namespace

std::vector<std::pair<std::string, std::string>> key_values(Config config) {
  std::vector<std::pair<std::string, std::string>> values;
  for (const Key& key : kKeys) {
    const std::string section(key.section);
    values.emplace_back((section.empty() ? "" : section + ".") + std::string(key.name),
                        std::visit(ValueText{config}, key.target));
  }
  return values;
}

LoadedConfig load_config(const std::string& path) {
  const auto text = read_file(path, kMaxFile);
  if (!text) {
    LoadedConfig failed;
    failed.errors.push_back({path, 0, 0, text.error().code.message(), ""});
    return failed;
  }
  return parse_config(path, *text);
}

} // namespace weir::config
