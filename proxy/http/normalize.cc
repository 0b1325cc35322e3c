#include "proxy/http/normalize.h"

#include "proxy/base/ip.h"
#include "proxy/http/ascii.h"

#include <charconv>

namespace weir::http {
namespace {

constexpr std::size_t kMaxHost = 255 + 6; // a name's limit and ":65535"

// Two hexadecimal digits at `at` as a byte; -1: they are not there.
int hex_byte(std::string_view text, std::size_t at) {
  if (at + 2 > text.size()) {
    return -1;
  }
  const int high = hex_value(text[at]), low = hex_value(text[at + 1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool dangerous_when_decoded(int byte) {
  return byte == '/' || byte == '\\' || byte == 0 || byte == '.';
}

// A "%25" whose following digits name a dangerous byte: a server that decodes twice would see it.
// Any depth of encoding ("%252525...2e") is looked through.
bool hides_dangerous_byte(std::string_view text, std::size_t after_percent25) {
  int byte = hex_byte(text, after_percent25);
  while (byte == '%') {
    after_percent25 += 2;
    byte = hex_byte(text, after_percent25);
  }
  return byte >= 0 && dangerous_when_decoded(byte);
}

// Bytes that are the beginning of an overlong UTF-8 sequence (RFC 3629 §3): some decoders make
// "/" or "." of "%c0%ae" and its longer forms.
bool overlong_utf8(std::string_view text, std::size_t at, int lead) {
  if (lead < 0xc0 || at + 3 > text.size() || text[at] != '%') {
    return false;
  }
  const int next = hex_byte(text, at + 1);
  if (next < 0x80 || next > 0xbf) {
    return false;
  }
  return lead == 0xc0 || lead == 0xc1 || (lead == 0xe0 && next < 0xa0) ||
         (lead == 0xf0 && next < 0x90);
}

// Appends the path with its unreserved bytes decoded.
Refusal decode_unreserved(std::string_view path, std::string& out) {
  for (std::size_t at = 0; at < path.size(); ++at) {
    if (path[at] != '%') {
      out.push_back(path[at]);
      continue;
    }
    const int byte = hex_byte(path, at + 1);
    if (byte < 0) {
      return {400, "malformed-percent-encoding"};
    }
    if (is(kUnreservedByte, static_cast<char>(byte))) {
      out.push_back(static_cast<char>(byte));
    } else {
      out.append(path.substr(at, 3));
    }
    at += 2;
  }
  return {};
}

// On the decoded path, because decoding can complete an encoding: "%25%32%65" becomes "%252e".
Refusal refuse_residual_encodings(std::string_view path) {
  for (std::size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 3)) {
    const int byte = hex_byte(path, at + 1);
    if (dangerous_when_decoded(byte) || (byte == '%' && hides_dangerous_byte(path, at + 3))) {
      return {400, "encoded-separator"};
    }
    if (overlong_utf8(path, at + 3, byte)) {
      return {400, "overlong-utf8"};
    }
  }
  return {};
}

// 0: an ordinary segment, 1: ".", 2: ".."; -1: looks like one of them to servers that decode
// "%3b" before they cut parameters off.
int dot_segment(std::string_view segment) {
  if (segment.empty() || segment[0] != '.') {
    return 0;
  }
  const std::size_t dots = segment.size() > 1 && segment[1] == '.' ? 2 : 1;
  const std::string_view rest = segment.substr(dots);
  if (rest.empty() || rest[0] == ';') {
    return static_cast<int>(dots);
  }
  return hex_byte(rest, 1) == ';' && rest[0] == '%' ? -1 : 0;
}

// Rewrites text[from..] in place; the result is never longer.
Refusal remove_dot_segments(std::string& text) {
  std::size_t read = 0, write = 0;
  while (read < text.size()) {
    // text[read] is "/"
    std::size_t end = text.find('/', read + 1);
    const bool last = end == std::string::npos;
    if (last) {
      end = text.size();
    }
    const std::string_view segment(text.data() + read + 1, end - read - 1);
    const int dots = dot_segment(segment);
    if (dots < 0) {
      return {400, "encoded-separator"};
    }
    if (dots == 0) {
      text.replace(write, end - read, text, read, end - read);
      write += end - read;
    } else {
      if (dots == 2) {
        if (write == 0) {
          return {400, "path-above-root"};
        }
        write = text.rfind('/', write - 1);
      }
      if (last) {
        text[write++] = '/';
      }
    }
    read = end;
  }
  text.resize(write);
  return {};
}

void merge_slashes(std::string& text) {
  std::size_t write = 0;
  for (const char byte : text) {
    if (byte != '/' || write == 0 || text[write - 1] != '/') {
      text[write++] = byte;
    }
  }
  text.resize(write);
}

// True when the steps after the split would leave the path as it is.
bool plain(std::string_view path) {
  char before = 0;
  for (const char byte : path) {
    if (byte == '%' || ((byte == '/' || byte == '.') && before == '/')) {
      return false;
    }
    before = byte;
  }
  return true;
}

Refusal canonical_port(std::string_view port) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || port[0] == '0' || !all(kDigitByte, port) || error != std::errc{} ||
      number > 65535) {
    return {400, "malformed-port"};
  }
  return {};
}

} // namespace

Refusal canonical_path(std::string_view path_and_query, std::string& out) {
  out.clear();
  if (!all(kTargetByte, path_and_query)) {
    return {400, "forbidden-byte-in-target"};
  }
  const std::size_t question = path_and_query.find('?');
  const std::string_view path = path_and_query.substr(0, question);
  if (path.empty() || path[0] != '/') {
    return {400, "malformed-target"};
  }
  if (plain(path)) {
    out.assign(path_and_query);
    return {};
  }
  if (const Refusal refusal = decode_unreserved(path, out)) {
    return refusal;
  }
  if (const Refusal refusal = refuse_residual_encodings(out)) {
    return refusal;
  }
  if (const Refusal refusal = remove_dot_segments(out)) {
    return refusal;
  }
  merge_slashes(out);
  if (question != std::string_view::npos) {
    out.append(path_and_query.substr(question));
  }
  return {};
}

Refusal canonical_host(std::string_view authority, std::string& out) {
  out.clear();
  if (authority.empty()) {
    return {400, "empty-host"};
  }
  if (authority.size() > kMaxHost) {
    return {400, "malformed-host"};
  }
  std::string_view name, port;
  bool has_port = false;
  if (authority[0] == '[') {
    const std::size_t close = authority.find(']');
    const auto address = close == std::string_view::npos
                             ? std::nullopt
                             : IpAddress::parse(authority.substr(1, close - 1));
    if (!address || address->is_v4()) {
      return {400, "malformed-host"};
    }
    const std::string_view rest = authority.substr(close + 1);
    has_port = !rest.empty();
    if (has_port && rest[0] != ':') {
      return {400, "malformed-host"};
    }
    port = has_port ? rest.substr(1) : rest;
    out.push_back('[');
    out.append(address->to_string());
    out.push_back(']');
  } else {
    const std::size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    name = authority.substr(0, colon);
    port = has_port ? authority.substr(colon + 1) : std::string_view{};
    if (!name.empty() && name.back() == '.') {
      name.remove_suffix(1);
    }
    if (name.empty() || name.front() == '.' || name.back() == '.' || !all(kHostByte, name) ||
        name.find("..") != std::string_view::npos) {
      return {400, "malformed-host"};
    }
    out.append(name);
    for (char& byte : out) {
      byte = lower(byte);
    }
  }
  if (has_port) {
    if (const Refusal refusal = canonical_port(port)) {
      return refusal;
    }
    out.push_back(':');
    out.append(port);
  }
  return {};
}

Refusal canonical_target(const RequestHead& head, std::string_view default_host,
                         CanonicalTarget& out, bool allow_connect) {
  const bool connect = head.method == "CONNECT";
  if (connect && !allow_connect) {
    return {405, "connect"};
  }
  const Header* host = nullptr;
  for (const Header& header : head.headers) {
    if (equals_lower(header.name, "host")) {
      if (host != nullptr) {
        return {400, "several-hosts"};
      }
      host = &header;
    }
  }
  if (host != nullptr) {
    if (const Refusal refusal = canonical_host(host->value, out.host)) {
      return refusal;
    }
  } else if (head.version == Version::kHttp10) {
    out.host.assign(default_host);
  } else {
    return {400, "no-host"};
  }

  std::string_view target = head.target;
  if (connect) {
    if (const Refusal refusal = canonical_host(target, out.path)) {
      return refusal;
    }
    // "]" ends an address without a port, and a name has no colon but the port's.
    if (out.path.find_last_of(":]") == std::string::npos || out.path.ends_with(']')) {
      return {400, "malformed-target"};
    }
    if (host != nullptr && out.path != out.host) {
      return {400, "host-mismatch"};
    }
    out.host.swap(out.path);
    out.path.clear();
    return {};
  }
  if (target.starts_with('/')) {
    return canonical_path(target, out.path);
  }
  if (target == "*") {
    if (head.method != "OPTIONS") {
      return {400, "malformed-target"};
    }
    out.path.assign("*");
    return {};
  }
  constexpr std::string_view kScheme = "http://";
  if (target.size() < kScheme.size() || !equals_lower(target.substr(0, kScheme.size()), kScheme)) {
    return {400, "malformed-target"};
  }
  target.remove_prefix(kScheme.size());
  const std::size_t end = std::min(target.find_first_of("/?"), target.size());
  // out.path serves as scratch space here, so that nothing is allocated.
  if (const Refusal refusal = canonical_host(target.substr(0, end), out.path)) {
    return refusal;
  }
  if (host == nullptr) {
    out.host.assign(out.path);
  } else if (out.path != out.host) {
    return {400, "host-mismatch"};
  }
  target.remove_prefix(end);
  if (target.starts_with('/')) {
    return canonical_path(target, out.path);
  }
  // An empty path means the root, and for OPTIONS the server as such (RFC 9112 §3.2.4).
  if (target.empty()) {
    out.path.assign(head.method == "OPTIONS" ? "*" : "/");
    return {};
  }
  if (!all(kTargetByte, target)) {
    return {400, "forbidden-byte-in-target"};
  }
  out.path.assign("/");
  out.path.append(target);
  return {};
}

} // namespace weir::http
