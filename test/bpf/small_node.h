// A node with two pods on routed veths and a world beyond it, for tests of the redirection alone:
// the part of the proxy is played by sockets of the test. Needs root.
//
//   a (10.1.0.1, fd00:1::1) ─ pa ┐
//                                node ─ uplink ─ world (192.0.2.9, 2001:db8::9)
//   b (10.1.0.2, fd00:1::2) ─ pb ┘
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/unique_fd.h"
#include "redirect-bpf/user/bpf_redirector.h"
#include "test/support/netns.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::test {

inline constexpr std::uint32_t kPodA = 21, kPodB = 22, kPodAIdentity = 401, kPodBIdentity = 402;

struct Addresses {
  std::string_view a, b, world;
  bool v6;
};
inline constexpr Addresses kAddresses[] = {{"10.1.0.1", "10.1.0.2", "192.0.2.9", false},
                                           {"fd00:1::1", "fd00:1::2", "2001:db8::9", true}};

inline constexpr redirect::MapSizes kSmallMaps{.addresses = 64,
                                               .endpoints = 16,
                                               .learned = 64,
                                               .flows = 4096,
                                               .returns = 4096,
                                               .event_bytes = 1u << 16};

class SmallNode {
public:
  // By what the programs are on interfaces; nothing: by what weir chooses.
  explicit SmallNode(std::optional<redirect::AttachMode> mode = std::nullopt);
  ~SmallNode();
  SmallNode(const SmallNode&) = delete;
  SmallNode& operator=(const SmallNode&) = delete;

  // The other end of `interface`, in `pod`, and the node's routes to it.
  void add_pod(const NetNs& pod, const std::string& interface, std::string_view v4,
               std::string_view v6);

  // Both in the node's namespace.
  void open(const redirect::MapSizes& sizes = kSmallMaps);
  void close() { redirector.reset(); }
  // What leaves by the uplink has the node's address, as many CNIs do it.
  void masquerade() const;
  // tc(8) in the node, and what it prints; fails the test where it fails.
  std::string tc(std::vector<std::string> arguments) const;
  Result<void> apply(std::span<const redirect::EndpointState> endpoints);
  // What the control thread would do until `done`; fails the test after 20 s.
  void until(const std::function<bool()>& done);

  std::uint64_t drops(weir_drop reason, weir_direction direction);
  std::uint64_t count(weir_counter counter);

  NetNs node, a, b, world;
  std::string bpffs; // a folder of its own
  std::unique_ptr<redirect::BpfRedirector> redirector;

private:
  std::optional<redirect::AttachMode> x_mode;
};

// Runs the test by filters of clsact and, where the kernel has them, by links of tcx.
redirect::AttachMode each_attach_mode();
bool has_tcx();

// Pod A under egress policy `rows`, pod B under none.
std::vector<redirect::EndpointState> pods(std::span<const redirect::PolicyRow> rows);

// Sockets; failures throw. `mark` and `transparent` as the proxy sets them.
struct SocketOptions {
  bool transparent = false;
  std::uint32_t mark = 0;
};
UniqueFd bound_socket(const NetNs& where, int type, const SocketAddress& address,
                      SocketOptions options = {});
UniqueFd tcp_listener(const NetNs& where, const SocketAddress& address, SocketOptions options = {});
// Connects without waiting for the end of it.
void start_connect(int socket, const SocketAddress& to);
// Waits for `events` (poll); false after 20 s.
bool wait_for(int socket, short events);
UniqueFd accept_one(int listener);
SocketAddress local_address(int socket);
SocketAddress peer_address(int socket);
void cut(UniqueFd& socket);   // closes with a reset, if it is open; any thread
void check_reset(int socket); // is reset by its peer, now or soon
void send_text(int socket, std::string_view text);
std::string receive_text(int socket); // one read; "" at the end of the stream
SocketAddress at(std::string_view ip, std::uint16_t port);

} // namespace weir::test
