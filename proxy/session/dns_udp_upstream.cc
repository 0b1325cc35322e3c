#include "proxy/session/dns_udp_upstream.h"

#include "proxy/base/check.h"
#include "proxy/base/log.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace weir::session {
namespace {

constexpr int kMaxEvents = 128;
// How many datagrams of one socket are looked at before others get their turn.
constexpr int kMaxDatagramsAtOnce = 32;

// Edge-triggered: a level-triggered set looks at each socket a second time, to find it empty.
constexpr std::uint32_t kEvents = EPOLLIN | EPOLLET;

int open_epoll() {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  WEIR_CHECK(fd >= 0);
  return fd;
}

} // namespace

struct DnsUdpUpstream::Socket {
  Pool* pool = nullptr;
  std::size_t index = 0; // in the pool; kRetired: it takes no more questions
  UniqueFd fd;
  int uses = 0;
  Clock::time_point used;
  // Few: linear search beats hashing.
  std::vector<std::pair<std::uint16_t, DnsQuestion*>> pending;

  static constexpr std::size_t kRetired = SIZE_MAX;
};

struct DnsUdpUpstream::Pool {
  std::vector<std::unique_ptr<Socket>> sockets;
  std::vector<std::unique_ptr<Socket>> retired; // answers are still awaited
};

std::size_t DnsUdpUpstream::KeyHash::operator()(const Key& key) const noexcept {
  const std::hash<IpAddress> hash;
  return hash(key.source) * 31 + hash(key.server.ip) * 17 + key.server.port;
}

DnsUdpUpstream::DnsUdpUpstream(boost::asio::io_context& context, WorkerMetrics& metrics,
                               DnsIds& ids, std::span<std::uint8_t> scratch, Limits limits)
    : x_metrics(metrics), x_ids(ids), x_scratch(scratch), x_limits(limits),
      x_epoll(context, open_epoll()) {}

DnsUdpUpstream::~DnsUdpUpstream() { close_all(); }

bool DnsUdpUpstream::ask(DnsQuestion& question) {
  const DnsFlow& flow = question.flow;
  Pool& pool = x_pools[{flow.source.value_or(IpAddress()), flow.server.value}];
  Socket* socket = pick(pool, flow);
  if (socket == nullptr) {
    return false;
  }
  std::uint16_t id = 0;
  const auto taken = [&](const auto& pending) { return pending.first == id; };
  do {
    id = x_ids.next();
  } while (std::any_of(socket->pending.begin(), socket->pending.end(), taken));
  question.upstream_id = id;
  dns::set_message_id(question.message, id);
  if (flow.source) {
    // Fragments do not reach a pod that policy is about, nor weir in its place.
    dns::limit_udp_payload(question.message, question.query.question, dns::kUnfragmented);
  }
  socket->used = question.started;
  ++socket->uses;
  const ssize_t sent =
      ::send(socket->fd.get(), question.message.data(), question.message.size(), MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(question.message.size())) {
    // An ICMP error that an earlier question met is told to this one; it has done no harm to it.
    if (errno != ECONNREFUSED || ::send(socket->fd.get(), question.message.data(),
                                        question.message.size(), MSG_DONTWAIT) < 0) {
      return false;
    }
  }
  socket->pending.emplace_back(id, &question);
  question.carried_by = socket;
  if (socket->uses >= kMaxUses) {
    retire(*socket);
  }
  if (!x_awaiting) {
    await_answers();
  }
  return true;
}

DnsUdpUpstream::Socket* DnsUdpUpstream::pick(Pool& pool, const DnsFlow& flow) {
  if (pool.sockets.empty() && x_open >= x_limits.all) {
    close_unused(Clock::now()); // others have more than they need
  }
  if (pool.sockets.size() < x_limits.pool && x_open < x_limits.all) {
    if (Socket* fresh = open(pool, flow)) {
      return fresh;
    }
  }
  if (pool.sockets.empty()) {
    return nullptr;
  }
  return pool.sockets[x_ids.next() % pool.sockets.size()].get();
}

DnsUdpUpstream::Socket* DnsUdpUpstream::open(Pool& pool, const DnsFlow& flow) {
  auto fd = open_upstream_socket(flow, SOCK_DGRAM);
  if (!fd) {
    log::debug("DNS upstream: {}", fd.error().text());
    return nullptr;
  }
  sockaddr_storage server{};
  const socklen_t length = flow.server.value.to_sockaddr(server);
  auto socket = std::make_unique<Socket>();
  epoll_event event{};
  event.events = kEvents;
  event.data.ptr = socket.get();
  if (::connect(fd->get(), reinterpret_cast<const sockaddr*>(&server), length) != 0 ||
      ::epoll_ctl(x_epoll.native_handle(), EPOLL_CTL_ADD, fd->get(), &event) != 0) {
    return nullptr;
  }
  socket->pool = &pool;
  socket->index = pool.sockets.size();
  socket->fd = *std::move(fd);
  ++x_open;
  return pool.sockets.emplace_back(std::move(socket)).get();
}

// Takes no more questions; closed when the last answer is there.
void DnsUdpUpstream::retire(Socket& socket) {
  Pool& pool = *socket.pool;
  auto& place = pool.sockets[socket.index];
  pool.retired.push_back(std::move(place));
  if (&place != &pool.sockets.back()) {
    place = std::move(pool.sockets.back());
    place->index = socket.index;
  }
  pool.sockets.pop_back();
  socket.index = Socket::kRetired;
  if (socket.pending.empty()) {
    close(socket);
  }
}

void DnsUdpUpstream::close(Socket& socket) {
  WEIR_CHECK(socket.index == Socket::kRetired && socket.pending.empty());
  auto& retired = socket.pool->retired;
  const auto at = std::find_if(retired.begin(), retired.end(),
                               [&](const auto& one) { return one.get() == &socket; });
  for (int i = 0; i < kMaxDatagramsAtOnce &&
                  ::recv(socket.fd.get(), nullptr, 0, MSG_DONTWAIT) >= 0; // of any size
       ++i) {
    x_metrics.dns_mismatched.add();
  }
  socket.fd = UniqueFd(); // which takes it out of the epoll set
  --x_open;
  if (x_handling) {
    x_closed.push_back(std::move(*at));
  }
  std::swap(*at, retired.back());
  retired.pop_back();
}

void DnsUdpUpstream::withdraw(DnsQuestion& question, bool /*timed_out*/) {
  auto* socket = static_cast<Socket*>(std::exchange(question.carried_by, nullptr));
  if (socket == nullptr) {
    return;
  }
  std::erase_if(socket->pending, [&](const auto& pending) { return pending.second == &question; });
  if (socket->index == Socket::kRetired && socket->pending.empty()) {
    close(*socket);
  }
}

void DnsUdpUpstream::await_answers() {
  x_awaiting = true;
  x_epoll.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this, alive = std::weak_ptr<void>(x_alive)](boost::system::error_code) {
                       if (alive.expired()) {
                         return;
                       }
                       receive_answers();
                       if (x_open > 0) {
                         await_answers();
                       } else {
                         x_awaiting = false;
                       }
                     });
}

void DnsUdpUpstream::receive_answers() {
  std::array<epoll_event, kMaxEvents> events{};
  const int ready = ::epoll_wait(x_epoll.native_handle(), events.data(), kMaxEvents, 0);
  x_handling = true;
  for (int i = 0; i < ready; ++i) {
    receive(*static_cast<Socket*>(events[static_cast<std::size_t>(i)].data.ptr));
  }
  x_handling = false;
  x_closed.clear();
}

// Until no answer is awaited or nothing has come: an event is told once. What lies behind the last
// answer is read with the next one, or at the socket's end.
void DnsUdpUpstream::receive(Socket& socket) {
  for (int i = 0; i < kMaxDatagramsAtOnce; ++i) {
    if (!receive_one(socket) || socket.pending.empty()) {
      return;
    }
  }
  epoll_event event{};
  event.events = kEvents;
  event.data.ptr = &socket;
  ::epoll_ctl(x_epoll.native_handle(), EPOLL_CTL_MOD, socket.fd.get(), &event); // tells it anew
}

// False when there is nothing to receive.
bool DnsUdpUpstream::receive_one(Socket& socket) {
  const ssize_t got = ::recv(socket.fd.get(), x_scratch.data(), x_scratch.size(), MSG_DONTWAIT);
  if (got < 0) {
    if (errno != EAGAIN) {
      fail(socket);
    }
    return false;
  }
  const auto datagram = x_scratch.first(static_cast<std::size_t>(got));
  const auto matches = [&](const auto& pending) {
    return dns::answers(datagram, pending.second->message, pending.second->query.question,
                        pending.first);
  };
  const auto at = std::find_if(socket.pending.begin(), socket.pending.end(), matches);
  if (at == socket.pending.end()) {
    x_metrics.dns_mismatched.add();
    return true;
  }
  DnsQuestion& question = *at->second;
  withdraw(question, false);
  question.answered(datagram);
  return true;
}

// An ICMP error: which question met it is not known, and the server is the same for all.
void DnsUdpUpstream::fail(Socket& socket) {
  for (const auto& pending : std::vector(socket.pending)) {
    withdraw(*pending.second, false);
    pending.second->failed(DnsRefused::kUpstreamUnreachable);
  }
}

void DnsUdpUpstream::close_unused(Clock::time_point since) {
  for (auto& [key, pool] : x_pools) {
    for (std::size_t i = pool.sockets.size(); i-- > 0;) {
      if (pool.sockets[i]->pending.empty() && pool.sockets[i]->used <= since) {
        retire(*pool.sockets[i]);
      }
    }
  }
}

void DnsUdpUpstream::close_idle() {
  close_unused(Clock::now() - kMaxIdle);
  std::erase_if(x_pools, [](const auto& entry) {
    return entry.second.sockets.empty() && entry.second.retired.empty();
  });
  if (x_open == 0) {
    // Nothing will come, and a wait for it would keep the worker's loop from its end.
    boost::system::error_code ignored;
    x_epoll.cancel(ignored);
  }
}

void DnsUdpUpstream::close_all() {
  boost::system::error_code ignored;
  x_epoll.cancel(ignored);
  x_pools.clear();
  x_open = 0;
}

} // namespace weir::session
