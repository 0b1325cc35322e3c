// An Http2Session on memory streams: the client's end and the server's ends are the test's.
#pragma once

#include "proxy/runtime/gate.h"
#include "proxy/session/http2_session.h"
#include "test/support/fake_upstream.h"
#include "test/support/fragmenting_stream.h"
#include "test/support/memory_stream.h"
#include "test/support/recording_log.h"
#include "test/unit/http2/bridge_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace weir::test {

struct SessionFixture {
  // fragment: the session reads the client's bytes in pieces of so many.
  explicit SessionFixture(std::size_t fragment = 1 << 20)
      : service(config, metrics, log, 0), options(session::http2_options(config, {})) {
    upstream.fragment = fragment;
    MemoryConnection made = make_memory_connection(context);
    client = std::make_unique<MemoryPeer>(made.peer);
    auto owned = std::make_unique<TableJudge>();
    judge = owned.get();
    now = service.watchdog.now();
    gate.spawn(session::serve_http2(
        options, context, service,
        std::make_unique<FragmentingStream>(std::move(made.stream), fragment, fragment),
        std::string(http2::kPreface), std::move(owned), upstream.connector()));
    poll();
  }
  ~SessionFixture() {
    gate.close();
    poll();
    CHECK(gate.running() == 0);
  }

  void poll() {
    context.restart();
    context.poll();
    to_client.add(client->take());
    for (std::size_t i = 0; i < upstream.connections(); ++i) {
      if (i == to_server.size()) {
        to_server.push_back(std::make_unique<FrameReader>(true));
      }
      to_server[i]->add(upstream.connection(i).take());
    }
    // What was taken has made room.
    context.restart();
    context.poll();
  }
  void send(std::string_view bytes) {
    client->write(bytes);
    poll();
  }
  void serve(std::string_view bytes) {
    upstream.last().write(bytes);
    poll();
  }
  void pass(std::chrono::milliseconds time) {
    now += time;
    service.watchdog.tick(now);
    poll();
  }
  [[nodiscard]] bool over() const { return gate.running() == 0; }

  boost::asio::io_context context;
  runtime::Gate gate{context};
  config::Http config;
  WorkerMetrics metrics;
  RecordingLog log;
  session::HttpService service;
  session::Http2Bridge::Options options;
  FakeUpstream upstream{context};
  TableJudge* judge = nullptr; // while the session lives
  std::unique_ptr<MemoryPeer> client;
  FrameReader to_client{false};
  std::vector<std::unique_ptr<FrameReader>> to_server;
  std::chrono::steady_clock::time_point now;
};

} // namespace weir::test
