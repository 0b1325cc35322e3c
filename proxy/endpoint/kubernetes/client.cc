#include "proxy/endpoint/kubernetes/client.h"

#include "proxy/base/ip.h"
#include "proxy/base/version.h"
#include "proxy/endpoint/kubernetes/access.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace weir::endpoint::kubernetes {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

// Beast of Boost 1.81 takes no deferred.
constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kConnectTimeout{10};
constexpr std::uint32_t kMaxHead = 32 * 1024;
constexpr std::size_t kPiece = 64 * 1024;
constexpr long kMaxRetryAfter = 60;

Error as_error(boost::system::error_code failed, std::string what) {
  return {failed, "kubernetes: " + std::move(what)};
}

// A server that vanished without a word shows after about a minute, not after a watch's end.
void keep_alive(beast::tcp_stream& stream) {
  boost::system::error_code ignored; // only makes the discovery slower
  stream.socket().set_option(asio::socket_base::keep_alive(true), ignored);
  for (const auto& [option, value] :
       {std::pair(TCP_KEEPIDLE, 30), std::pair(TCP_KEEPINTVL, 10), std::pair(TCP_KEEPCNT, 3)}) {
    static_cast<void>(
        ::setsockopt(stream.socket().native_handle(), IPPROTO_TCP, option, &value, sizeof value));
  }
}

Result<void> trust(ssl::context& tls, const Access& access) {
  boost::system::error_code failed;
  tls.set_verify_mode(ssl::verify_peer, failed);
  SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_2_VERSION);
  if (access.ca.empty()) {
    tls.set_default_verify_paths(failed);
  } else {
    tls.add_certificate_authority(asio::buffer(access.ca), failed);
  }
  if (failed) {
    return as_error(failed, "read the authority's certificate");
  }
  if (!access.certificate.empty()) {
    tls.use_certificate_chain(asio::buffer(access.certificate), failed);
    if (!failed) {
      tls.use_private_key(asio::buffer(access.key), ssl::context::pem, failed);
    }
    if (failed) {
      return as_error(failed, "read the client certificate and key");
    }
  }
  return {};
}

template <typename Stream>
class StreamReply final : public Reply {
public:
  StreamReply(asio::io_context& context, std::optional<ssl::context> tls,
              std::chrono::seconds silence)
      : x_tls(std::move(tls)), x_stream(make(context, x_tls)), x_silence(silence) {
    x_parser.body_limit(boost::none); // bodies are read in pieces; the reader has the limit
    x_parser.header_limit(kMaxHead);
  }

  asio::awaitable<Result<void>> open(Access access, std::string target) {
    auto& lowest = beast::get_lowest_layer(x_stream);
    asio::ip::tcp::resolver resolver(lowest.get_executor());
    auto [unresolved, found] = co_await resolver.async_resolve(access.host, access.port, kToken);
    if (unresolved) {
      co_return as_error(unresolved, "resolve " + access.host);
    }
    lowest.expires_after(kConnectTimeout);
    auto [unconnected, peer] = co_await lowest.async_connect(found, kToken);
    if (unconnected) {
      co_return as_error(unconnected, "connect " + access.host + ":" + access.port);
    }
    keep_alive(lowest);
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      if (!IpAddress::parse(access.host) &&
          SSL_set_tlsext_host_name(x_stream.native_handle(), access.host.c_str()) != 1) {
        co_return invalid_error("kubernetes: not a host name: " + access.host);
      }
      x_stream.set_verify_callback(ssl::host_name_verification(access.host));
      const auto [refused] = co_await x_stream.async_handshake(ssl::stream_base::client, kToken);
      if (refused) {
        co_return as_error(refused, "TLS with " + access.host + ":" + access.port);
      }
    }
    co_return co_await ask(access, target);
  }

  asio::awaitable<Result<std::string>> read() override {
    while (!x_parser.is_done()) {
      x_parser.get().body().data = x_piece.data();
      x_parser.get().body().size = x_piece.size();
      beast::get_lowest_layer(x_stream).expires_after(x_silence);
      auto [failed, size] = co_await http::async_read_some(x_stream, x_buffer, x_parser, kToken);
      const std::size_t got = x_piece.size() - x_parser.get().body().size;
      if (got > 0) {
        co_return std::string(x_piece.data(), got); // what failed then fails again
      }
      if (failed && failed != http::error::need_buffer) {
        co_return as_error(failed, "read the answer");
      }
    }
    co_return std::string();
  }

private:
  static Stream make(asio::io_context& context, std::optional<ssl::context>& tls) {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      return Stream(beast::tcp_stream(context), *tls);
    } else {
      return Stream(context);
    }
  }

  asio::awaitable<Result<void>> ask(const Access& access, const std::string& target) {
    http::request<http::empty_body> request(http::verb::get, target, 11);
    request.set(http::field::host,
                access.host.find(':') == std::string::npos ? access.host : "[" + access.host + "]");
    request.set(http::field::accept, "application/json");
    request.set(http::field::user_agent, "weir-proxy");
    request.set(http::field::connection, "close");
    if (!access.token.empty()) {
      request.set(http::field::authorization, "Bearer " + access.token);
    }
    auto [unsent, sent] = co_await http::async_write(x_stream, request, kToken);
    if (unsent) {
      co_return as_error(unsent, "ask for " + target);
    }
    beast::get_lowest_layer(x_stream).expires_after(x_silence);
    auto [failed, size] = co_await http::async_read_header(x_stream, x_buffer, x_parser, kToken);
    if (failed) {
      co_return as_error(failed, "ask for " + target);
    }
    status = x_parser.get().result_int();
    const auto wish = x_parser.get()[http::field::retry_after];
    long seconds = 0; // a date instead of a number is no wish that is worth a parser
    std::from_chars(wish.data(), wish.data() + wish.size(), seconds);
    retry_after = std::chrono::seconds(std::clamp(seconds, 0L, kMaxRetryAfter));
    co_return Result<void>();
  }

  std::optional<ssl::context> x_tls; // outlives the stream
  Stream x_stream;
  std::chrono::seconds x_silence;
  beast::flat_buffer x_buffer{kMaxHead + kPiece};
  http::response_parser<http::buffer_body> x_parser;
  std::array<char, kPiece> x_piece;
};

template <typename Stream>
asio::awaitable<Result<std::unique_ptr<Reply>>> opened(std::unique_ptr<StreamReply<Stream>> reply,
                                                       Access access, std::string target) {
  const auto done = co_await reply->open(std::move(access), std::move(target));
  if (!done) {
    co_return done.error();
  }
  co_return Result<std::unique_ptr<Reply>>(std::move(reply));
}

} // namespace

asio::awaitable<Result<std::unique_ptr<Reply>>> Client::get(std::string target,
                                                            std::chrono::seconds silence) {
  auto access = read_access(x_kubeconfig);
  if (!access) {
    co_return access.error();
  }
  if (!access->tls) {
    auto plain = std::make_unique<StreamReply<beast::tcp_stream>>(x_context, std::nullopt, silence);
    co_return co_await opened(std::move(plain), std::move(*access), std::move(target));
  }
  std::optional<ssl::context> tls(std::in_place, ssl::context::tls_client);
  if (auto trusted = trust(*tls, *access); !trusted) {
    co_return trusted.error();
  }
  auto sealed = std::make_unique<StreamReply<TlsStream>>(x_context, std::move(tls), silence);
  co_return co_await opened(std::move(sealed), std::move(*access), std::move(target));
}

} // namespace weir::endpoint::kubernetes
