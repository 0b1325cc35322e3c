#include "proxy/net/socket_stream.h"

#include "proxy/net/connector.h"
#include "proxy/runtime/gate.h"
#include "test/support/tcp_peer.h"
#include "test/support/tcp_segments.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>

#include <poll.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

using namespace weir;
using namespace std::chrono_literals;

namespace {

boost::asio::awaitable<void> connect_into(net::Connector& connector,
                                          net::Connector::Connected& result) {
  result = co_await connector.connect();
}

boost::asio::awaitable<void> read_into(net::Stream& stream, std::span<char> buffer,
                                       net::IoResult& result) {
  result = co_await stream.read_some(buffer);
}

boost::asio::awaitable<void> write_all(net::Stream& stream, std::string bytes,
                                       net::ErrorCode& result) {
  net::Gather gather{bytes};
  result = co_await net::write_rest(stream, gather);
}

struct Connected {
  explicit Connected(const net::ShortWay* short_way = nullptr) {
    net::TcpConnector connector(server.address(), std::nullopt, 5s, short_way);
    net::Connector::Connected result;
    gate.spawn(connect_into(connector, result));
    context.run();
    context.restart();
    REQUIRE_FALSE(result.error);
    stream = std::move(result.stream);
    peer = std::make_unique<test::TcpPeer>(server.accept());
  }
  void run() {
    context.run();
    context.restart();
  }

  test::TcpPeer server = test::TcpPeer::listening("127.0.0.1");
  boost::asio::io_context context;
  runtime::Gate gate{context};
  std::unique_ptr<net::Stream> stream;
  std::unique_ptr<test::TcpPeer> peer;
};

// Lets nobody go before it was asked so many times.
struct ReluctantShortWay final : net::ShortWay {
  explicit ReluctantShortWay(unsigned refusals) : left_to_refuse(refusals) {}
  bool leave(int /*socket*/) const override {
    ++asked;
    if (left_to_refuse == 0) {
      return true;
    }
    --left_to_refuse;
    return false;
  }
  mutable unsigned left_to_refuse, asked = 0;
};

void write_to_peer(Connected& c, std::size_t size) {
  net::ErrorCode error;
  c.gate.spawn(write_all(*c.stream, std::string(size, 'x'), error));
  for (std::size_t got = 0; got < size;) {
    c.context.poll();
    c.context.restart();
    got += c.peer->read(std::min<std::size_t>(size - got, 1u << 16)).size();
  }
  CHECK_FALSE(error);
}

void read_from_peer(Connected& c, std::size_t size) {
  std::string buffer(1u << 16, '\0');
  for (std::size_t got = 0; got < size;) {
    const std::size_t piece = std::min(size - got, buffer.size());
    c.peer->send(std::string(piece, 'y'));
    for (std::size_t came = 0; came < piece;) {
      net::IoResult read;
      c.gate.spawn(read_into(*c.stream, buffer, read));
      c.run();
      REQUIRE_FALSE(read.error);
      came += read.bytes;
    }
    got += piece;
  }
}

} // namespace

TEST_CASE(
    "a stream stays on the short way with small messages, and leaves it when it carries much") {
  ReluctantShortWay way(3);
  Connected c(&way);
  for (int i = 0; i < 50; ++i) {
    read_from_peer(c, 100);
    write_to_peer(c, 128 * 1024);
  }
  for (int i = 0; i < 50; ++i) {
    read_from_peer(c, 128 * 1024);
    write_to_peer(c, 100);
  }
  CHECK(way.asked == 0);
  SECTION("to its peer") {
    for (int i = 0; i < 10; ++i) {
      write_to_peer(c, 300 * 1024);
    }
  }
  SECTION("from its peer") { read_from_peer(c, 2u << 20); }
  SECTION("in bodies that are each a little too large") {
    for (int i = 0; i < 10; ++i) {
      read_from_peer(c, 100);
      write_to_peer(c, 300 * 1024);
    }
  }
  SECTION("both ways at once") {
    for (int i = 0; i < 50; ++i) {
      read_from_peer(c, 128 * 1024);
      write_to_peer(c, 128 * 1024);
    }
  }
  // As often as it takes, and then no more.
  CHECK(way.asked == 4);
}

TEST_CASE("a stream that knows beforehand leaves the short way before the bytes move") {
  ReluctantShortWay way(1);
  Connected c(&way);
  c.stream->expect_bytes(128 * 1024);
  CHECK(way.asked == 0);
  c.stream->expect_bytes(300 * 1024);
  CHECK(way.asked == 1);
  write_to_peer(c, 1);
  CHECK(way.asked == 2);
  write_to_peer(c, 1);
  c.stream->expect_bytes(300 * 1024);
  CHECK(way.asked == 2);
}

TEST_CASE("the last bytes and the end are one packet where the end is expected") {
  Connected c;
  const unsigned before = test::segments_received(c.peer->fd());
  c.stream->expect_end();
  net::Gather gather{"the ", "last"};
  net::ErrorCode error;
  REQUIRE(net::write_now(*c.stream, gather, error));
  SECTION("by close") { c.stream->close(); }
  SECTION("by the end of writing") { c.stream->shutdown_write(); }
  CHECK(c.peer->read(8) == "the last");
  CHECK(c.peer->ending() == "end");
  CHECK(test::segments_received(c.peer->fd()) == before + 1);
}

TEST_CASE("a socket stream reads what came and writes what it is given") {
  Connected c;
  c.peer->send("hello");
  std::string buffer(100, '\0');
  net::IoResult read;
  c.gate.spawn(read_into(*c.stream, buffer, read));
  c.run();
  CHECK_FALSE(read.error);
  CHECK(buffer.substr(0, read.bytes) == "hello");

  net::Gather gather{"a", "", "bc", "d"};
  net::ErrorCode error;
  CHECK(net::write_now(*c.stream, gather, error));
  CHECK_FALSE(error);
  CHECK(c.peer->read(4) == "abcd");

  c.peer->end();
  c.gate.spawn(read_into(*c.stream, buffer, read));
  c.run();
  CHECK(read.error == boost::asio::error::eof);
}

TEST_CASE("a write that does not fit waits for room") {
  Connected c;
  const std::string bytes(32u << 20, 'x');
  net::ErrorCode error = boost::asio::error::in_progress;
  c.gate.spawn(write_all(*c.stream, bytes, error));
  c.context.poll();
  CHECK(error == boost::asio::error::in_progress);
  std::size_t got = 0;
  while (got < bytes.size()) {
    got += c.peer->read(1u << 20).size();
    c.context.restart();
    c.context.poll();
  }
  c.run();
  CHECK_FALSE(error);
}

TEST_CASE("a stream that is closed ends in order, one that is aborted or dropped is reset") {
  Connected closed;
  closed.stream->close();
  CHECK(closed.peer->ending() == "end");
  Connected aborted;
  aborted.stream->abort();
  CHECK(aborted.peer->ending() == "reset");
  Connected dropped;
  dropped.stream.reset();
  CHECK(dropped.peer->ending() == "reset");
  Connected half;
  half.stream->shutdown_write();
  CHECK(half.peer->ending() == "end");
}

TEST_CASE("a stream is stale once its peer has said or ended something") {
  Connected c;
  CHECK_FALSE(c.stream->stale());
  Connected ended;
  ended.peer->close();
  // The FIN arrives by itself; a read proves that it has.
  std::string buffer(1, '\0');
  net::IoResult read;
  ended.gate.spawn(read_into(*ended.stream, buffer, read));
  ended.run();
  CHECK(ended.stream->stale());
}

TEST_CASE("cancelling a stream ends its read") {
  Connected c;
  std::string buffer(1, '\0');
  net::IoResult read;
  c.gate.spawn(read_into(*c.stream, buffer, read));
  c.context.poll();
  c.stream->cancel();
  c.context.restart();
  c.run();
  CHECK(read.error == boost::asio::error::operation_aborted);
}

TEST_CASE("connecting to a port where nobody listens is refused") {
  test::TcpPeer listener = test::TcpPeer::listening("127.0.0.1");
  const SocketAddress gone = listener.address();
  listener.close();
  boost::asio::io_context context;
  runtime::Gate gate(context);
  net::TcpConnector connector(gone, std::nullopt, 5s);
  net::Connector::Connected result;
  gate.spawn(connect_into(connector, result));
  context.run();
  CHECK(result.error == boost::asio::error::connection_refused);
  CHECK(result.stream == nullptr);
}

TEST_CASE("connecting gives up after its time") {
  // A full queue makes the kernel drop further handshakes, on loopback as well.
  test::TcpPeer listener = test::TcpPeer::listening("127.0.0.1");
  REQUIRE(::listen(listener.fd(), 0) == 0);
  std::vector<test::TcpPeer> filling;
  filling.push_back(test::TcpPeer::connect_to(listener.address()));
  pollfd filled{listener.fd(), POLLIN, 0};
  REQUIRE(::poll(&filled, 1, 20'000) == 1);
  boost::asio::io_context context;
  runtime::Gate gate(context);
  net::TcpConnector connector(listener.address(), std::nullopt, 50ms);
  net::Connector::Connected result;
  gate.spawn(connect_into(connector, result));
  context.run();
  CHECK(result.error == boost::asio::error::timed_out);
}
