#include "proxy/http/framing.h"

#include "proxy/http/ascii.h"
#include "proxy/http/field_names.h"

namespace weir::http {
namespace {

enum class Field : std::uint8_t {
  kEndToEnd,
  kHost,
  kContentLength,
  kTransferEncoding,
  kConnection,
  kUpgrade,
  kExpect,
  kTe,
  kTrailer,
  kDropped,
};

Field classify(std::string_view name) {
  switch (lower(name[0])) {
  case 'c':
    if (equals_lower(name, "content-length")) {
      return Field::kContentLength;
    }
    return equals_lower(name, "connection") ? Field::kConnection : Field::kEndToEnd;
  case 'e':
    return equals_lower(name, "expect") ? Field::kExpect : Field::kEndToEnd;
  case 'h':
    if (equals_lower(name, "host")) {
      return Field::kHost;
    }
    return equals_lower(name, "http2-settings") ? Field::kDropped : Field::kEndToEnd;
  case 'k':
    return equals_lower(name, "keep-alive") ? Field::kDropped : Field::kEndToEnd;
  case 'p':
    return equals_lower(name, "proxy-connection") ? Field::kDropped : Field::kEndToEnd;
  case 't':
    if (equals_lower(name, "transfer-encoding")) {
      return Field::kTransferEncoding;
    }
    if (equals_lower(name, "te")) {
      return Field::kTe;
    }
    return equals_lower(name, "trailer") ? Field::kTrailer : Field::kEndToEnd;
  case 'u':
    return equals_lower(name, "upgrade") ? Field::kUpgrade : Field::kEndToEnd;
  default:
    return Field::kEndToEnd;
  }
}

// 1*DIGIT and nothing else; the bound leaves room for sums.
std::optional<std::uint64_t> parse_length(std::string_view text) {
  if (text.empty() || text.size() > 18 || !all(kDigitByte, text)) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char digit : text) {
    value = value * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  return value;
}

struct Seen {
  std::optional<std::uint64_t> length;
  bool chunked = false;
  bool close = false, keep_alive = false, upgrade_option = false;
  std::string_view upgrade;
  unsigned upgrades = 0;
  bool malformed_expect = false, expect_continue = false;
  bool takes_trailers = false;
};

// Which end-to-end fields are passed on.
struct Kept {
  bool forwarding_claims = false, trailer = false;
};

// Both kinds of message at once; what differs is decided by the callers.
Refusal collect(const std::vector<Header>& headers, int status, Kept kept,
                std::vector<std::string_view>& options, std::vector<Header>& fields, Seen& seen) {
  options.clear();
  fields.clear();
  fields.reserve(headers.capacity());
  for (const Header& header : headers) {
    switch (classify(header.name)) {
    case Field::kContentLength:
      if (seen.length) {
        return {status, "several-content-lengths"};
      }
      seen.length = parse_length(header.value);
      if (!seen.length) {
        return {status, "malformed-content-length"};
      }
      break;
    case Field::kTransferEncoding:
      if (seen.chunked || !equals_lower(header.value, "chunked")) {
        return {status, "malformed-transfer-encoding"};
      }
      seen.chunked = true;
      break;
    case Field::kConnection:
      for_each_element(header.value, [&](std::string_view option) {
        if (equals_lower(option, "close")) {
          seen.close = true;
        } else if (equals_lower(option, "keep-alive")) {
          seen.keep_alive = true;
        } else if (equals_lower(option, "upgrade")) {
          seen.upgrade_option = true;
        } else {
          options.push_back(option);
        }
      });
      break;
    case Field::kUpgrade:
      ++seen.upgrades;
      seen.upgrade = header.value;
      break;
    case Field::kExpect:
      seen.expect_continue = equals_lower(header.value, "100-continue");
      seen.malformed_expect = !seen.expect_continue;
      break;
    case Field::kTe:
      for_each_element(header.value, [&](std::string_view coding) {
        seen.takes_trailers = seen.takes_trailers || equals_lower(coding, "trailers");
      });
      break;
    case Field::kTrailer:
      if (kept.trailer) {
        fields.push_back(header);
      }
      break;
    case Field::kEndToEnd:
      if (!reserved_field(header.name) &&
          (kept.forwarding_claims || !forwarding_claim(header.name))) {
        fields.push_back(header);
      }
      break;
    case Field::kHost:
    case Field::kDropped:
      break;
    }
  }
  if (seen.length && seen.chunked) {
    return {status, "content-length-and-transfer-encoding"};
  }
  if (!options.empty()) {
    std::erase_if(fields, [&](const Header& field) {
      for (const std::string_view option : options) {
        if (option.size() == field.name.size()) {
          bool same = true;
          for (std::size_t i = 0; same && i < option.size(); ++i) {
            same = lower(option[i]) == lower(field.name[i]);
          }
          if (same) {
            return true;
          }
        }
      }
      return false;
    });
  }
  return {};
}

// One token, and not one behind which requests would travel that policy does not see.
std::string_view acceptable_upgrade(const Seen& seen) {
  const std::string_view token = seen.upgrade;
  if (!seen.upgrade_option || seen.upgrades != 1 || token.empty()) {
    return {};
  }
  for (const char byte : token) {
    if (!is(kTokenByte, byte) && byte != '/') {
      return {};
    }
  }
  for (const std::string_view refused :
       {std::string_view("h2"), std::string_view("http"), std::string_view("tls")}) {
    if (token.size() >= refused.size() && equals_lower(token.substr(0, refused.size()), refused)) {
      return {};
    }
  }
  return token;
}

Framing framing_of(const Seen& seen, Framing::Kind otherwise) {
  if (seen.chunked) {
    return {Framing::Kind::kChunked, 0, false};
  }
  if (seen.length) {
    return *seen.length == 0 ? Framing{Framing::Kind::kNone, 0, true}
                             : Framing{Framing::Kind::kLength, *seen.length, false};
  }
  return {otherwise, 0, false};
}

} // namespace

Refusal examine(const RequestHead& head, RequestFacts& facts, bool keep_forwarding_claims) {
  Seen seen;
  if (const Refusal refusal = collect(head.headers, 400, {keep_forwarding_claims, false},
                                      facts.connection_options, facts.fields, seen)) {
    return refusal;
  }
  const bool http11 = head.version == Version::kHttp11;
  if (seen.chunked && !http11) {
    return {400, "transfer-encoding-in-http10"};
  }
  if (seen.malformed_expect && http11) {
    return {417, "expectation"};
  }
  facts.body = framing_of(seen, Framing::Kind::kNone);
  const bool has_body = facts.body.kind != Framing::Kind::kNone;
  facts.keep_alive = !seen.close && (http11 || seen.keep_alive);
  facts.takes_trailers = seen.takes_trailers && http11;
  facts.expects_continue = seen.expect_continue && http11 && has_body;
  facts.upgrade = http11 && !has_body ? acceptable_upgrade(seen) : std::string_view{};
  return {};
}

Refusal examine(const ResponseHead& head, bool to_head, ResponseFacts& facts) {
  Seen seen;
  if (const Refusal refusal =
          collect(head.headers, 502, {true, true}, facts.connection_options, facts.fields, seen)) {
    return refusal;
  }
  const bool http11 = head.version == Version::kHttp11;
  if (seen.chunked && !http11) {
    return {502, "transfer-encoding-in-http10"};
  }
  facts.upgrade = acceptable_upgrade(seen);
  facts.keep_alive = !seen.close && (http11 || seen.keep_alive);
  facts.described_length.reset();
  if (head.status < 200 || head.status == 204 || head.status == 304 || to_head) {
    facts.body = {};
    if (to_head || head.status == 304) {
      facts.described_length = seen.length;
    }
    return {};
  }
  facts.body = framing_of(seen, Framing::Kind::kUntilClose);
  if (facts.body.kind == Framing::Kind::kUntilClose) {
    facts.keep_alive = false;
  }
  return {};
}

} // namespace weir::http
