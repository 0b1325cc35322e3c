#include "proxy/http/serializer.h"

#include "proxy/http/ascii.h"
#include "proxy/http/denial.h"

#include <charconv>

namespace weir::http {
namespace {

// A string of this size takes most heads; it is kept from message to message.
constexpr std::size_t kUsualHead = 512;

void append_number(std::uint64_t value, std::string& out) {
  std::array<char, 20> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  out.append(text.data(), end);
}

void append_field(std::string_view name, std::string_view value, std::string& out) {
  out.append(name);
  out.append(": ");
  out.append(value);
  out.append("\r\n");
}

void append_length(std::uint64_t length, std::string& out) {
  out.append("Content-Length: ");
  append_number(length, out);
  out.append("\r\n");
}

void append_framing(const Framing& framing, std::string& out) {
  switch (framing.kind) {
  case Framing::Kind::kLength:
    append_length(framing.length, out);
    break;
  case Framing::Kind::kChunked:
    out.append("Transfer-Encoding: chunked\r\n");
    break;
  case Framing::Kind::kNone:
    if (framing.explicit_zero) {
      append_length(0, out);
    }
    break;
  case Framing::Kind::kUntilClose:
    break;
  }
}

std::string_view phrase(int status) {
  switch (status) {
  case 400:
    return "Bad Request";
  case 403:
    return "Forbidden";
  case 405:
    return "Method Not Allowed";
  case 408:
    return "Request Timeout";
  case 414:
    return "URI Too Long";
  case 417:
    return "Expectation Failed";
  case 431:
    return "Request Header Fields Too Large";
  case 502:
    return "Bad Gateway";
  case 503:
    return "Service Unavailable";
  case 504:
    return "Gateway Timeout";
  default:
    return "Error";
  }
}

} // namespace

void write_request_head(const RequestHead& head, const CanonicalTarget& target,
                        const RequestFacts& facts, std::span<const Header> fields,
                        std::string& out) {
  out.reserve(kUsualHead);
  out.append(head.method);
  out.push_back(' ');
  out.append(target.path.empty() ? target.host : target.path);
  out.append(" HTTP/1.1\r\n");
  append_field("Host", target.host, out);
  for (const Header& field : fields) {
    append_field(field.name, field.value, out);
  }
  append_framing(facts.body, out);
  if (facts.expects_continue) {
    out.append("Expect: 100-continue\r\n");
  }
  if (facts.takes_trailers && facts.upgrade.empty()) {
    out.append("TE: trailers\r\nConnection: te\r\n");
  }
  if (!facts.upgrade.empty()) {
    out.append("Connection: upgrade\r\n");
    append_field("Upgrade", facts.upgrade, out);
  }
  out.append("\r\n");
}

void write_response_head(const ResponseHead& head, const ResponseFacts& facts,
                         const Framing& framing, ConnectionField connection, std::string& out) {
  out.reserve(kUsualHead);
  out.append("HTTP/1.1 ");
  append_number(static_cast<std::uint64_t>(head.status), out);
  out.push_back(' ');
  out.append(head.reason);
  out.append("\r\n");
  for (const Header& field : facts.fields) {
    append_field(field.name, field.value, out);
  }
  append_framing(framing, out);
  if (facts.described_length) {
    append_length(*facts.described_length, out);
  }
  switch (connection) {
  case ConnectionField::kNone:
    break;
  case ConnectionField::kClose:
    out.append("Connection: close\r\n");
    break;
  case ConnectionField::kKeepAlive:
    out.append("Connection: keep-alive\r\n");
    break;
  case ConnectionField::kUpgrade:
    out.append("Connection: upgrade\r\n");
    append_field("Upgrade", facts.upgrade, out);
    break;
  }
  out.append("\r\n");
}

void write_own_answer(const OwnAnswer& answer, std::string& out) {
  constexpr std::string_view kEnd = "\r\n";
  const bool problem = !answer.problem.empty();
  const std::string_view text = problem                ? answer.problem
                                : answer.status == 403 ? "Access denied"
                                                       : phrase(answer.status);
  out.reserve(kUsualHead);
  out.append("HTTP/1.1 ");
  append_number(static_cast<std::uint64_t>(answer.status), out);
  out.push_back(' ');
  out.append(phrase(answer.status));
  out.append("\r\nServer: weir\r\n");
  append_field("Content-Type", problem ? kProblemType : "text/plain", out);
  // A label is made of Kubernetes names; anything else would be an injected field.
  if (!answer.denied_by.empty() && all(kValueByte, answer.denied_by)) {
    append_field("x-weir-denied-by", answer.denied_by, out);
  }
  append_length(text.size() + (problem ? 0 : kEnd.size()), out);
  if (answer.connection == ConnectionField::kClose) {
    append_field("Connection", "close", out);
  } else if (answer.connection == ConnectionField::kKeepAlive) {
    append_field("Connection", "keep-alive", out);
  }
  out.append(kEnd);
  if (!answer.to_head) {
    out.append(text);
    if (!problem) {
      out.append(kEnd);
    }
  }
}

std::string_view ChunkLine::format(std::size_t size) {
  const auto [end, error] =
      std::to_chars(x_text.data(), x_text.data() + x_text.size() - 2, size, 16);
  end[0] = '\r';
  end[1] = '\n';
  return {x_text.data(), static_cast<std::size_t>(end + 2 - x_text.data())};
}

} // namespace weir::http
