#include "proxy/net/relay.h"

#include "proxy/runtime/gate.h"
#include "test/support/memory_stream.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/io_context.hpp>

#include <optional>
#include <string>

using namespace weir;

namespace {

struct RelayFixture {
  RelayFixture() {
    gate.spawn(run(*this));
    poll();
  }
  ~RelayFixture() {
    gate.close();
    poll();
    CHECK(gate.running() == 0);
  }
  static boost::asio::awaitable<void> run(RelayFixture& f) {
    const auto result = co_await net::relay(*f.client.stream, *f.server.stream, f.pool, nullptr);
    f.result = result;
  }
  void poll() {
    context.restart();
    context.poll();
  }

  boost::asio::io_context context;
  runtime::BufferPool pool{64};
  test::MemoryConnection client = test::make_memory_connection(context);
  test::MemoryConnection server = test::make_memory_connection(context);
  std::optional<net::RelayResult> result;
  runtime::Gate gate{context};
};

} // namespace

TEST_CASE("a relay copies both ways and passes each end on by itself") {
  RelayFixture f;
  f.client.peer.write(std::string(1000, 'a'));
  f.server.peer.write("answer");
  f.poll();
  CHECK(f.server.peer.take() == std::string(1000, 'a'));
  CHECK(f.client.peer.take() == "answer");
  f.client.peer.end();
  f.poll();
  CHECK(f.server.peer.ended());
  CHECK_FALSE(f.client.peer.ended());
  f.server.peer.write("more");
  f.server.peer.end();
  f.poll();
  CHECK(f.client.peer.take() == "more");
  CHECK(f.client.peer.ended());
  REQUIRE(f.result);
  CHECK(f.result->clean);
  CHECK(f.result->bytes_in == 1000);
  CHECK(f.result->bytes_out == 10);
}

TEST_CASE("a reader that does not read stops the writer of a relay") {
  RelayFixture f;
  f.server.peer.limit(100);
  f.client.peer.write(std::string(10000, 'a'));
  f.poll();
  std::string got = f.server.peer.take();
  CHECK(got.size() == 100);
  while (got.size() < 10000) {
    f.poll();
    const std::string more = f.server.peer.take();
    REQUIRE_FALSE(more.empty());
    got += more;
  }
}

TEST_CASE("a reset on one side of a relay ends it as not clean") {
  RelayFixture f;
  f.client.peer.reset();
  f.poll();
  REQUIRE(f.result);
  CHECK_FALSE(f.result->clean);
}
