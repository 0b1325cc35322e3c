#include "proxy/http/parser.h"

#include "proxy/http/ascii.h"

#include <algorithm>

namespace weir::http {
namespace {

constexpr Refusal kHeadTooLong{431, "head-too-long"};
constexpr Refusal kTooManyHeaders{431, "too-many-headers"};
constexpr Refusal kTargetTooLong{414, "target-too-long"};
constexpr Refusal kSplitToken{400, "malformed-head"};

// So that a connection's first requests do not let the vectors grow step by step.
constexpr std::size_t kUsualHeaders = 16;

// Static texts, one a family of llhttp's errors: they become labels of logs and metrics.
std::string_view reason_of(llhttp_errno_t error) {
  switch (error) {
  case HPE_INVALID_URL:
    return "malformed-target";
  case HPE_INVALID_VERSION:
  case HPE_INVALID_CONSTANT:
    return "malformed-version";
  case HPE_INVALID_CONTENT_LENGTH:
  case HPE_UNEXPECTED_CONTENT_LENGTH:
    return "malformed-content-length";
  case HPE_INVALID_TRANSFER_ENCODING:
    return "malformed-transfer-encoding";
  case HPE_INVALID_STATUS:
    return "malformed-status";
  case HPE_CR_EXPECTED:
  case HPE_LF_EXPECTED:
    return "bare-cr-or-lf";
  case HPE_UNEXPECTED_SPACE:
  case HPE_INVALID_HEADER_TOKEN:
    return "malformed-header";
  default:
    return "malformed-head";
  }
}

} // namespace

// llhttp's callbacks only record where things are: nothing is judged inside them, and the parser
// is never destroyed or reset from one.
struct HeadParser::Callbacks {
  static HeadParser& self(llhttp_t* parser) { return *static_cast<HeadParser*>(parser->data); }

  static int on_url(llhttp_t* parser, const char* at, std::size_t length) {
    HeadParser& s = self(parser);
    return s.extend(s.x_target, at, length, s.x_limits.max_target, kTargetTooLong);
  }
  static int on_status(llhttp_t* parser, const char* at, std::size_t length) {
    HeadParser& s = self(parser);
    return s.extend(s.x_reason, at, length, s.x_limits.max_head, kHeadTooLong);
  }
  static int on_field(llhttp_t* parser, const char* at, std::size_t length) {
    HeadParser& s = self(parser);
    if (s.x_fields.empty() || s.x_in_value) {
      if (s.x_fields.size() == s.x_limits.max_headers) {
        s.x_refusal = kTooManyHeaders;
        return HPE_USER;
      }
      s.x_fields.emplace_back();
      s.x_in_value = false;
    }
    return s.extend(s.x_fields.back().name, at, length, s.x_limits.max_head, kHeadTooLong);
  }
  static int on_value(llhttp_t* parser, const char* at, std::size_t length) {
    HeadParser& s = self(parser);
    if (s.x_fields.empty()) {
      s.x_refusal = kSplitToken;
      return HPE_USER;
    }
    s.x_in_value = true;
    return s.extend(s.x_fields.back().value, at, length, s.x_limits.max_head, kHeadTooLong);
  }
  // 2 means: there is no body for llhttp to read; it stops right behind the head.
  static int on_headers_complete(llhttp_t* /*parser*/) { return 2; }
};

const llhttp_settings_t HeadParser::kSettings = [] {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = &Callbacks::on_url;
  settings.on_status = &Callbacks::on_status;
  settings.on_header_field = &Callbacks::on_field;
  settings.on_header_value = &Callbacks::on_value;
  settings.on_headers_complete = &Callbacks::on_headers_complete;
  return settings;
}();

HeadParser::HeadParser(llhttp_type_t type, HeadLimits limits) : x_limits(limits) {
  llhttp_init(&x_parser, type, &kSettings);
  start();
}

void HeadParser::start() {
  llhttp_init(&x_parser, static_cast<llhttp_type_t>(x_parser.type), &kSettings);
  x_parser.data = this;
  x_target = x_reason = {};
  x_fields.clear();
  x_fed = 0;
  x_head_size = 0;
  x_in_value = false;
  x_refusal = {};
}

// A token may come in pieces, when the bytes do; the pieces always touch.
int HeadParser::extend(Span& span, const char* at, std::size_t length, std::size_t limit,
                       Refusal on_excess) {
  const auto offset = static_cast<std::uint32_t>(at - x_base);
  if (span.length == 0) {
    span.offset = offset;
  } else if (span.offset + span.length != offset) {
    x_refusal = kSplitToken;
    return HPE_USER;
  }
  span.length += static_cast<std::uint32_t>(length);
  if (span.length > limit) {
    x_refusal = on_excess;
    return HPE_USER;
  }
  return 0;
}

ParseStatus HeadParser::refuse(int status, std::string_view reason) {
  x_head_size = 0;
  x_refusal = {status, reason};
  return ParseStatus::kRefused;
}

void HeadParser::substitute(std::string_view instead, std::size_t size) {
  llhttp_execute(&x_parser, instead.data(), instead.size());
  x_fed = size;
}

ParseStatus HeadParser::advance(std::string_view bytes) {
  x_base = bytes.data();
  x_fields.reserve(kUsualHeaders);
  const std::size_t limit = std::min(bytes.size(), x_limits.max_head);
  if (limit > x_fed) {
    const llhttp_errno_t error = llhttp_execute(&x_parser, x_base + x_fed, limit - x_fed);
    x_fed = limit;
    if (error == HPE_PAUSED_UPGRADE) {
      x_head_size = static_cast<std::size_t>(llhttp_get_error_pos(&x_parser) - x_base);
      return ParseStatus::kDone;
    }
    if (error != HPE_OK) {
      if (!x_refusal) {
        x_refusal = {400, reason_of(error)};
      }
      return ParseStatus::kRefused;
    }
  }
  if (bytes.size() >= x_limits.max_head) {
    // A target that has not ended yet is the likelier culprit than the headers.
    x_refusal = x_fields.empty() && x_target.length > 0 && x_parser.http_major == 0 ? kTargetTooLong
                                                                                    : kHeadTooLong;
    return ParseStatus::kRefused;
  }
  return ParseStatus::kMore;
}

bool HeadParser::take_headers(std::string_view bytes, std::size_t at,
                              std::vector<Header>& headers) {
  headers.clear();
  headers.reserve(std::max(x_fields.size(), kUsualHeaders));
  for (const Field& field : x_fields) {
    const std::string_view name = bytes.substr(field.name.offset, field.name.length);
    if (name.empty() || field.name.offset != at || !all(kTokenByte, name)) {
      return false;
    }
    at += name.size();
    if (bytes[at++] != ':') {
      return false;
    }
    const std::size_t end = bytes.find('\r', at);
    if (end == std::string_view::npos || end + 2 > x_head_size || bytes[end + 1] != '\n') {
      return false;
    }
    const std::string_view value = trim(bytes.substr(at, end - at));
    const std::string_view found = trim(bytes.substr(field.value.offset, field.value.length));
    const bool same =
        value.size() == found.size() && (value.empty() || value.data() == found.data());
    if (!same || !is_value(value)) {
      return false;
    }
    headers.push_back({name, value});
    at = end + 2;
  }
  return at + 2 == x_head_size && bytes[at] == '\r' && bytes[at + 1] == '\n';
}

ParseStatus RequestParser::find_method(std::string_view bytes) {
  std::size_t at = 0;
  if (!bytes.empty() && bytes[0] == '\r') {
    if (bytes.size() < 2) {
      return ParseStatus::kMore;
    }
    at = 2;
    if (bytes[1] != '\n' || (bytes.size() > at && (bytes[at] == '\r' || bytes[at] == '\n'))) {
      return refuse(400, "bare-cr-or-lf");
    }
  } else if (!bytes.empty() && bytes[0] == '\n') {
    return refuse(400, "bare-cr-or-lf");
  }
  std::size_t end = at;
  while (end < bytes.size() && is(kTokenByte, bytes[end])) {
    if (++end - at > kMaxMethod) {
      return refuse(400, "method-too-long");
    }
  }
  if (end == bytes.size()) {
    return ParseStatus::kMore;
  }
  const std::string_view method = bytes.substr(at, end - at);
  if (method.empty() || bytes[end] != ' ') {
    return refuse(400, "malformed-request-line");
  }
  if (method == "PRI") { // RFC 9113 §11.6 keeps it from any other use
    return refuse(400, "http2-preface");
  }
  x_method_at = at;
  x_method_end = end;
  // CONNECT has a form of target that no other method has.
  substitute(method == "CONNECT" ? "CONNECT " : "GET ", end + 1);
  return ParseStatus::kDone;
}

ParseStatus RequestParser::check_line(std::string_view bytes) {
  const std::size_t end = bytes.find_first_of("\r\n", x_method_end);
  if (end == std::string_view::npos) {
    return ParseStatus::kMore;
  }
  const std::string_view line = bytes.substr(0, end);
  if (!line.ends_with(" HTTP/1.1") && !line.ends_with(" HTTP/1.0")) {
    return refuse(400, "malformed-version");
  }
  x_line_good = true;
  return ParseStatus::kMore;
}

ParseStatus RequestParser::parse(std::string_view bytes, RequestHead& head) {
  if (x_method_end == 0) {
    if (const ParseStatus status = find_method(bytes); status != ParseStatus::kDone) {
      return status;
    }
  }
  const ParseStatus status = advance(bytes);
  if (status == ParseStatus::kMore && !x_line_good) {
    return check_line(bytes);
  }
  if (status != ParseStatus::kDone) {
    return status;
  }
  head.method = bytes.substr(x_method_at, x_method_end - x_method_at);
  head.target = bytes.substr(x_target.offset, x_target.length);
  // METHOD SP target SP HTTP/1.x CRLF, and nothing else.
  if (head.target.empty() || x_target.offset != x_method_end + 1) {
    return refuse(400, "malformed-request-line");
  }
  const std::size_t version = x_target.offset + head.target.size();
  const std::string_view rest = bytes.substr(version, head_size() - version);
  if (rest.starts_with(" HTTP/1.1\r\n")) {
    head.version = Version::kHttp11;
  } else if (rest.starts_with(" HTTP/1.0\r\n")) {
    head.version = Version::kHttp10;
  } else {
    return refuse(400, "malformed-version");
  }
  if (!take_headers(bytes, version + 11, head.headers)) {
    return refuse(400, "malformed-header");
  }
  return ParseStatus::kDone;
}

ParseStatus ResponseParser::parse(std::string_view bytes, ResponseHead& head) {
  const ParseStatus status = advance(bytes);
  if (status != ParseStatus::kDone) {
    return status;
  }
  // HTTP/1.x SP 3DIGIT [SP reason] CRLF. The space before an empty reason is often left out.
  const std::string_view line = bytes.substr(0, head_size());
  const std::size_t end = line.find("\r\n");
  if (end == std::string_view::npos || end < 12 || !all(kDigitByte, line.substr(9, 3)) ||
      (end > 12 && line[12] != ' ')) {
    return refuse(502, "malformed-status");
  }
  if (line.starts_with("HTTP/1.1 ")) {
    head.version = Version::kHttp11;
  } else if (line.starts_with("HTTP/1.0 ")) {
    head.version = Version::kHttp10;
  } else {
    return refuse(502, "malformed-version");
  }
  head.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  head.reason = end > 13 ? line.substr(13, end - 13) : std::string_view{};
  if (head.status < 100 || head.status > 599 || !is_value(head.reason)) {
    return refuse(502, "malformed-status");
  }
  if (!take_headers(bytes, end + 2, head.headers)) {
    return refuse(502, "malformed-header");
  }
  return ParseStatus::kDone;
}

} // namespace weir::http
