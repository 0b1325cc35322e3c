#include "proxy/session/http_tunnel.h"

#include "proxy/net/relay.h"

namespace weir::session {

boost::asio::awaitable<void> run_tunnel(HttpService& service, HttpStreams& streams,
                                        HttpExchange& exchange) {
  net::Stream& client = *streams.client;
  net::Stream& upstream = streams.upstream.stream();
  net::Gather early{streams.from_client.view()}; // sent by the client before it knew
  exchange.bytes_in += streams.from_client.size();
  net::ErrorCode error;
  if (!net::write_now(upstream, early, error)) {
    error = co_await net::write_rest(upstream, early);
  }
  bool clean = !error;
  if (clean) {
    streams.progress();
    const net::RelayResult result =
        co_await net::relay(client, upstream, service.pool, [&streams] { streams.progress(); });
    exchange.bytes_in += result.bytes_in;
    exchange.bytes_out += result.bytes_out;
    clean = result.clean;
  }
  if (clean) {
    client.close();
    upstream.close();
  } else {
    streams.abort();
  }
}

} // namespace weir::session
