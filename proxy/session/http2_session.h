// Moves the bytes of an Http2Bridge: one coroutine reads from the client, one for each upstream
// connection reads from the server; writes are tried at once, and only where a socket is full does
// a further coroutine wait for room. Everything else, and every decision, is the bridge's.
//
// Owned by the coroutine serve(), which runs in the worker's gate and ends last of its coroutines;
// on the worker's thread only.
#pragma once

#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/runtime/deadline.h"
#include "proxy/runtime/drain.h"
#include "proxy/runtime/gate.h"
#include "proxy/session/http2_bridge.h"
#include "proxy/session/http_service.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <list>
#include <memory>
#include <string>
#include <string_view>

namespace weir::session {

// The bounds of a connection, from what the configuration says of HTTP.
Http2Bridge::Options http2_options(const config::Http& http, const config::Http2& http2);

class Http2Session final : private runtime::Deadline,
                           private runtime::Drainable,
                           private Http2Host {
public:
  // received: what was read of the client's bytes so far, if anything; they begin with the preface.
  // `options` outlives the session.
  Http2Session(HttpService& service, const Http2Bridge::Options& options,
               boost::asio::io_context& context, std::unique_ptr<net::Stream> client,
               std::string received, std::unique_ptr<HttpJudge> judge,
               std::unique_ptr<net::Connector> connector);
  ~Http2Session() override;

  static boost::asio::awaitable<void> serve(std::unique_ptr<Http2Session> session);

private:
  // One connection's way out.
  struct Pipe {
    Pipe(boost::asio::io_context& context, http2::Connection& over)
        : connection(over), blocked(context) {
      blocked.expires_at(std::chrono::steady_clock::time_point::max());
    }
    http2::Connection& connection;
    std::unique_ptr<net::Stream> stream; // null: not connected yet
    std::string out;
    std::size_t sent = 0; // of out
    bool full = false;    // the socket takes nothing at present
    bool broken = false;
    bool reading = false, writing = false; // a coroutine uses the stream
    std::chrono::steady_clock::time_point full_since;
    boost::asio::steady_timer blocked; // cancelled when `full` or `broken` becomes true
  };
  struct UpstreamPipe : Pipe {
    UpstreamPipe(boost::asio::io_context& context, Http2Upstream& of)
        : Pipe(context, of.connection()), upstream(of) {}
    Http2Upstream& upstream;
    bool closed = false;
  };

  void dial(Http2Upstream& upstream) override;
  void on_deadline() override;
  void on_drain() override;

  boost::asio::awaitable<void> read_client();
  [[nodiscard]] bool client_done() const; // everything has been said, and has left
  static boost::asio::awaitable<void> run_upstream(Http2Session& session, UpstreamPipe& pipe);
  static boost::asio::awaitable<void> write_blocked(Http2Session& session, Pipe& pipe);

  // Writes whatever there is to write, on all connections, and settles what that leads to.
  void pump();
  bool flush(Pipe& pipe); // true: something was written
  void close_upstream(UpstreamPipe& pipe);
  void sweep_upstreams();

  HttpService& x_service;
  std::unique_ptr<HttpJudge> x_judge;
  std::unique_ptr<net::Connector> x_connector;
  boost::asio::io_context& x_context;
  const std::string x_received;
  Http2Bridge x_bridge;
  const Http2Bridge::Options& x_options;
  Pipe x_client;
  std::list<UpstreamPipe> x_upstreams;
  bool x_pumping = false;
  bool x_again = false; // pump() was asked for from within itself
  bool x_ended = false;
  bool x_lingered = false;                  // after the end, for as long as it may
  bool x_client_left = false;               // by an orderly end of its connection
  boost::asio::steady_timer x_client_event; // cancelled when there may be a reason to end
  boost::asio::steady_timer x_children_gone;
  runtime::Gate x_gate; // of the session's further coroutines
};

// What TcpHandlers::http2 is wired to. Options, context and service outlive the coroutine.
boost::asio::awaitable<void> serve_http2(const Http2Bridge::Options& options,
                                         boost::asio::io_context& context, HttpService& service,
                                         std::unique_ptr<net::Stream> client, std::string received,
                                         std::unique_ptr<HttpJudge> judge,
                                         std::unique_ptr<net::Connector> connector);

} // namespace weir::session
