#include "proxy/session/http_streams.h"

#include <utility>

namespace weir::session {

HttpStreams::HttpStreams(HttpService& service, std::unique_ptr<net::Stream> client_stream,
                         std::unique_ptr<net::Connector> connector)
    : Deadline(service.watchdog), client(std::move(client_stream)),
      upstream(service, std::move(connector)), x_service(service) {}

void HttpStreams::enter(Phase phase, std::chrono::steady_clock::duration limit) {
  x_phase = phase;
  x_timed_out = false;
  expire_after(limit);
}

void HttpStreams::on_deadline() {
  x_timed_out = true;
  client->cancel();
  upstream.cancel();
}

void HttpStreams::expect_body(const http::Framing& framing) {
  if (framing.kind == http::Framing::Kind::kLength) {
    client->expect_bytes(framing.length);
    upstream.stream().expect_bytes(framing.length);
  }
}

void HttpStreams::abort() {
  client->abort();
  upstream.abort();
}

} // namespace weir::session
