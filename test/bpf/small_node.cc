#include "test/bpf/small_node.h"

#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/cleanup.h"
#include "redirect-bpf/user/tcx_links.h"
#include "test/support/must.h"

#include <bpf/bpf.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace weir::test {

namespace {

// Time for a handshake some packets of which are lost: the kernel sends them again after 1, 3, 7
// and 15 s.
constexpr auto kLimit = std::chrono::seconds(20);

void set_option(int socket, int level, int name, int value) {
  must(::setsockopt(socket, level, name, &value, sizeof(value)) == 0, "setsockopt");
}

} // namespace

SmallNode::SmallNode(std::optional<redirect::AttachMode> mode)
    : bpffs(redirect::find_bpffs().value_or("/sys/fs/bpf") + "/" + unique_name()), x_mode(mode) {
  for (const char* key : {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"}) {
    node.sysctl(key, "1");
  }
  connect({node, "uplink", {}}, {world, "eth0", {}});
  node.ip({"addr add 192.0.2.1/24 dev uplink", "addr add 2001:db8::1/64 dev uplink nodad"});
  world.ip({"addr add 192.0.2.9/24 dev eth0", "addr add 2001:db8::9/64 dev eth0 nodad",
            "route add default via 192.0.2.1", "route add default via 2001:db8::1"});
  add_pod(a, "pa", "10.1.0.1", "fd00:1::1");
  add_pod(b, "pb", "10.1.0.2", "fd00:1::2");
}

SmallNode::~SmallNode() {
  redirector.reset();
  node.on_thread([this] { (void)redirect::cleanup(bpffs); });
  ::rmdir(bpffs.c_str());
}

void SmallNode::add_pod(const NetNs& pod, const std::string& interface, std::string_view v4,
                        std::string_view v6) {
  const std::string ip4(v4), ip6(v6);
  connect({node, interface, {}}, {pod, "eth0", {}});
  node.ip({"addr add 169.254.1.1/32 dev " + interface,
           "addr add fe80::1/64 dev " + interface + " nodad",
           "route add " + ip4 + "/32 dev " + interface,
           "route add " + ip6 + "/128 dev " + interface});
  pod.ip({"addr add " + ip4 + "/32 dev eth0", "addr add " + ip6 + "/128 dev eth0 nodad",
          "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1",
          "route add default via fe80::1 dev eth0"});
}

void SmallNode::open(const redirect::MapSizes& sizes) {
  auto opened = node.on_thread([&] {
    return redirect::BpfRedirector::open(
        {.bpffs = bpffs, .mount = true, .sizes = sizes, .attach_mode = x_mode});
  });
  if (!opened) {
    throw std::runtime_error(opened.error().text());
  }
  redirector = std::move(*opened);
}

void SmallNode::masquerade() const {
  for (const char* program : {"iptables", "ip6tables"}) {
    REQUIRE(
        node.run({program, "-t", "nat", "-A", "POSTROUTING", "-o", "uplink", "-j", "MASQUERADE"})
            .exit_code == 0);
  }
}

std::string SmallNode::tc(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), "tc");
  const Outcome outcome = node.run(std::move(arguments));
  INFO(outcome.text());
  REQUIRE(outcome.exit_code == 0);
  return outcome.out;
}

Result<void> SmallNode::apply(std::span<const redirect::EndpointState> endpoints) {
  redirect::IdentityRows::Editor identities{{}};
  auto add = [&](std::string_view address, std::uint32_t identity) {
    identities.set(IpPrefix::host(IpAddress::parse(address).value()), identity);
  };
  for (const Addresses& addresses : kAddresses) {
    add(addresses.a, kPodAIdentity);
    add(addresses.b, kPodBIdentity);
  }
  for (const std::string_view own : {"169.254.1.1", "192.0.2.1", "2001:db8::1"}) {
    add(own, WEIR_IDENTITY_HOST);
  }
  return node.on_thread([&] { return redirector->apply(identities.take(), endpoints); });
}

void SmallNode::until(const std::function<bool()>& done) {
  const auto limit = std::chrono::steady_clock::now() + kLimit;
  while (!done()) {
    if (std::chrono::steady_clock::now() > limit) {
      FAIL("waited for too long");
    }
    pollfd netlink{.fd = redirector->netlink_fd(), .events = POLLIN, .revents = 0};
    if (::poll(&netlink, 1, 5) > 0) {
      const auto handled = node.on_thread([this] { return redirector->handle_netlink(); });
      if (!handled) {
        FAIL(handled.error().text());
      }
    }
  }
}

std::uint64_t SmallNode::drops(weir_drop reason, weir_direction direction) {
  return redirector->counters().value().drops[weir_drop_index(reason, direction)];
}

std::uint64_t SmallNode::count(weir_counter counter) {
  return redirector->counters().value().packets[counter];
}

bool has_tcx() {
  const std::array nothing{
      bpf_insn{
          .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = -1},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "nothing", "GPL", nothing.data(),
                                       nothing.size(), nullptr));
  REQUIRE(program.valid());
  return redirect::TcxLinks::supported(program.get()).value();
}

redirect::AttachMode each_attach_mode() {
  const bool filters = GENERATE(true, false);
  return filters || !has_tcx() ? redirect::AttachMode::kClsact : redirect::AttachMode::kTcx;
}

std::vector<redirect::EndpointState> pods(std::span<const redirect::PolicyRow> rows) {
  std::vector<redirect::EndpointState> endpoints(2);
  endpoints[0].id = kPodA;
  endpoints[0].identity = kPodAIdentity;
  endpoints[0].interface = "pa";
  endpoints[0].egress_enforced = true;
  endpoints[0].rows = rows;
  endpoints[1].id = kPodB;
  endpoints[1].identity = kPodBIdentity;
  endpoints[1].interface = "pb";
  for (const Addresses& addresses : kAddresses) {
    endpoints[0].addresses.push_back(IpAddress::parse(addresses.a).value());
    endpoints[1].addresses.push_back(IpAddress::parse(addresses.b).value());
  }
  return endpoints;
}

UniqueFd bound_socket(const NetNs& where, int type, const SocketAddress& address,
                      SocketOptions options) {
  const bool v6 = !address.ip.is_v4();
  UniqueFd socket(where.on_thread(
      [&] { return ::socket(v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }));
  must(socket.valid(), "socket");
  if (options.transparent) {
    set_option(socket.get(), v6 ? int{SOL_IPV6} : int{SOL_IP},
               v6 ? int{IPV6_TRANSPARENT} : int{IP_TRANSPARENT}, 1);
  }
  if (options.mark != 0) {
    set_option(socket.get(), SOL_SOCKET, SO_MARK, static_cast<int>(options.mark));
  }
  sockaddr_storage storage{};
  const socklen_t length = address.to_sockaddr(storage);
  must(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0, "bind");
  return socket;
}

UniqueFd tcp_listener(const NetNs& where, const SocketAddress& address, SocketOptions options) {
  UniqueFd listener = bound_socket(where, SOCK_STREAM, address, options);
  must(::listen(listener.get(), 16) == 0, "listen");
  return listener;
}

void start_connect(int socket, const SocketAddress& to) {
  sockaddr_storage storage{};
  const socklen_t length = to.to_sockaddr(storage);
  must(::connect(socket, reinterpret_cast<const sockaddr*>(&storage), length) == 0 ||
           errno == EINPROGRESS,
       "connect");
}

bool wait_for(int socket, short events) {
  pollfd entry{.fd = socket, .events = events, .revents = 0};
  return ::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(kLimit).count())) > 0;
}

UniqueFd accept_one(int listener) {
  REQUIRE(wait_for(listener, POLLIN));
  UniqueFd accepted(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  REQUIRE(accepted.valid());
  return accepted;
}

SocketAddress local_address(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) == 0);
  return SocketAddress::from_sockaddr(storage);
}

SocketAddress peer_address(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  REQUIRE(::getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &length) == 0);
  return SocketAddress::from_sockaddr(storage);
}

void cut(UniqueFd& socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  socket.reset();
}

void check_reset(int socket) {
  REQUIRE(wait_for(socket, 0)); // POLLERR, POLLHUP
  std::array<char, 8> buffer;
  CHECK(::recv(socket, buffer.data(), buffer.size(), 0) < 0);
  CHECK(errno == ECONNRESET);
}

void send_text(int socket, std::string_view text) {
  REQUIRE(wait_for(socket, POLLOUT));
  REQUIRE(::send(socket, text.data(), text.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(text.size()));
}

std::string receive_text(int socket) {
  REQUIRE(wait_for(socket, POLLIN));
  std::array<char, 512> buffer;
  const ssize_t length = ::recv(socket, buffer.data(), buffer.size(), 0);
  REQUIRE(length >= 0);
  return {buffer.data(), static_cast<std::size_t>(length)};
}

SocketAddress at(std::string_view ip, std::uint16_t port) {
  return {IpAddress::parse(ip).value(), port};
}

} // namespace weir::test
