// From bytes to a head: llhttp finds the parts, and a second walk over the same bytes proves that
// these parts, joined by exactly the separators that RFC 9112 allows, are the head. llhttp alone
// accepts some forms that another parser reads differently (HTTP/0.9, repeated spaces);
// whatever the two do not agree on is refused. Bodies are none of its business (body.h).
//
// Methods are not llhttp's business either: it knows a list of them, while any token is a method
// (RFC 9110 §9.1) and policy is to say what becomes of it. The parser reads the method and gives
// llhttp a stand-in.
//
// Owned by a session, used on its thread. Never allocates once its vectors have grown.
#pragma once

#include "proxy/http/message.h"

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace weir::http {

struct HeadLimits {
  std::size_t max_head = 60 * 1024;
  std::size_t max_target = 16 * 1024;
  std::size_t max_headers = 100;
};

enum class ParseStatus : std::uint8_t { kMore, kDone, kRefused };

// The part that is the same for requests and responses.
class HeadParser {
public:
  HeadParser(const HeadParser&) = delete;
  HeadParser& operator=(const HeadParser&) = delete;

  // Bytes of the head, with the empty line that ends it; after kDone.
  [[nodiscard]] std::size_t head_size() const { return x_head_size; }
  // After kRefused.
  [[nodiscard]] Refusal refusal() const { return x_refusal; }

protected:
  HeadParser(llhttp_type_t type, HeadLimits limits);
  ~HeadParser() = default;

  void start();
  // bytes: everything of this message so far; it may lie elsewhere than at the last call.
  ParseStatus advance(std::string_view bytes);
  // Has llhttp read `instead` in place of the first `size` bytes. Before any advance().
  void substitute(std::string_view instead, std::size_t size);
  ParseStatus refuse(int status, std::string_view reason);
  // Checks and fills the header fields from `at` to the end of the head.
  bool take_headers(std::string_view bytes, std::size_t at, std::vector<Header>& headers);

  struct Span {
    std::uint32_t offset = 0, length = 0;
  };
  struct Field {
    Span name, value;
  };
  llhttp_t x_parser{};
  Span x_target, x_reason;

private:
  struct Callbacks;
  static const llhttp_settings_t kSettings;
  int extend(Span& span, const char* at, std::size_t length, std::size_t limit, Refusal on_excess);

  HeadLimits x_limits;
  const char* x_base = nullptr; // of the bytes being parsed, during advance()
  std::size_t x_fed = 0;
  std::size_t x_head_size = 0;
  std::vector<Field> x_fields;
  bool x_in_value = false;
  Refusal x_refusal;
};

class RequestParser : public HeadParser {
public:
  explicit RequestParser(HeadLimits limits) : HeadParser(HTTP_REQUEST, limits) {}

  void reset() {
    start();
    x_method_end = 0;
    x_line_good = false;
  }
  // One empty line before the request line is skipped (RFC 9112 §2.2) and counted in head_size().
  ParseStatus parse(std::string_view bytes, RequestHead& head);

private:
  static constexpr std::size_t kMaxMethod = 64;

  ParseStatus find_method(std::string_view bytes);
  // What is no request line is refused when its end is there: the rest may never come.
  ParseStatus check_line(std::string_view bytes);

  std::size_t x_method_at = 0, x_method_end = 0; // 0: not yet known
  bool x_line_good = false;                      // its end was seen, it is well-formed
};

class ResponseParser : public HeadParser {
public:
  explicit ResponseParser(HeadLimits limits) : HeadParser(HTTP_RESPONSE, limits) {}

  void reset() { start(); }
  ParseStatus parse(std::string_view bytes, ResponseHead& head);
};

} // namespace weir::http
