#include "proxy/base/access_record.h"

#include "proxy/base/json_text.h"
#include "proxy/base/rfc3339.h"
#include "proxy/base/text_writer.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

namespace weir {
namespace {

constexpr std::size_t kMaxValue = 8 * 1024;

constexpr std::array<std::string_view, kAccessVerdicts> kVerdicts = {"ALLOWED", "DENIED", "AUDIT",
                                                                     "ERROR"};

void write_ip(const IpAddress& ip, TextWriter& out) {
  const auto& bytes = ip.bytes();
  if (ip.is_v4()) {
    for (std::size_t i = 12; i < 16; ++i) {
      out.number(bytes[i]);
      if (i < 15) {
        out.put('.');
      }
    }
    return;
  }
  char text[INET6_ADDRSTRLEN];
  out.put(inet_ntop(AF_INET6, bytes.data(), text, sizeof text));
}

// A member's name as it stands in the line: ,"name":
class Key {
public:
  template <std::size_t size>
  consteval Key(const char (&name)[size]) // NOLINT(*-explicit-*): a name where a key is wanted
      : x_size(size + 3) {
    x_text[0] = ',';
    x_text[1] = '"';
    std::copy_n(name, size - 1, x_text.begin() + 2);
    x_text[size + 1] = '"';
    x_text[size + 2] = ':';
  }
  [[nodiscard]] constexpr std::string_view text() const { return {x_text.data(), x_size}; }

private:
  std::array<char, 24> x_text{};
  std::size_t x_size;
};

// Writes the members of one object; what is empty or absent is left out.
class Members {
public:
  explicit Members(TextWriter& out) : x_out(out) { x_out.put('{'); }

  void key(const Key& name) {
    x_out.put(name.text().substr(x_first ? 1 : 0));
    x_first = false;
  }
  void text(const Key& name, std::string_view value) {
    if (!value.empty()) {
      key(name);
      write_json_text(value, kMaxValue, x_out);
    }
  }
  void number(const Key& name, std::optional<std::uint64_t> value) {
    if (value) {
      key(name);
      x_out.number(*value);
    }
  }
  void close() { x_out.put('}'); }

private:
  TextWriter& x_out;
  bool x_first = true;
};

void write_peer(const AccessRecord::Peer& peer, bool with_port, TextWriter& out) {
  Members members(out);
  members.text("namespace", peer.peer_namespace);
  members.text("pod", peer.pod);
  if (peer.ip != IpAddress()) {
    members.key("ip");
    out.put('"');
    write_ip(peer.ip, out);
    out.put('"');
  }
  if (with_port && peer.port != 0) {
    members.number("port", peer.port);
  }
  members.close();
}

// Enough for either form of the line: its texts, and the keys, numbers and addresses around them.
std::size_t room_for(const AccessRecord& record) {
  std::size_t room = 1024;
  for (const std::string_view text :
       {record.direction, record.protocol, record.source.peer_namespace, record.source.pod,
        record.destination.peer_namespace, record.destination.pod, record.method, record.path,
        record.host, record.query_name, record.query_type, record.denied_by, record.denying_rule,
        record.nearest, record.reason, record.header_mismatches}) {
    room += json_text_room(text, kMaxValue);
  }
  return room;
}

void write_access_record(const AccessRecord& record, TextWriter& out) {
  Members members(out);
  members.key("time");
  out.put('"');
  write_rfc3339(record.time, out);
  out.put('"');
  members.text("verdict", kVerdicts[static_cast<std::size_t>(record.verdict)]);
  members.text("direction", record.direction);
  members.text("protocol", record.protocol);
  members.key("source");
  write_peer(record.source, false, out);
  members.key("destination");
  write_peer(record.destination, true, out);
  members.text("method", record.method);
  members.text("path", record.path);
  members.text("host", record.host);
  members.text("query", record.query_name);
  members.text("qtype", record.query_type);
  if (record.status) {
    members.number("status", static_cast<std::uint64_t>(std::max(0, *record.status)));
  }
  members.text("denied_by", record.denied_by);
  members.text("rule", record.denying_rule);
  members.text("nearest", record.nearest);
  members.text("reason", record.reason);
  members.text("header_mismatches", record.header_mismatches);
  members.number("bytes_in", record.bytes_in);
  members.number("bytes_out", record.bytes_out);
  members.number("lines_left_out", record.lines_left_out);
  if (record.duration) {
    members.number("duration_us",
                   static_cast<std::uint64_t>(std::max<std::int64_t>(0, record.duration->count())));
  }
  members.close();
  out.put('\n');
}

// Envoy's response flags that say the same (its documentation, "access log", RESPONSE_FLAGS).
std::string_view envoy_flags(const AccessRecord& record) {
  struct Flag {
    std::string_view reason, flag;
  };
  static constexpr Flag kFlags[] = {
      {"upstream-refused", "UF"},
      {"upstream-unreachable", "UF"},
      {"upstream-connect-timeout", "UF"},
      {"upstream-closed", "UC"},
      {"upstream-certificate", "UF"},
      {"upstream-tls", "UF"},
      {"upstream-reset", "UR"},
      {"upstream-timeout", "UT"},
      {"upstream-stalled", "UT"},
      {"timeout", "SI"},
      {"client-gone", "DC"},
      {"client-closed", "DC"},
      {"client-reset", "DR"},
      {"head-timeout", "DPE"},
      {"body-timeout", "SI"},
  };
  if (record.verdict == AccessVerdict::kDenied) {
    return "UAEX";
  }
  for (const Flag& one : kFlags) {
    if (one.reason == record.reason) {
      return one.flag;
    }
  }
  if (record.verdict != AccessVerdict::kError) {
    return "-";
  }
  return record.status.value_or(0) >= 500 ? "UPE" : "DPE";
}

void write_or_dash(std::string_view text, TextWriter& out) {
  write_json_characters(text.empty() ? "-" : text, kMaxValue, out);
}

// [%START_TIME%] "%METHOD% %PATH% %PROTOCOL%" %CODE% %FLAGS% %RECEIVED% %SENT% %DURATION%
// %UPSTREAM_SERVICE_TIME% "%X-FORWARDED-FOR%" "%USER-AGENT%" "%X-REQUEST-ID%" "%AUTHORITY%"
// "%UPSTREAM_HOST%"
void write_envoy_record(const AccessRecord& record, TextWriter& out) {
  out.put('[');
  write_rfc3339(record.time, out);
  out.put("] \"");
  write_or_dash(record.method, out);
  out.put(' ');
  write_or_dash(!record.path.empty() ? record.path : record.query_name, out);
  out.put(' ');
  out.put(record.protocol == "http" ? "HTTP/1.1" : record.protocol);
  out.put("\" ");
  out.number(static_cast<std::uint64_t>(std::max(0, record.status.value_or(0))));
  out.put(' ');
  out.put(envoy_flags(record));
  out.put(' ');
  out.number(record.bytes_in.value_or(0));
  out.put(' ');
  out.number(record.bytes_out.value_or(0));
  out.put(' ');
  out.number(record.duration ? static_cast<std::uint64_t>(
                                   std::max<std::int64_t>(0, record.duration->count() / 1000))
                             : 0);
  out.put(" - \"-\" \"-\" \"-\" \"");
  write_or_dash(record.host, out);
  out.put("\" \"");
  if (record.destination.ip != IpAddress()) {
    const bool v6 = !record.destination.ip.is_v4();
    out.put(v6 ? "[" : "");
    write_ip(record.destination.ip, out);
    out.put(v6 ? "]:" : ":");
    out.number(record.destination.port);
  } else {
    out.put('-');
  }
  out.put("\"\n");
}

} // namespace

void format_access_record(const AccessRecord& record, std::string& line) {
  append_written(line, room_for(record),
                 [&](TextWriter& out) { write_access_record(record, out); });
}

void format_envoy_record(const AccessRecord& record, std::string& line) {
  append_written(line, room_for(record), [&](TextWriter& out) { write_envoy_record(record, out); });
}

} // namespace weir
