#include "proxy/net/resolver.h"

#include "proxy/base/check.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <ares.h>
#include <netdb.h>

#include <cstring>
#include <map>
#include <optional>

namespace weir::net {
namespace asio = boost::asio;

namespace {

// c-ares is set up once for the process and never given up: other objects may still hold a channel.
int library_status() {
  static const int kStatus = ares_library_init(ARES_LIB_INIT_ALL);
  return kStatus;
}

Error as_error(int status, const std::string& context) {
  const std::errc code = status == ARES_ETIMEOUT || status == ARES_ECONNREFUSED
                             ? std::errc::timed_out
                             : std::errc::address_not_available;
  return {std::make_error_code(code), context + ": " + ares_strerror(status)};
}

// One question; shared by who asks and by c-ares, whichever takes longer.
struct LookUp {
  explicit LookUp(asio::io_context& context, std::string asked)
      : answered(context, asio::steady_timer::time_point::max()), name(std::move(asked)) {}
  asio::steady_timer answered; // cancelled when there is a result
  std::string name;
  std::optional<Result<std::vector<IpAddress>>> result;
};

void take_answer(void* argument, int status, int /*timeouts*/, ares_addrinfo* found) {
  const std::unique_ptr<std::shared_ptr<LookUp>> held(
      static_cast<std::shared_ptr<LookUp>*>(argument));
  LookUp& look_up = **held;
  std::vector<IpAddress> addresses;
  if (status == ARES_SUCCESS) {
    for (const ares_addrinfo_node* node = found->nodes; node != nullptr; node = node->ai_next) {
      sockaddr_storage storage{};
      std::memcpy(&storage, node->ai_addr, node->ai_addrlen);
      addresses.push_back(SocketAddress::from_sockaddr(storage).ip);
    }
    ares_freeaddrinfo(found);
  }
  if (addresses.empty()) {
    look_up.result =
        as_error(status == ARES_SUCCESS ? ARES_ENODATA : status, "look up " + look_up.name);
  } else {
    look_up.result = std::move(addresses);
  }
  look_up.answered.cancel();
}

} // namespace

// Lets the context watch the sockets of c-ares, and its time.
class Resolver::Channel : public std::enable_shared_from_this<Channel> {
public:
  explicit Channel(asio::io_context& context) : x_context(context), x_timer(context) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() { WEIR_CHECK(x_ares == nullptr); }

  Result<void> open(const Options& options) {
    ares_options settings{};
    settings.sock_state_cb = [](void* self, ares_socket_t fd, int readable, int writable) {
      static_cast<Channel*>(self)->watch(fd, readable != 0, writable != 0);
    };
    settings.sock_state_cb_data = this;
    settings.timeout = static_cast<int>(options.patience.count());
    settings.tries = options.tries;
    int status = library_status();
    if (status == ARES_SUCCESS) {
      status = ares_init_options(&x_ares, &settings,
                                 ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    }
    if (status == ARES_SUCCESS && !options.servers.empty()) {
      status = ares_set_servers_ports_csv(x_ares, options.servers.c_str());
    }
    if (status != ARES_SUCCESS) {
      close();
      return as_error(status, "set up the resolver");
    }
    return {};
  }

  void close() {
    if (x_ares != nullptr) {
      ares_destroy(x_ares); // every question gets its answer, every socket is given up
      x_ares = nullptr;
      x_timer.cancel();
    }
  }

  void ask(const std::shared_ptr<LookUp>& look_up) {
    if (x_ares == nullptr) {
      return;
    }
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    ares_getaddrinfo(x_ares, look_up->name.c_str(), nullptr, &hints, take_answer,
                     std::make_unique<std::shared_ptr<LookUp>>(look_up).release());
    arm();
  }

  [[nodiscard]] asio::io_context& context() { return x_context; }

private:
  struct Socket {
    Socket(asio::io_context& context, int fd) : descriptor(context, fd) {}
    ~Socket() { descriptor.release(); } // c-ares closes it
    asio::posix::stream_descriptor descriptor;
    bool wants_read = false, wants_write = false;
    bool waits_read = false, waits_write = false;
  };

  void watch(int fd, bool readable, bool writable) {
    if (!readable && !writable) {
      x_sockets.erase(fd);
      return;
    }
    std::shared_ptr<Socket>& socket = x_sockets[fd];
    if (socket == nullptr) {
      socket = std::make_shared<Socket>(x_context, fd);
    }
    socket->wants_read = readable;
    socket->wants_write = writable;
    wait(socket);
  }

  void wait(const std::shared_ptr<Socket>& socket) {
    using Descriptor = asio::posix::stream_descriptor;
    if (socket->wants_read && !socket->waits_read) {
      socket->waits_read = true;
      socket->descriptor.async_wait(
          Descriptor::wait_read, [self = shared_from_this(), weak = std::weak_ptr(socket)](auto) {
            self->ready(weak, &Socket::waits_read, true);
          });
    }
    if (socket->wants_write && !socket->waits_write) {
      socket->waits_write = true;
      socket->descriptor.async_wait(
          Descriptor::wait_write, [self = shared_from_this(), weak = std::weak_ptr(socket)](auto) {
            self->ready(weak, &Socket::waits_write, false);
          });
    }
  }

  void ready(const std::weak_ptr<Socket>& weak, bool Socket::* waits, bool reading) {
    const std::shared_ptr<Socket> socket = weak.lock();
    if (socket == nullptr || x_ares == nullptr) {
      return; // given up meanwhile
    }
    (*socket).*waits = false;
    const ares_socket_t fd = socket->descriptor.native_handle();
    ares_process_fd(x_ares, reading ? fd : ARES_SOCKET_BAD, reading ? ARES_SOCKET_BAD : fd);
    const auto still = x_sockets.find(fd);
    if (still != x_sockets.end() && still->second == socket) {
      wait(socket);
    }
    arm();
  }

  // c-ares looks at its time-outs when it is called.
  void arm() {
    timeval left{};
    if (x_ares == nullptr || ares_timeout(x_ares, nullptr, &left) == nullptr) {
      x_timer.cancel();
      return;
    }
    x_timer.expires_after(std::chrono::seconds(left.tv_sec) +
                          std::chrono::microseconds(left.tv_usec) + std::chrono::milliseconds(1));
    x_timer.async_wait([self = shared_from_this()](const boost::system::error_code& cancelled) {
      if (!cancelled && self->x_ares != nullptr) {
        ares_process_fd(self->x_ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        self->arm();
      }
    });
  }

  asio::io_context& x_context;
  asio::steady_timer x_timer;
  ares_channel x_ares = nullptr;
  std::map<int, std::shared_ptr<Socket>> x_sockets;
};

Result<std::unique_ptr<Resolver>> Resolver::open(asio::io_context& context,
                                                 const Options& options) {
  auto channel = std::make_shared<Channel>(context);
  if (auto opened = channel->open(options); !opened) {
    return opened.error();
  }
  return std::unique_ptr<Resolver>(new Resolver(std::move(channel)));
}

Resolver::~Resolver() { x_channel->close(); }

asio::awaitable<Result<std::vector<IpAddress>>> Resolver::resolve(std::string name) {
  if (const auto address = IpAddress::parse(name)) {
    co_return std::vector<IpAddress>{*address};
  }
  const auto look_up = std::make_shared<LookUp>(x_channel->context(), std::move(name));
  x_channel->ask(look_up);
  if (!look_up->result) {
    // Ended by the result, or by the cancellation of who asks.
    co_await look_up->answered.async_wait(asio::as_tuple(asio::deferred));
  }
  if (!look_up->result) {
    co_return Error{std::make_error_code(std::errc::operation_canceled),
                    "look up " + look_up->name};
  }
  co_return std::move(*look_up->result);
}

} // namespace weir::net
