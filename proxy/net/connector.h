// Opens the connection to the server behind a flow.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/net/short_way.h"
#include "proxy/net/stream.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

namespace weir::net {

// What a session needs to know of it; tests give streams in memory.
class Connector {
public:
  virtual ~Connector() = default;

  struct Connected {
    ErrorCode error; // timed_out: nobody answered in time
    std::unique_ptr<Stream> stream;
  };
  virtual boost::asio::awaitable<Connected> connect() = 0;

  // What the connections made from now on are for, where the server can be asked whether it
  // speaks that (ALPN).
  enum class Application : std::uint8_t { kHttp1, kHttp2 };
  virtual void will_speak(Application /*application*/) {}
};

// Over TCP. With a source, the server sees that address: the socket is transparent, bound to it
// with a port of the kernel's choice (never the client's: that pair may be in use), and marked as
// judged already, so that weir's own hooks let it pass (DESIGN §8). Needs CAP_NET_ADMIN then.
class TcpConnector final : public Connector {
public:
  // The short way outlives what is connected; null: there is none.
  TcpConnector(SocketAddress destination, std::optional<IpAddress> source,
               std::chrono::milliseconds timeout, const ShortWay* short_way = nullptr)
      : x_destination(destination), x_source(source), x_timeout(timeout), x_short_way(short_way) {}

  boost::asio::awaitable<Connected> connect() override;

private:
  SocketAddress x_destination;
  std::optional<IpAddress> x_source;
  std::chrono::milliseconds x_timeout;
  const ShortWay* x_short_way;
};

} // namespace weir::net
