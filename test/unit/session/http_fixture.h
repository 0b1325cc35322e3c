// One HTTP session on memory streams, with a judge that allows what begins with "/public" and is
// GET, HEAD, POST or OPTIONS *.
#pragma once

#include "proxy/runtime/gate.h"
#include "proxy/session/http_session.h"
#include "test/support/fake_upstream.h"
#include "test/support/fragmenting_stream.h"
#include "test/support/memory_stream.h"
#include "test/support/recording_log.h"

#include <catch2/catch_test_macros.hpp>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace weir::test {

struct JudgeState {
  bool open = true;
  bool deny_all = false;
  bool audit = false; // what would be refused passes
  bool allow_any_path = false;
  const policy::HeaderActions* actions = nullptr;
  std::string last_host, last_path;
  std::vector<std::string> last_fields;
  std::vector<std::string> allowed_paths; // in the order of the requests
  unsigned judged = 0;
};

class FakeJudge final : public session::HttpJudge {
public:
  explicit FakeJudge(JudgeState& state) : x_state(state) {
    x_rule.label = "shop/api";
    x_rule.section = "ingress";
    x_rule.rule_number = 2;
  }
  bool refresh() override { return x_state.open; }
  [[nodiscard]] policy::L7Decision judge(const policy::HttpRequest& request) const override {
    ++x_state.judged;
    x_state.last_path = request.path;
    x_state.last_host = request.host;
    x_state.last_fields.clear();
    for (const policy::HttpHeader& field : request.headers) {
      x_state.last_fields.emplace_back(field.name);
    }
    if (x_state.deny_all || !x_state.open) {
      return {false, &x_rule, "policy"};
    }
    const bool path =
        request.path.starts_with("/public") || request.path == "*" || x_state.allow_any_path;
    if (path || x_state.audit) {
      x_state.allowed_paths.emplace_back(request.path);
    }
    return {path || x_state.audit,
            &x_rule,
            path ? "" : "path",
            !path && x_state.audit,
            {x_state.actions}};
  }
  [[nodiscard]] std::string nearest(const policy::HttpRequest& request) const override {
    return "path `" + std::string(request.path) + "` is not";
  }
  [[nodiscard]] Labels labels() const override { return {"ingress", {}, {}}; }

private:
  JudgeState& x_state;
  policy::RuleRef x_rule;
};

struct HttpFixture {
  explicit HttpFixture(std::size_t first = 1 << 20, std::size_t then = 1 << 20)
      : service(config, metrics, log, 0) {
    MemoryConnection made = make_memory_connection(context);
    peer = std::make_unique<MemoryPeer>(made.peer);
    gate.spawn(session::HttpSession::serve(std::make_unique<session::HttpSession>(
        service, std::make_unique<FragmentingStream>(std::move(made.stream), first, then),
        std::make_unique<FakeJudge>(judge), upstream.connector(), "192.0.2.1")));
    poll();
  }
  ~HttpFixture() {
    gate.close();
    poll();
    CHECK(gate.running() == 0);
  }

  void poll() {
    context.restart();
    context.poll();
  }
  // What the client receives when it has sent this.
  std::string send(std::string_view bytes) {
    peer->write(bytes);
    poll();
    return peer->take();
  }
  // What the client receives when the server has sent this.
  std::string answer(std::string_view bytes) {
    upstream.last().write(bytes);
    poll();
    return peer->take();
  }
  std::string server_got() {
    std::string bytes = upstream.last().take();
    poll();
    return bytes;
  }
  void pass(std::chrono::seconds time) {
    service.watchdog.tick(service.watchdog.now() + time);
    poll();
  }
  // Running sessions: 0 when the connection has ended.
  [[nodiscard]] bool over() const { return gate.running() == 0; }

  boost::asio::io_context context;
  config::Http config;
  WorkerMetrics metrics;
  RecordingLog log;
  JudgeState judge;
  FakeUpstream upstream{context};
  session::HttpService service;
  runtime::Gate gate{context};
  std::unique_ptr<MemoryPeer> peer;
};

inline constexpr std::string_view kDenied =
    "HTTP/1.1 403 Forbidden\r\nServer: weir\r\nContent-Type: text/plain\r\n"
    "x-weir-denied-by: shop/api\r\nContent-Length: 15\r\n\r\nAccess denied\r\n";

} // namespace weir::test
