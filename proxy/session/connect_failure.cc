#include "proxy/session/connect_failure.h"

#include "proxy/tls/tls_stream.h"

#include <boost/asio/error.hpp>

namespace weir::session {

ConnectFailure connect_failure(net::ErrorCode error) {
  using tls::StreamError;
  if (error == boost::asio::error::timed_out) {
    return {504, "upstream-connect-timeout"};
  }
  if (error == boost::asio::error::connection_refused) {
    return {503, "upstream-refused"};
  }
  if (error == boost::asio::error::connection_reset) {
    return {502, "upstream-closed"}; // it was there for a moment
  }
  if (error == tls::make_error(StreamError::kCertificate)) {
    return {503, "upstream-certificate"};
  }
  if (error == tls::make_error(StreamError::kNoApplication)) {
    return {502, "upstream-alpn"};
  }
  if (error == tls::make_error(StreamError::kSecret)) {
    return {503, "secret"};
  }
  for (const StreamError one :
       {StreamError::kHandshake, StreamError::kTruncated, StreamError::kProtocol}) {
    if (error == tls::make_error(one)) {
      return {503, "upstream-tls"};
    }
  }
  return {503, "upstream-unreachable"};
}

} // namespace weir::session
