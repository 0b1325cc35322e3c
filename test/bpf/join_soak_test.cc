// Joined sockets under everything at once: both directions of many connections with all sizes of
// messages, ends and cuts at any byte, packets lost, acceleration switched and policy changed
// meanwhile. Every byte is compared. Two seconds of each, or WEIR_SOAK_SECONDS.
#include "test/bpf/join_lab.h"
#include "test/bpf/packet_loss.h"

#include <catch2/catch_test_macros.hpp>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace weir;
using namespace weir::test;

namespace {

constexpr int kStallMs = 20'000;
constexpr std::size_t kChains = 6; // at once
constexpr std::size_t kMaxMessage = 256 * 1024;
constexpr std::size_t kMaxStream = 3 * 1024 * 1024;

std::chrono::seconds soak_time() {
  const char* const wanted = std::getenv("WEIR_SOAK_SECONDS");
  return std::chrono::seconds(wanted != nullptr ? std::atoi(wanted) : 2);
}

// As often small as large.
std::size_t any_size(std::mt19937& random, std::size_t limit) {
  std::uniform_int_distribution<int> bits(0, 31 - __builtin_clz(static_cast<unsigned>(limit)));
  return std::uniform_int_distribution<std::size_t>(1, std::size_t{2} << bits(random))(random) %
             limit +
         1;
}

// What stands at a place of a stream.
char byte_at(std::uint32_t seed, std::uint64_t offset) {
  const std::uint64_t mixed = (offset + seed) * 0x9e3779b97f4a7c15u;
  return static_cast<char>(mixed >> 56 ^ mixed >> 24);
}

// One pod's end: sends a stream, and compares the one that it gets.
struct End {
  UniqueFd socket;
  std::uint32_t own_seed = 0, other_seed = 0;
  std::uint64_t to_send = 0, to_get = 0, cut_at = UINT64_MAX;
  std::uint64_t sent = 0, got = 0;
  bool ended = false, cut_off = false, said_all = false;
};

struct Talk {
  End client, server;
  UniqueFd downstream, upstream;
  redirect::BpfRedirector* leaving = nullptr; // the proxy leaves the short way some time
  std::uint32_t seed = 0;
  std::string failure; // of the pods' thread
  std::string stall;   // of the proxy's thread
};

// What the kernel says of a socket, for a stall.
std::string state_of(const char* name, int socket) {
  tcp_info tcp{};
  socklen_t size = sizeof tcp;
  ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &tcp, &size);
  std::uint32_t memory[SK_MEMINFO_VARS] = {};
  size = sizeof memory;
  ::getsockopt(socket, SOL_SOCKET, SO_MEMINFO, memory, &size);
  int to_read = 0, to_send = 0;
  ::ioctl(socket, SIOCINQ, &to_read);
  ::ioctl(socket, SIOCOUTQ, &to_send);
  std::ostringstream text;
  text << "; " << name << ": " << to_read << " to read, " << to_send << " to send, "
       << tcp.tcpi_unacked << " packets unacked, timeout " << tcp.tcpi_rto / 1000 << " ms, "
       << int{tcp.tcpi_backoff} << " backoffs, " << int{tcp.tcpi_probes} << " probes, window "
       << tcp.tcpi_snd_wnd << ", receive memory " << memory[SK_MEMINFO_RMEM_ALLOC] << " of "
       << memory[SK_MEMINFO_RCVBUF] << ", send memory " << memory[SK_MEMINFO_WMEM_QUEUED] << " of "
       << memory[SK_MEMINFO_SNDBUF];
  return text.str();
}

std::string how_far(const Talk& talk) {
  return "the client has " + std::to_string(talk.client.got) + " of " +
         std::to_string(talk.client.to_get) + " and sent " + std::to_string(talk.client.sent) +
         " of " + std::to_string(talk.client.to_send) + ", the server has " +
         std::to_string(talk.server.got) + " and sent " + std::to_string(talk.server.sent) +
         " of " + std::to_string(talk.server.to_send) +
         state_of("client", talk.client.socket.get()) +
         state_of("downstream", talk.downstream.get()) + state_of("upstream", talk.upstream.get()) +
         state_of("server", talk.server.socket.get());
}

bool again() { return errno == EAGAIN || errno == EINTR; }

void send_some(End& end, std::mt19937& random, std::vector<char>& buffer) {
  if (end.sent < end.to_send) {
    const std::size_t size = static_cast<std::size_t>(
        std::min<std::uint64_t>(any_size(random, kMaxMessage), end.to_send - end.sent));
    for (std::size_t i = 0; i < size; ++i) {
      buffer[i] = byte_at(end.own_seed, end.sent + i);
    }
    const ssize_t length = ::send(end.socket.get(), buffer.data(), size, MSG_NOSIGNAL);
    if (length < 0) {
      end.cut_off = end.cut_off || !again();
      return;
    }
    end.sent += static_cast<std::uint64_t>(length);
  }
  if (end.sent >= end.cut_at) {
    cut(end.socket);
    end.cut_off = true;
  } else if (end.sent == end.to_send && !end.said_all) {
    end.said_all = true;
    ::shutdown(end.socket.get(), SHUT_WR);
  }
}

// What is wrong; "" when nothing is.
std::string get_some(End& end, std::mt19937& random, std::vector<char>& buffer) {
  const ssize_t length = ::recv(end.socket.get(), buffer.data(), any_size(random, kMaxMessage), 0);
  if (length < 0) {
    end.cut_off = end.cut_off || !again();
    return "";
  }
  end.ended = length == 0;
  for (ssize_t i = 0; i < length; ++i) {
    if (buffer[static_cast<std::size_t>(i)] !=
        byte_at(end.other_seed, end.got + static_cast<std::uint64_t>(i))) {
      return "another byte at " + std::to_string(end.got + static_cast<std::uint64_t>(i));
    }
  }
  end.got += static_cast<std::uint64_t>(length);
  return end.got > end.to_get ? "more than was sent" : "";
}

void be_pods(Talk& talk) {
  std::mt19937 random(talk.seed);
  std::vector<char> buffer(kMaxMessage);
  End* const ends[] = {&talk.client, &talk.server};
  const auto over = [](const End& end) { return end.cut_off || (end.ended && end.said_all); };
  while (!over(talk.client) || !over(talk.server)) {
    pollfd entries[2] = {};
    for (int i = 0; i < 2; ++i) {
      const End& end = *ends[i];
      entries[i].fd = over(end) ? -1 : end.socket.get();
      entries[i].events =
          static_cast<short>((end.ended ? 0 : POLLIN) | (end.said_all ? 0 : POLLOUT));
    }
    if (::poll(entries, 2, kStallMs) == 0) {
      talk.failure = "stalled: " + how_far(talk);
      break;
    }
    for (int i = 0; i < 2 && talk.failure.empty(); ++i) {
      End& end = *ends[i];
      if ((entries[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0 && !end.ended) {
        talk.failure = get_some(end, random, buffer);
      }
      if ((entries[i].revents & (POLLOUT | POLLERR)) != 0 && !end.cut_off && !end.said_all) {
        send_some(end, random, buffer);
      }
    }
    if (!talk.failure.empty()) {
      break;
    }
  }
  const bool cut_somewhere = talk.client.cut_off || talk.server.cut_off;
  if (talk.failure.empty() && !cut_somewhere &&
      (talk.client.got != talk.client.to_get || talk.server.got != talk.server.to_get)) {
    talk.failure = "the end came too early: " + how_far(talk);
  }
  if (talk.failure.empty() && cut_somewhere && talk.client.cut_at == UINT64_MAX &&
      talk.server.cut_at == UINT64_MAX) {
    talk.failure = "cut off by nobody";
  }
  cut(talk.client.socket);
  cut(talk.server.socket);
}

// One direction through the proxy.
struct Copy {
  int from, to;
  std::vector<char> buffer;
  std::size_t begin = 0, end = 0;
  bool ended = false, passed_on = false;
};

// False: the connection is broken.
bool copy_some(Copy& copy, std::mt19937& random) {
  if (copy.begin == copy.end && !copy.ended) {
    const ssize_t length =
        ::recv(copy.from, copy.buffer.data(), any_size(random, copy.buffer.size()), 0);
    if (length < 0) {
      return again();
    }
    copy.ended = length == 0;
    copy.begin = 0;
    copy.end = static_cast<std::size_t>(length);
  }
  if (copy.begin < copy.end) {
    const std::size_t size = std::min(copy.end - copy.begin, any_size(random, kMaxMessage));
    const ssize_t length = ::send(copy.to, copy.buffer.data() + copy.begin, size, MSG_NOSIGNAL);
    if (length < 0) {
      return again();
    }
    copy.begin += static_cast<std::size_t>(length);
  }
  if (copy.ended && copy.begin == copy.end && !copy.passed_on) {
    copy.passed_on = true;
    ::shutdown(copy.to, SHUT_WR);
  }
  return true;
}

void be_proxy(Talk& talk) {
  std::mt19937 random(talk.seed + 1);
  Copy ways[] = {{talk.downstream.get(), talk.upstream.get(), std::vector<char>(131072)},
                 {talk.upstream.get(), talk.downstream.get(), std::vector<char>(131072)}};
  bool whole = true;
  while (whole && (!ways[0].passed_on || !ways[1].passed_on)) {
    pollfd entries[2] = {{.fd = ways[0].from, .events = 0, .revents = 0},
                         {.fd = ways[1].from, .events = 0, .revents = 0}};
    for (int i = 0; i < 2; ++i) {
      const bool holds = ways[i].begin < ways[i].end;
      entries[i].events |= !holds && !ways[i].ended ? POLLIN : 0;
      entries[1 - i].events |= holds ? POLLOUT : 0;
    }
    if (::poll(entries, 2, kStallMs) == 0) {
      talk.stall = "the proxy's part stalled";
      break;
    }
    whole = ((entries[0].revents | entries[1].revents) & POLLERR) == 0;
    for (Copy& way : ways) {
      whole = whole && copy_some(way, random);
    }
    if (talk.leaving != nullptr && random() % 16 == 0) {
      talk.leaving->leave_acceleration(ways[random() % 2].from);
    }
  }
  if (whole) {
    talk.downstream.reset();
    talk.upstream.reset();
  } else {
    cut(talk.downstream);
    cut(talk.upstream);
  }
}

Talk begin(JoinLab& lab, std::mt19937& random) {
  Chain chain = lab.chain(kAddresses[random() % 2]);
  Talk talk;
  talk.seed = static_cast<std::uint32_t>(random());
  talk.downstream = std::move(chain.downstream);
  talk.upstream = std::move(chain.upstream);
  talk.client.socket = std::move(chain.client);
  talk.server.socket = std::move(chain.server);
  talk.client.own_seed = talk.server.other_seed = static_cast<std::uint32_t>(random());
  talk.server.own_seed = talk.client.other_seed = static_cast<std::uint32_t>(random());
  talk.client.to_send = talk.server.to_get = any_size(random, kMaxStream) - 1;
  talk.server.to_send = talk.client.to_get = any_size(random, kMaxStream) - 1;
  if (random() % 4 == 0) {
    End& end = random() % 2 == 0 ? talk.client : talk.server;
    end.cut_at = random() % (end.to_send + 1);
  }
  return talk;
}

struct Disturbance {
  bool losses = false, switching = false, policy = false, leaving = false;
};

void soak(const Disturbance& disturbance) {
  JoinLab lab;
  PacketLoss from_a(lab.a, "eth0", PacketLoss::Way::kOut);
  PacketLoss from_b(lab.b, "eth0", PacketLoss::Way::kOut);
  if (disturbance.losses) {
    from_a.lose_per_thousand(20);
    from_b.lose_per_thousand(20);
  }
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto until = std::chrono::steady_clock::now() + soak_time();
  std::size_t talks_had = 0;
  std::uint64_t bytes = 0;
  while (std::chrono::steady_clock::now() < until) {
    std::vector<Talk> talks;
    for (std::size_t i = 0; i < kChains; ++i) {
      talks.push_back(begin(lab, random));
      talks.back().leaving = disturbance.leaving ? lab.redirector.get() : nullptr;
    }
    std::mutex mutex;
    std::condition_variable finished;
    std::size_t running = 2 * kChains;
    std::vector<std::thread> threads;
    for (Talk& talk : talks) {
      for (void (*part)(Talk&) : {be_pods, be_proxy}) {
        threads.emplace_back([&, part] {
          part(talk);
          const std::lock_guard lock(mutex);
          --running;
          finished.notify_one();
        });
      }
    }
    for (bool on = false;; on = !on) {
      {
        std::unique_lock lock(mutex);
        if (finished.wait_for(lock, std::chrono::milliseconds(random() % 8 + 1),
                              [&] { return running == 0; })) {
          break;
        }
      }
      if (disturbance.switching) {
        lab.accelerate(on);
      }
      if (disturbance.policy) {
        lab.put_in_force(WEIR_REDIRECT, on);
      }
    }
    for (auto& thread : threads) {
      thread.join();
    }
    lab.accelerate(true);
    lab.put_in_force(WEIR_REDIRECT);
    for (const Talk& talk : talks) {
      INFO("talk " << talks_had << ", seed " << talk.seed);
      CHECK(talk.failure == "");
      CHECK(talk.stall == "");
      bytes += talk.client.got + talk.server.got;
      ++talks_had;
    }
  }
  WARN(talks_had << " connections, " << bytes / 1000 << " kB arrived, of what was sent "
                 << lab.counted(WEIR_JOIN_BYTES_TO_PROXY) / 1000 << " kB to the proxy and "
                 << lab.counted(WEIR_JOIN_BYTES_TO_POD) / 1000
                 << " kB to pods went the short way; messages that did not: "
                 << lab.counted(WEIR_JOIN_UNREAD) << " unread, " << lab.counted(WEIR_JOIN_FULL)
                 << " full, " << lab.counted(WEIR_JOIN_BUSY) << " busy, "
                 << lab.counted(WEIR_JOIN_OFF) << " off, " << lab.counted(WEIR_JOIN_UNDECIDED)
                 << " undecided, " << lab.counted(WEIR_JOIN_NO_PEER) << " without a peer, "
                 << lab.counted(WEIR_JOIN_UNFIT)
                 << " unfit; packets lost: " << from_a.lost() + from_b.lost());
  CHECK(lab.counted(WEIR_JOIN_BYTES_TO_PROXY) > 0);
  CHECK(lab.counted(WEIR_JOIN_BYTES_TO_POD) > 0);
}

} // namespace

TEST_CASE("every byte of joined connections arrives once and in order") {
  require_root();
  soak({});
}

TEST_CASE("the same while packets are lost") {
  require_root();
  soak({.losses = true});
}

TEST_CASE("the same while acceleration is switched on and off") {
  require_root();
  soak({.switching = true});
}

TEST_CASE("the same while connections leave the short way") {
  require_root();
  soak({.leaving = true});
}

TEST_CASE("the same while all of that happens, policy changes, and pods are chosen and not") {
  require_root();
  soak({.losses = true, .switching = true, .policy = true, .leaving = true});
}
