// weir.yaml as plain data: every field has its default and its unit. Read by config_loader.h; a
// part of the program is given the small struct that it needs, never the whole.
#pragma once

#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "proxy/config/pod_pattern.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weir::config {

using ByteCount = std::size_t;

struct Node {
  std::string name; // default: the host's name
};

struct Policies {
  std::string directory = "/etc/weir/policies"; // *.yaml, a ConfigMap mount or a plain folder
};

struct Endpoints {
  std::string file = "/etc/weir/endpoints.yaml";
};

// Where the section is there, pods, services and policies come from the Kubernetes API; policy
// files are read beside them, `endpoints` is not.
struct Kubernetes {
  bool enabled = false;
  std::string kubeconfig; // empty: the pod's own service account
  // Labels that do not make an identity: those that no two pods, or no two versions of one, share.
  std::vector<std::string> ignore_labels = {"pod-template-hash",
                                            "controller-revision-hash",
                                            "pod-template-generation",
                                            "controller-uid",
                                            "batch.kubernetes.io/controller-uid",
                                            "batch.kubernetes.io/job-completion-index",
                                            "apps.kubernetes.io/pod-index",
                                            "statefulset.kubernetes.io/pod-name"};
  bool hold_new_pods = true; // an interface of a pod that is not known yet lets nothing pass
  std::chrono::seconds hold_new_pods_for{0}; // then it passes unjudged; 0: however long it takes
  // Interfaces that lead to other namespaces and are no pods'; a `*` at the end stands for any
  // rest.
  std::vector<std::string> other_interfaces;
};

struct State {
  std::string directory = "/var/lib/weir";
};

enum class RedirectMode : std::uint8_t { kBpf, kNone };

struct Redirect {
  RedirectMode mode = RedirectMode::kBpf;
  std::string bpffs = "/sys/fs/bpf";
};

// What becomes of Forwarded and X-Forwarded-* of pods, who can claim anything there.
enum class ForwardedFields : std::uint8_t { kStrip, kKeep };

// What a denial tells the client beside who denied it.
enum class Denials : std::uint8_t {
  kExplained, // rule and nearest miss, to clients that accept application/problem+json
  kPlain,     // "Access denied", and no more
};

// What becomes of the method CONNECT.
enum class Connect : std::uint8_t { kRefuse, kJudge };

// Joining the sockets of the proxy and of pods (redirect-bpf/README.md says what that asks of
// them).
struct Acceleration {
  bool enabled = false;
  std::vector<PodPattern> pods; // that may be joined
};

struct Http {
  ByteCount max_head = 60 * 1024;         // longer: 431
  ByteCount max_target = 16 * 1024;       // longer: 414
  std::uint32_t max_headers = 100;        // more: 431
  std::chrono::seconds head_timeout{10};  // first byte to end of head, else 408
  std::chrono::seconds idle_timeout{300}; // between requests
  std::chrono::seconds connect_timeout{5};
  // Of one client address, at each worker; more are reset. Beyond what an honest pod holds, below
  // what lets one pod use up the process's descriptors.
  std::uint32_t max_connections_per_pod = 10'000;
  ForwardedFields forwarded_fields = ForwardedFields::kStrip;
  Denials denials = Denials::kExplained;
  Connect connect = Connect::kRefuse;
};

struct Http2 {
  std::uint32_t max_streams = 100;           // at once on a client's connection
  ByteCount stream_window = 256 * 1024;      // unread bytes held for one stream
  ByteCount connection_window = 1024 * 1024; // unread bytes held for one connection
  std::chrono::seconds write_timeout{30};    // a peer that takes no byte at all
};

struct Secrets {
  // NAMESPACE/NAME/ITEM: a folder for each secret, as mounted. Only those that policies name are
  // read.
  std::string directory = "/etc/weir/secrets";
};

struct Tls {
  std::chrono::seconds hello_timeout{10};     // to the end of the ClientHello
  std::chrono::seconds answer_timeout{30};    // passed on unread: for the server's first record
  std::chrono::seconds idle_timeout{3600};    // passed on unread: no byte either way
  std::chrono::seconds handshake_timeout{10}; // ended or begun by weir: for each side
};

// What a name that no rule allows is answered. kAuto: REFUSED, but NXDOMAIN where a resolver that
// completes short names would next ask for one that is allowed: REFUSED ends its search.
enum class DnsRefusal : std::uint8_t { kAuto, kRefused, kNxDomain };

struct Dns {
  std::chrono::milliseconds upstream_timeout{3000}; // then SERVFAIL
  std::chrono::seconds tcp_idle{30};                // a client's connection, between its queries
  std::uint32_t max_in_flight = 2048;               // queries of a worker
  std::uint32_t max_in_flight_per_pod = 512;        // of these
  DnsRefusal refusal = DnsRefusal::kAuto;
  DnsName cluster_domain = *DnsName::from_text("cluster.local"); // of the pods' search lists

  std::chrono::seconds min_ttl{60};     // a shorter TTL is learned as this
  std::chrono::seconds grace{60};       // learned addresses outlive their TTL by this
  std::uint32_t max_names = 8192;       // learned by one pod
  std::uint32_t max_addresses = 16384;  // of one pod, once for each name that they have
  std::uint32_t max_total = 60000;      // of all pods together; the kernel holds 65536
  std::vector<IpPrefix> resolvers;      // believed besides kube-dns and the node's own servers
  std::vector<IpPrefix> cluster_ranges; // of pods and services: never learned
  bool learn_private = true;            // RFC 1918, RFC 6598 and RFC 4193 addresses
  bool observe = true;  // learn for toFQDNs from queries that are allowed without a DNS rule
  bool lenient = false; // learn every address of an answer, on the CNAME chain or not
};

enum class ListenerProtocol : std::uint8_t { kHttp, kDns, kTcp };
enum class ListenerDirection : std::uint8_t { kIngress, kEgress };

// A static listener: fixed address, fixed upstream, no BPF (DESIGN §9).
struct StaticListener {
  std::string name;
  SocketAddress address;
  SocketAddress upstream;
  ListenerProtocol protocol = ListenerProtocol::kHttp;
  ListenerDirection direction = ListenerDirection::kIngress;
  std::string endpoint;   // namespace/name whose policy is asked
  std::string peer;       // namespace/name, an address, or an entity such as world
  std::uint16_t port = 0; // that policy sees; filled with the upstream's when absent
};

enum class AccessLogFormat : std::uint8_t { kJson, kEnvoy };

struct AccessLog {
  std::string path = "/dev/stdout";
  AccessLogFormat format = AccessLogFormat::kJson;
  // Lines for requests that were denied or malformed, of each worker; the rest are only counted,
  // so that a flood of them neither fills the disk nor pushes the other lines out.
  std::uint32_t max_denials_per_second = 1000;
};

struct Config {
  Node node;
  Policies policies;
  Endpoints endpoints;
  Kubernetes kubernetes;
  State state;
  std::uint32_t workers = 0; // 0 in the file or absent: one a core; filled by the loader
  Redirect redirect;
  Acceleration acceleration;
  SocketAddress admin;   // default 127.0.0.1:9931
  SocketAddress metrics; // default :9932 on every address
  AccessLog access_log;
  Http http;
  Http2 http2;
  Secrets secrets;
  Tls tls;
  Dns dns;
  std::vector<StaticListener> listeners;
  std::chrono::seconds drain_timeout{25};
};

} // namespace weir::config
