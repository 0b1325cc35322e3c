// A node with pods and a world, as network namespaces: what the integration tests run weir in.
//
//      pod "client"         pod "web"                        node            world
//     ┌────────────┐      ┌────────────┐  lxcclient ┌──────────────────┐    ┌───────────────────┐
//     │ 10.0.1.11  ├──────┤ 10.0.1.12  ├────────────┤ routes, weir     ├────┤ nginx, dnsmasq    │
//     │ fd00:10:1… │ veth │            │  lxcweb    │ 172.31.0.1       │    │ 203.0.113.10, .20 │
//     └────────────┘      └────────────┘            └──────────────────┘    └───────────────────┘
//
// Pods are routed, one address of a family each, through a static neighbour on the host side of
// their veth, as Calico does it. The world is the end: nothing leads out of the machine. Every lab
// has namespaces, a folder and a bpffs of its own, so labs run side by side.
//
// Ownership: the lab owns namespaces, servers, weir and the folder; all are gone with it. When the
// test is failing, it first prints weir's log.
// Thread: one, except what NetNs and HttpConnection allow.
// Errors: whatever cannot be set up throws.
#pragma once

#include "test/support/lab_http.h"
#include "test/support/netns.h"
#include "test/support/process.h"
#include "test/support/temp_folder.h"

#include <boost/json/value.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::test {

enum class Family { kV4, kV6 };
[[nodiscard]] std::string to_string(Family family);
[[nodiscard]] std::string url_host(const std::string& address); // IPv6 in brackets

// Waits until `condition` holds, asking anew every few milliseconds. False when `limit` passed: the
// caller says what was expected.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds limit = std::chrono::seconds(10));

// A BPF file system of its own: what is pinned there is gone with it.
class BpffsMount {
public:
  explicit BpffsMount(std::filesystem::path path);
  BpffsMount(const BpffsMount&) = delete;
  BpffsMount& operator=(const BpffsMount&) = delete;
  ~BpffsMount();

  [[nodiscard]] const std::filesystem::path& path() const { return x_path; }

private:
  std::filesystem::path x_path;
};

void write_file(const std::filesystem::path& path, const std::string& text);
[[nodiscard]] std::string read_file(const std::filesystem::path& path); // "" when there is none

// Policies as kubelet lays out a ConfigMap mount: NAME → ..data/NAME, and ..data → a folder that is
// exchanged as a whole by renaming a link.
class PolicyFolder {
public:
  explicit PolicyFolder(std::filesystem::path path);
  // The new, complete content: file name → text.
  void publish(const std::map<std::string, std::string>& files);
  [[nodiscard]] const std::filesystem::path& path() const { return x_path; }

private:
  std::filesystem::path x_path;
  unsigned x_generation = 0;
};

// An nginx that answers every request with 200, "NAME\n" and the client's port in x-client-port,
// and writes a line for each: "CLIENT METHOD TARGET STATUS".
class HttpServer {
public:
  // Inside `where` on every address; nullptr: on 127.0.0.1 of the machine.
  HttpServer(const NetNs* where, const std::filesystem::path& folder, const std::string& name,
             std::uint16_t port);

  // What has been logged. A request answered before `marker`, a target asked for just now, is
  // in it: waits for the marker's line, and leaves it out.
  [[nodiscard]] std::vector<std::string> requests_before(const std::string& marker) const;
  [[nodiscard]] std::uint16_t port() const { return x_port; }

private:
  std::filesystem::path x_log;
  std::uint16_t x_port;
  Process x_process;
};

// dnsmasq with the names below, over UDP and TCP; unknown names do not exist.
class DnsServer {
public:
  // nullptr: on 127.0.0.1 of the machine.
  DnsServer(const NetNs* where, const std::vector<std::string>& addresses,
            const std::filesystem::path& folder, std::uint16_t port);
  // Names that were asked for, oldest first, with repetitions.
  [[nodiscard]] std::vector<std::string> queries() const;
  [[nodiscard]] std::uint16_t port() const { return x_port; }

private:
  std::filesystem::path x_log;
  std::uint16_t x_port;
  Process x_process;
};

inline constexpr const char* kAllowedName = "api.example.test"; // kAllowedV4, kAllowedV6
inline constexpr const char* kAliasName = "www.example.test";   // CNAME of kAllowedName
inline constexpr const char* kOtherName = "other.example.test"; // kOtherV4, kOtherV6
inline constexpr const char* kAllowedV4 = "203.0.113.10";
inline constexpr const char* kAllowedV6 = "2001:db8:203::10";
inline constexpr const char* kOtherV4 = "203.0.113.20";
inline constexpr const char* kOtherV6 = "2001:db8:203::20";
inline constexpr const char* kDnsV4 = "10.0.2.53"; // a pod of another node: kube-system/dns
inline constexpr const char* kDnsV6 = "fd00:10:2::53";

[[nodiscard]] inline std::string allowed_address(Family family) {
  return family == Family::kV4 ? kAllowedV4 : kAllowedV6;
}
[[nodiscard]] inline std::string other_address(Family family) {
  return family == Family::kV4 ? kOtherV4 : kOtherV6;
}
[[nodiscard]] inline std::string dns_address(Family family) {
  return family == Family::kV4 ? kDnsV4 : kDnsV6;
}

struct PodSpec {
  std::string pod_namespace;
  std::string name;
  std::map<std::string, std::string> labels;
};

struct CurlResult {
  int exit_code = -1; // curl's own: kCurlTimeout, …
  int status = 0;     // 0: no answer
  std::string body;
  std::string text; // for INFO(): everything that curl printed
};
inline constexpr int kCurlTimeout = 28;

class Pod {
public:
  Pod(PodSpec spec, unsigned number, std::filesystem::path folder);

  [[nodiscard]] const PodSpec& spec() const { return x_spec; }
  [[nodiscard]] std::string full_name() const { return x_spec.pod_namespace + "/" + x_spec.name; }
  [[nodiscard]] const NetNs& netns() const { return *x_netns; }
  [[nodiscard]] std::string address(Family family) const;
  [[nodiscard]] std::string interface() const { return "lxc" + x_spec.name; }

  // curl -sS with these arguments, inside the pod.
  [[nodiscard]] CurlResult curl(std::vector<std::string> arguments) const;
  [[nodiscard]] Outcome dig(std::vector<std::string> arguments) const;
  // What the pod's resolv.conf names.
  void use_resolver(Family family);

private:
  friend class Lab;
  PodSpec x_spec;
  unsigned x_number;
  std::filesystem::path x_folder;
  std::unique_ptr<NetNs> x_netns;
};

class Lab {
public:
  Lab(); // node and world with their servers; weir is not started
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;
  ~Lab();

  [[nodiscard]] const NetNs& node() const { return *x_node; }
  [[nodiscard]] const NetNs& world() const { return *x_world; }
  [[nodiscard]] HttpServer& world_http() { return *x_world_http; }
  [[nodiscard]] DnsServer& dns() { return *x_dns; }
  [[nodiscard]] PolicyFolder& policies() { return *x_policies; }
  [[nodiscard]] std::filesystem::path folder() const { return x_folder.path(); }
  [[nodiscard]] const std::filesystem::path& bpffs() const { return x_bpffs.path(); }

  // Pods that are connected from here on are ports of one bridge, with one network a family, as
  // docker, flannel and kind connect them. `netfilter`: the bridge's packets go through iptables as
  // well (bridge-nf-call-iptables), which is how nodes of a cluster are set up.
  void use_bridge(bool netfilter);
  // The pod is in endpoints.yaml from the next write_endpoints() on. With connected = false its
  // interface is made by connect_pod().
  Pod& add_pod(PodSpec spec, bool connected = true);
  void connect_pod(const Pod& pod);
  HttpServer& serve_http(const Pod& pod, std::uint16_t port = 80);

  // The value of `services` in endpoints.yaml from the next write_endpoints() on, as YAML.
  void set_services(std::string yaml) { x_services = std::move(yaml); }
  // From the next start_weir() on pods come from the API that this kubeconfig names, and
  // endpoints.yaml is not looked at. `more`: further keys of the section, as YAML.
  void use_kubernetes(const std::filesystem::path& kubeconfig, const std::string& more = {});
  // From the next start_weir() on it runs as a container would: with these capabilities ("BPF") and
  // no others, no way to new ones, and nothing to write to but the lab's folder.
  void confine(const std::vector<std::string>& capabilities);
  // From the next start_weir() on it finds a kernel without tcx links, as Linux 6.1 is.
  void hide_tcx() { x_hides_tcx = true; }
  // From the next start_weir() on it is started by this command, which weir's is appended to.
  void start_in(std::vector<std::string> command) { x_confinement = std::move(command); }
  // The value of `dns` in weir.yaml, as YAML.
  void set_dns(std::string yaml) { x_dns_options = std::move(yaml); }
  // The value of `acceleration` in weir.yaml, as YAML.
  void set_acceleration(std::string yaml) { x_acceleration = std::move(yaml); }
  void write_endpoints(); // replaces the file by renaming
  // Writes weir.yaml and endpoints.yaml, starts weir-proxy in the node, waits for /ready.
  void start_weir();
  void start_weir_without_waiting();
  [[nodiscard]] bool await_ready(std::chrono::milliseconds limit = std::chrono::seconds(15));
  [[nodiscard]] Process& weir() { return x_weir.value(); }
  int stop_weir();  // SIGTERM; the exit code
  void kill_weir(); // SIGKILL, and waits for its end

  // Undoes what weir did to the node, while it is not running.
  [[nodiscard]] Outcome cleanup();

  // The admin server, from inside the node. Nothing when there is no answer.
  [[nodiscard]] std::optional<HttpReply> admin(const std::string& target,
                                               const std::string& method = "GET");
  [[nodiscard]] boost::json::value admin_json(const std::string& target); // throws unless 200
  [[nodiscard]] Outcome weirctl(std::vector<std::string> arguments);

  // Lines of the access log, parsed; only whole lines. In order of time: those of two workers come
  // in any.
  [[nodiscard]] std::vector<boost::json::object> access_log() const;
  [[nodiscard]] std::string weir_log() const;

private:
  void connect_world();
  void write_config();

  TempFolder x_folder;
  BpffsMount x_bpffs;
  std::unique_ptr<NetNs> x_node, x_world;
  std::vector<std::unique_ptr<Pod>> x_pods;
  std::vector<std::unique_ptr<HttpServer>> x_pod_http;
  std::unique_ptr<HttpServer> x_world_http;
  std::unique_ptr<DnsServer> x_dns;
  std::unique_ptr<PolicyFolder> x_policies;
  bool x_bridged = false;
  std::string x_services = "[]";
  std::string x_dns_options = "{}";
  std::string x_kubernetes;               // the section's content, as YAML
  std::vector<std::string> x_confinement; // the command that starts weir's; empty: none
  bool x_hides_tcx = false;
  std::string x_acceleration = "{}";
  std::optional<Process> x_weir;
};

// The daemon and the tool that this build made.
[[nodiscard]] std::string weir_proxy_path();
[[nodiscard]] std::string weirctl_path();
// A TCP and UDP port of 127.0.0.1 that is free, and given to no other test while this one runs.
[[nodiscard]] std::uint16_t free_port();

} // namespace weir::test
