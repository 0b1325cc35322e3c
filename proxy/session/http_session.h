// One HTTP/1 connection of a client and at most one to its server: reads a request, has it
// judged, answers it or passes it on, until one side has enough.
//
//   client ──► HttpRequestReader ──► decide() ──┬── no ──► send_own_answer() ──► client
//                                               │ yes
//                                          HttpForward
//   client ──► rest of the body ──► HttpUpload ─┤
//                                               ├──► HttpUpstream ──► server
//   client ◄────────────────────── HttpDownload ◄───────────────────── server
//                                               │
//                                               └── 101, CONNECT ──► run_tunnel()
//
// The steps meet in two objects: HttpStreams, both sides and their deadline; and HttpExchange,
// what is known of the present request and its answer, which in the end is a line of the log.
//
// What was cut off is never made to look complete: both connections are reset then.
//
// Owned by the coroutine serve(), which runs in the worker's gate; on the worker's thread only.
// Knows nothing of sockets, snapshots or endpoints.
#pragma once

#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/runtime/drain.h"
#include "proxy/session/http_decision.h"
#include "proxy/session/http_exchange.h"
#include "proxy/session/http_forward.h"
#include "proxy/session/http_judge.h"
#include "proxy/session/http_request_reader.h"
#include "proxy/session/http_service.h"
#include "proxy/session/http_streams.h"
#include "proxy/session/policy_watch.h"

#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>

namespace weir::session {

class HttpSession final : private runtime::Drainable, private PolicyWatcher {
public:
  // default_host: what a request of HTTP/1.0 without a Host field means, in canonical form.
  HttpSession(HttpService& service, std::unique_ptr<net::Stream> client,
              std::unique_ptr<HttpJudge> judge, std::unique_ptr<net::Connector> connector,
              std::string default_host);
  ~HttpSession() override;

  static boost::asio::awaitable<void> serve(std::unique_ptr<HttpSession> session);

private:
  static boost::asio::awaitable<void> hand_over(std::unique_ptr<HttpSession> session);
  boost::asio::awaitable<void> linger_close();
  // An idle connection ends now, another after its present request.
  void on_drain() override;
  // A request under way that is no longer allowed ends, a tunnel too.
  void on_policy_change() override;

  HttpService& x_service;
  std::unique_ptr<HttpJudge> x_judge;
  const std::string x_default_host;
  HttpStreams x_streams;
  HttpExchange x_exchange;
  HttpRequestReader x_reader;
  HttpForward x_forward;
};

} // namespace weir::session
