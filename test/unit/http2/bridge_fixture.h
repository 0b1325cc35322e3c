// An Http2Bridge between two peers that a test plays by hand, and a judge that is a table.
#pragma once

#include "proxy/session/http2_bridge.h"
#include "test/support/recording_log.h"
#include "test/unit/http2/frames.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::test {

class TableJudge final : public session::HttpJudge {
public:
  TableJudge() { x_rule.label = "shop/api"; }

  bool refresh() override { return open; }
  [[nodiscard]] policy::L7Decision judge(const policy::HttpRequest& request) const override {
    seen.push_back(std::string(request.method) + " " + std::string(request.host) +
                   std::string(request.path));
    const bool allowed = allows(request);
    return {allowed, &x_rule, allowed ? std::string_view{} : std::string_view("path")};
  }
  [[nodiscard]] Labels labels() const override { return {"ingress", {}, {}}; }

  bool open = true;
  std::function<bool(const policy::HttpRequest&)> allows = [](const policy::HttpRequest& request) {
    return !request.path.starts_with("/admin");
  };
  mutable std::vector<std::string> seen; // "METHOD host/path"

private:
  policy::RuleRef x_rule;
};

// One upstream connection, with the test as the server.
struct ServerPeer {
  session::Http2Upstream* upstream;
  FrameReader from_weir{true};
  std::string unread; // raw bytes as they came
  bool closed = false;
};

class BridgeFixture final : public session::Http2Host {
public:
  explicit BridgeFixture(session::Http2Bridge::Options bridge_options = {})
      : options(bridge_options) {
    bridge = std::make_unique<session::Http2Bridge>(options, judge, *this, metrics, log, 0, now);
  }
  ~BridgeFixture() { bridge->abandon(); }

  // The client sends; then everything flows, as far as windows let it.
  void client(std::string_view bytes) {
    bridge->client_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, now);
    flow();
  }
  // The same, but weir's answers stay unsent.
  void client_silently(std::string_view bytes) {
    bridge->client_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, now);
  }
  void server(std::string_view bytes, std::size_t index = 0) {
    ServerPeer& peer = *servers.at(index);
    bridge->upstream_bytes(
        *peer.upstream, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, now);
    flow();
  }
  // The connection asked for is there; the server says hello.
  void connect(std::size_t index = 0,
               std::initializer_list<std::pair<std::uint16_t, std::uint32_t>> entries = {}) {
    servers.at(index)->upstream->connected(now);
    flow();
    server(settings(entries) + settings_ack(), index);
  }
  void lose_server(int status, std::string_view reason, std::size_t index = 0) {
    bridge->upstream_lost(*servers.at(index)->upstream, status, reason);
    flow();
  }
  void pass(std::chrono::milliseconds time) {
    now += time;
    bridge->tick(now);
    flow();
  }
  void flow() {
    for (bool more = true; more;) {
      more = false;
      std::string out;
      bridge->client().produce(out, 64 * 1024);
      more = !out.empty();
      to_client.add(out);
      for (const auto& peer : servers) {
        if (peer->closed) {
          continue;
        }
        if (peer->upstream->disposable()) {
          peer->closed = true;
          bridge->erase(*peer->upstream);
          continue;
        }
        out.clear();
        peer->upstream->connection().produce(out, 64 * 1024);
        more = more || !out.empty();
        peer->from_weir.add(out);
      }
      bridge->settle();
    }
  }

  // A client and a server that have said hello. The first request opens the connection.
  void open_client(std::initializer_list<std::pair<std::uint16_t, std::uint32_t>> entries = {}) {
    client(hello(entries) + settings_ack());
  }

  [[nodiscard]] FrameReader& to_server(std::size_t index = 0) {
    return servers.at(index)->from_weir;
  }
  [[nodiscard]] std::uint64_t floods(Http2Flood flood) const {
    return metrics.http2_floods[static_cast<std::size_t>(flood)].value();
  }

  session::Http2Bridge::Options options;
  http2::TimePoint now{std::chrono::hours(1)};
  TableJudge judge;
  WorkerMetrics metrics;
  RecordingLog log;
  FrameReader to_client{false};
  std::vector<std::unique_ptr<ServerPeer>> servers;
  std::unique_ptr<session::Http2Bridge> bridge;

private:
  void dial(session::Http2Upstream& upstream) override {
    servers.push_back(std::make_unique<ServerPeer>());
    servers.back()->upstream = &upstream;
  }
};

} // namespace weir::test
