// HTTP/1 heads as plain data, between the parser and whoever judges or forwards them.
//
// Text is views into the buffer that was parsed: good until that buffer is compacted or refilled.
// A Head is kept by its session and refilled for each message, so that its vectors keep their
// storage.
#pragma once

#include "policy-compiler/runtime/http_request.h"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace weir::http {

using Header = policy::HttpHeader;

enum class Version : std::uint8_t { kHttp10, kHttp11 };

struct RequestHead {
  std::string_view method;
  std::string_view target; // as received
  Version version = Version::kHttp11;
  std::vector<Header> headers; // as received; values without surrounding whitespace
};

struct ResponseHead {
  int status = 0;
  std::string_view reason;
  Version version = Version::kHttp11;
  std::vector<Header> headers;
};

// How long a message's body is (RFC 9112 §6.3).
struct Framing {
  enum class Kind : std::uint8_t { kNone, kLength, kChunked, kUntilClose };
  Kind kind = Kind::kNone;
  std::uint64_t length = 0;   // kLength; never 0 there: that is kNone with `explicit_zero`
  bool explicit_zero = false; // "Content-Length: 0" was said
};

// Why a message is refused, and with what answer. The reason is static text for logs and metrics.
struct Refusal {
  int status = 0; // 0: none
  std::string_view reason;
  explicit operator bool() const { return status != 0; }
};

} // namespace weir::http
