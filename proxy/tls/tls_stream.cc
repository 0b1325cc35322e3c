#include "proxy/tls/tls_stream.h"

#include "proxy/base/check.h"

#include <boost/asio/error.hpp>
#include <boost/system/error_category.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace weir::tls {
namespace asio = boost::asio;

namespace {

constexpr std::size_t kRecord = 16 * 1024; // text in one record, at most (RFC 8446 §5.1)
constexpr std::size_t kBlock = kRecord + 512;

// Boost's base class has no virtual destructor; this one lives to the end of the process.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class Category final : public boost::system::error_category {
public:
  const char* name() const noexcept override { return "tls"; }
  std::string message(int value) const override {
    switch (static_cast<StreamError>(value)) {
    case StreamError::kHandshake:
      return "TLS handshake failed";
    case StreamError::kCertificate:
      return "certificate not trusted";
    case StreamError::kTruncated:
      return "TLS connection cut off";
    case StreamError::kProtocol:
      return "TLS protocol error";
    case StreamError::kNoApplication:
      return "no application protocol in common";
    case StreamError::kSecret:
      return "secret missing or broken";
    }
    return "TLS error";
  }
};
#pragma GCC diagnostic pop

} // namespace

net::ErrorCode make_error(StreamError error) {
  static const Category kCategory;
  return {static_cast<int>(error), kCategory};
}

void TlsStream::Delete::operator()(SSL* ssl) const { SSL_free(ssl); }

struct TlsStream::Io {
  static TlsStream& self(BIO* bio) { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int size) {
    TlsStream& stream = self(bio);
    BIO_clear_retry_flags(bio);
    const std::size_t count = std::min<std::size_t>(static_cast<std::size_t>(std::max(size, 0)),
                                                    stream.x_end - stream.x_begin);
    if (count == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(into, stream.x_in.data() + stream.x_begin, count);
    stream.x_begin += count;
    return static_cast<int>(count);
  }

  static int write(BIO* bio, const char* from, int size) {
    TlsStream& stream = self(bio);
    BIO_clear_retry_flags(bio);
    const iovec part{const_cast<char*>(from), static_cast<std::size_t>(std::max(size, 0))};
    const net::IoResult result = stream.x_below->try_write({&part, 1});
    if (result.error) {
      stream.x_below_error = result.error;
      return -1;
    }
    if (result.bytes == 0) {
      BIO_set_retry_write(bio);
      return -1;
    }
    return static_cast<int>(result.bytes);
  }

  static long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const kMade = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir stream");
      if (made == nullptr) {
        throw std::bad_alloc();
      }
      BIO_meth_set_read(made, read);
      BIO_meth_set_write(made, write);
      BIO_meth_set_ctrl(made, control);
      return made;
    }();
    return kMade;
  }

  static int choose(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned int size, void* /*user*/) {
    const auto& stream = *static_cast<TlsStream*>(SSL_get_app_data(ssl));
    for (unsigned int at = 0; at < size && at + 1 + offered[at] <= size; at += 1 + offered[at]) {
      const std::string_view one(reinterpret_cast<const char*>(offered + at + 1), offered[at]);
      if (one == stream.x_protocol) {
        *out = offered + at + 1;
        *out_size = offered[at];
        return SSL_TLSEXT_ERR_OK;
      }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
};

TlsStream::TlsStream(SSL_CTX* context, std::unique_ptr<net::Stream> below,
                     std::span<const std::uint8_t> received)
    : x_below(std::move(below)), x_ssl(SSL_new(context)), x_in(std::max(kBlock, received.size())),
      x_end(received.size()) {
  BIO* bio = BIO_new(Io::method());
  if (!x_ssl || bio == nullptr) {
    BIO_free(bio);
    throw std::bad_alloc();
  }
  std::copy(received.begin(), received.end(), x_in.begin());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(x_ssl.get(), bio, bio); // takes the BIO over
  SSL_set_app_data(x_ssl.get(), this);
}

TlsStream::~TlsStream() = default;

asio::awaitable<net::ErrorCode> TlsStream::accept(std::string_view protocol) {
  x_protocol = protocol;
  // The same function for every connection of the context, so that it may be set again and again.
  SSL_CTX_set_alpn_select_cb(SSL_get_SSL_CTX(x_ssl.get()), Io::choose, nullptr);
  SSL_set_accept_state(x_ssl.get());
  co_return co_await handshake();
}

asio::awaitable<net::ErrorCode> TlsStream::connect(std::string name,
                                                   std::vector<std::string> protocols) {
  std::string offered;
  for (const std::string& one : protocols) {
    offered.push_back(static_cast<char>(one.size()));
    offered.append(one);
  }
  SSL* const ssl = x_ssl.get();
  X509_VERIFY_PARAM* const verify = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(verify, name.c_str()) != 1) {
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_VERIFY_PARAM_set1_host(verify, name.data(), name.size()) != 1 ||
        SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) {
      ERR_clear_error();
      co_return make_error(StreamError::kHandshake);
    }
  }
  ERR_clear_error();
  if (!offered.empty() &&
      SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(offered.data()),
                          static_cast<unsigned int>(offered.size())) != 0) {
    throw std::bad_alloc();
  }
  SSL_set_connect_state(ssl);
  co_return co_await handshake();
}

std::string_view TlsStream::protocol() const {
  const unsigned char* text = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(x_ssl.get(), &text, &size);
  return {reinterpret_cast<const char*>(text), size};
}

// Why OpenSSL has failed.
net::ErrorCode TlsStream::failure(StreamError otherwise) {
  x_broken = true;
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (x_below_error) {
    return x_below_error;
  }
  if (SSL_get_verify_result(x_ssl.get()) != X509_V_OK ||
      (ERR_GET_LIB(code) == ERR_LIB_SSL &&
       ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)) {
    return make_error(StreamError::kCertificate);
  }
  return make_error(otherwise);
}

asio::awaitable<net::ErrorCode> TlsStream::handshake() {
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(x_ssl.get());
    if (result == 1) {
      co_return net::ErrorCode{};
    }
    net::ErrorCode error;
    switch (SSL_get_error(x_ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
      error = co_await read_below();
      if (error == asio::error::eof) {
        error = make_error(StreamError::kHandshake);
      }
      break;
    case SSL_ERROR_WANT_WRITE:
      error = co_await x_below->wait_writable();
      break;
    default:
      error = failure(StreamError::kHandshake);
    }
    if (error) {
      x_broken = true;
      co_return error;
    }
  }
}

asio::awaitable<net::ErrorCode> TlsStream::read_below() {
  WEIR_CHECK(x_begin == x_end);
  const net::IoResult read = co_await x_below->read_some({x_in.data(), x_in.size()});
  x_begin = 0;
  x_end = read.bytes;
  co_return read.error;
}

asio::awaitable<net::IoResult> TlsStream::read_some(std::span<char> into) {
  for (;;) {
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_read_ex(x_ssl.get(), into.data(), into.size(), &count);
    if (result == 1) {
      co_return net::IoResult{{}, count};
    }
    switch (SSL_get_error(x_ssl.get(), result)) {
    case SSL_ERROR_WANT_READ: {
      net::ErrorCode error = co_await read_below();
      if (error == asio::error::eof) {
        error = make_error(StreamError::kTruncated);
      }
      if (error) {
        co_return net::IoResult{error, 0};
      }
      break;
    }
    case SSL_ERROR_ZERO_RETURN:
      co_return net::IoResult{asio::error::eof, 0};
    default:
      // Also where an answer to the peer's own protocol messages finds no room: a peer that sends
      // such and does not read is not served.
      co_return net::IoResult{failure(StreamError::kProtocol), 0};
    }
  }
}

// Text for one record: a single piece as it lies there, several gathered.
std::span<const char> TlsStream::next_record(std::span<const iovec> parts, std::size_t skip) {
  // One a thread: filled and used up within a call.
  thread_local std::vector<char> gathered(kRecord);
  std::size_t filled = 0;
  for (const iovec& part : parts) {
    if (skip >= part.iov_len) {
      skip -= part.iov_len;
      continue;
    }
    const char* from = static_cast<const char*>(part.iov_base) + skip;
    const std::size_t left = part.iov_len - skip;
    skip = 0;
    if (filled == 0 && (left >= kRecord || &part == &parts.back())) {
      return {from, std::min(left, kRecord)};
    }
    const std::size_t taken = std::min(left, kRecord - filled);
    std::memcpy(gathered.data() + filled, from, taken);
    filled += taken;
    if (filled == kRecord) {
      break;
    }
  }
  return {gathered.data(), filled};
}

net::IoResult TlsStream::try_write(std::span<const iovec> parts) {
  if (x_write_ended || x_broken) {
    return {asio::error::broken_pipe, 0};
  }
  std::size_t total = 0;
  for (;;) {
    std::span<const char> text = next_record(parts, total);
    if (text.empty()) {
      return {{}, total};
    }
    if (!x_begun.empty()) {
      if (text.size() < x_begun.size() ||
          !std::equal(x_begun.begin(), x_begun.end(), text.begin())) {
        x_broken = true;
        return {asio::error::broken_pipe, total};
      }
      text = text.first(x_begun.size());
    }
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_write_ex(x_ssl.get(), text.data(), text.size(), &count);
    if (result == 1) {
      x_begun.clear();
      total += count;
      continue;
    }
    if (SSL_get_error(x_ssl.get(), result) == SSL_ERROR_WANT_WRITE) {
      x_begun.assign(text.begin(), text.end());
      return {{}, total};
    }
    return {failure(StreamError::kProtocol), total};
  }
}

asio::awaitable<net::ErrorCode> TlsStream::wait_writable() { return x_below->wait_writable(); }

void TlsStream::cancel() { x_below->cancel(); }

// close_notify, if there is room for it.
void TlsStream::say_goodbye() {
  if (!x_write_ended && !x_broken && x_begun.empty() && SSL_is_init_finished(x_ssl.get()) == 1) {
    ERR_clear_error();
    SSL_shutdown(x_ssl.get());
    ERR_clear_error();
  }
  x_write_ended = true;
}

void TlsStream::shutdown_write() {
  say_goodbye();
  x_below->shutdown_write();
}

void TlsStream::close() {
  say_goodbye();
  x_below->close();
}

void TlsStream::abort() {
  x_broken = true;
  x_below->abort();
}

bool TlsStream::stale() {
  return x_broken || x_begin != x_end || SSL_has_pending(x_ssl.get()) == 1 || x_below->stale();
}

} // namespace weir::tls
