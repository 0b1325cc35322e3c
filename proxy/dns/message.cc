#include "proxy/dns/message.h"

#include "proxy/base/check.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::dns {
namespace {

constexpr std::uint16_t kClassIn = 1;
constexpr std::uint16_t kFlagResponse = 0x8000;
constexpr std::uint16_t kOpcodeMask = 0x7800;
constexpr std::uint16_t kFlagTruncated = 0x0200;
constexpr std::uint16_t kFlagRecursionDesired = 0x0100;
constexpr std::uint16_t kFlagRecursionAvailable = 0x0080;
constexpr std::uint16_t kFlagCheckingDisabled = 0x0010;
constexpr std::uint16_t kRcodeMask = 0x000f;
// A name has at most 127 labels, and a compressor saves something with each pointer it writes.
constexpr int kMaxPointers = 127;

enum class Compression : std::uint8_t { kAllowed, kForbidden };

std::uint16_t read_u16(BytesView bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

std::uint8_t lower(std::uint8_t c) {
  return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c - 'A' + 'a') : c;
}

struct Header {
  std::uint16_t id, flags, questions, answers, authorities, additionals;
};

std::optional<Header> read_header(BytesView message) {
  if (message.size() < kHeaderSize || message.size() > kMaxMessage) {
    return std::nullopt;
  }
  return Header{read_u16(message, 0), read_u16(message, 2), read_u16(message, 4),
                read_u16(message, 6), read_u16(message, 8), read_u16(message, 10)};
}

struct RecordHead {
  DnsName owner;
  std::uint16_t type, record_class;
  std::uint32_t ttl;
  std::size_t data, data_end; // offsets
};

// A position in a message; each read moves it, or says false and leaves it of no further use.
class Cursor {
public:
  Cursor(BytesView message, std::size_t at) : x_message(message), x_at(at) {}

  [[nodiscard]] std::size_t at() const { return x_at; }
  void move_to(std::size_t at) { x_at = at; }

  bool u16(std::uint16_t& value) {
    if (x_message.size() - x_at < 2) {
      return false;
    }
    value = read_u16(x_message, x_at);
    x_at += 2;
    return true;
  }

  bool name(DnsName& name, Compression compression) {
    std::array<char, 254> wire; // RFC 1035 §2.3.4: 255 with the root's byte
    std::size_t length = 0;
    std::size_t at = x_at;
    std::size_t before = x_at; // pointers must lead to lower offsets than this
    std::optional<std::size_t> resume;
    for (int pointers = 0;;) {
      if (at >= x_message.size()) {
        return false;
      }
      const std::uint8_t head = x_message[at];
      if (head == 0) {
        x_at = resume.value_or(at + 1);
        break;
      }
      if ((head & 0xc0) == 0xc0) {
        if (compression == Compression::kForbidden || x_message.size() - at < 2 ||
            ++pointers > kMaxPointers) {
          return false;
        }
        const auto target = static_cast<std::size_t>(read_u16(x_message, at) & 0x3fff);
        if (target < kHeaderSize || target >= before) {
          return false;
        }
        if (!resume) {
          resume = at + 2;
        }
        at = before = target;
        continue;
      }
      // 01 and 10 are reserved (RFC 1035 §4.1.4), so that this is at most 63.
      if ((head & 0xc0) != 0 || x_message.size() - at - 1 < head) {
        return false;
      }
      const std::size_t label = 1 + static_cast<std::size_t>(head);
      if (wire.size() - length < label) {
        return false;
      }
      std::copy_n(x_message.data() + at, label, wire.data() + length);
      length += label;
      at += label;
    }
    auto read = DnsName::from_wire({wire.data(), length});
    if (!read) {
      return false;
    }
    name = *std::move(read);
    return true;
  }

  bool question(Question& question, std::uint16_t& question_class) {
    if (!name(question.name, Compression::kForbidden) || !u16(question.type) ||
        !u16(question_class)) {
      return false;
    }
    question.end = x_at;
    return true;
  }

  // Moves past the whole record.
  bool record(RecordHead& record) {
    std::uint16_t ttl_high = 0;
    std::uint16_t ttl_low = 0;
    std::uint16_t length = 0;
    if (!name(record.owner, Compression::kAllowed) || !u16(record.type) ||
        !u16(record.record_class) || !u16(ttl_high) || !u16(ttl_low) || !u16(length) ||
        x_message.size() - x_at < length) {
      return false;
    }
    record.ttl = static_cast<std::uint32_t>(ttl_high) << 16 | ttl_low;
    if ((record.ttl & 0x80000000U) != 0) {
      record.ttl = 0;
    }
    record.data = x_at;
    x_at += length;
    record.data_end = x_at;
    return true;
  }

private:
  BytesView x_message;
  std::size_t x_at;
};

// A query holds a question and nothing else but records of the additional section (OPT, TSIG).
bool well_formed_tail(BytesView message, const Header& header, std::size_t at) {
  if (header.answers != 0 || header.authorities != 0) {
    return false;
  }
  Cursor cursor(message, at);
  bool opt_seen = false;
  for (unsigned i = 0; i < header.additionals; ++i) {
    RecordHead record;
    if (!cursor.record(record)) {
      return false;
    }
    if (record.type == static_cast<std::uint16_t>(RecordType::kOpt)) {
      if (opt_seen || !record.owner.is_root()) {
        return false; // RFC 6891 §6.1.1
      }
      opt_seen = true;
    }
  }
  return cursor.at() == message.size();
}

bool has_opt(BytesView message, const Header& header, std::size_t at) {
  Cursor cursor(message, at);
  const unsigned records = header.answers + header.authorities + header.additionals;
  for (unsigned i = 0; i < records; ++i) {
    RecordHead record;
    if (!cursor.record(record)) {
      return false;
    }
    if (record.type == static_cast<std::uint16_t>(RecordType::kOpt)) {
      return true;
    }
  }
  return false;
}

bool ordinary_type(std::uint16_t type) {
  switch (static_cast<RecordType>(type)) {
  case RecordType::kOpt:
  case RecordType::kIxfr:
  case RecordType::kAxfr:
  case RecordType::kMailb:
  case RecordType::kMaila:
  case RecordType::kAny:
    return false;
  default:
    return type != 0;
  }
}

// Of the four types; nothing when the data do not fit the type.
std::optional<Record> read_record(BytesView message, const RecordHead& head) {
  Record record;
  record.type = static_cast<RecordType>(head.type);
  record.ttl = head.ttl;
  const std::size_t length = head.data_end - head.data;
  switch (record.type) {
  case RecordType::kA: {
    if (length != 4) {
      return std::nullopt;
    }
    std::uint8_t v4[4];
    std::copy_n(message.begin() + static_cast<std::ptrdiff_t>(head.data), 4, v4);
    record.data = IpAddress::from_v4(v4);
    break;
  }
  case RecordType::kAaaa: {
    IpAddress::Bytes v6;
    if (length != v6.size()) {
      return std::nullopt;
    }
    std::copy_n(message.begin() + static_cast<std::ptrdiff_t>(head.data), v6.size(), v6.begin());
    record.data = IpAddress(v6);
    break;
  }
  default: {
    // A DNAME's target is never compressed (RFC 6672 §2.5).
    DnsName target;
    Cursor data(message.first(head.data_end), head.data);
    if (!data.name(target, record.type == RecordType::kCname ? Compression::kAllowed
                                                             : Compression::kForbidden) ||
        data.at() != head.data_end) {
      return std::nullopt;
    }
    record.data = std::move(target);
    break;
  }
  }
  return record;
}

bool wanted(const RecordHead& head) {
  if (head.record_class != kClassIn) {
    return false;
  }
  switch (static_cast<RecordType>(head.type)) {
  case RecordType::kA:
  case RecordType::kAaaa:
  case RecordType::kCname:
  case RecordType::kDname:
    return true;
  default:
    return false;
  }
}

void put_u16(Bytes& bytes, std::uint16_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8));
  bytes.push_back(static_cast<std::uint8_t>(value & 0xff));
}

} // namespace

std::string type_text(std::uint16_t type) {
  static constexpr std::array<std::pair<std::uint16_t, const char*>, 16> kNames = {{{1, "A"},
                                                                                    {2, "NS"},
                                                                                    {5, "CNAME"},
                                                                                    {6, "SOA"},
                                                                                    {12, "PTR"},
                                                                                    {15, "MX"},
                                                                                    {16, "TXT"},
                                                                                    {28, "AAAA"},
                                                                                    {33, "SRV"},
                                                                                    {35, "NAPTR"},
                                                                                    {39, "DNAME"},
                                                                                    {64, "SVCB"},
                                                                                    {65, "HTTPS"},
                                                                                    {251, "IXFR"},
                                                                                    {252, "AXFR"},
                                                                                    {255, "ANY"}}};
  for (const auto& [number, name] : kNames) {
    if (number == type) {
      return name;
    }
  }
  return "TYPE" + std::to_string(type);
}

ParsedQuery parse_query(BytesView message) {
  const auto header = read_header(message);
  if (!header || (header->flags & kFlagResponse) != 0) {
    return {};
  }
  if ((header->flags & kOpcodeMask) != 0) {
    return {{}, Rcode::kNotImp};
  }
  if (header->questions != 1) {
    return {{}, header->questions == 0 ? Rcode::kRefused : Rcode::kFormErr};
  }
  Query query;
  query.id = header->id;
  std::uint16_t question_class = 0;
  Cursor cursor(message, kHeaderSize);
  if (!cursor.question(query.question, question_class)) {
    return {{}, Rcode::kFormErr};
  }
  // Before the rest is looked at: an IXFR carries a record in its authority section.
  if (question_class != kClassIn || !ordinary_type(query.question.type)) {
    return {{}, Rcode::kRefused};
  }
  if ((header->flags & kFlagTruncated) != 0 || !well_formed_tail(message, *header, cursor.at())) {
    return {{}, Rcode::kFormErr};
  }
  return {std::move(query), {}};
}

std::optional<Response> parse_response(BytesView message) {
  const auto header = read_header(message);
  if (!header || (header->flags & kFlagResponse) == 0 || header->questions != 1) {
    return std::nullopt;
  }
  Response response;
  response.rcode = static_cast<Rcode>(header->flags & kRcodeMask);
  std::uint16_t question_class = 0;
  Cursor cursor(message, kHeaderSize);
  if (!cursor.question(response.question, question_class) || question_class != kClassIn) {
    return std::nullopt;
  }
  constexpr std::size_t kLeastRecord = 11; // bytes: the root's, of no data
  response.answers.reserve(std::min<std::size_t>(header->answers, message.size() / kLeastRecord));
  for (unsigned i = 0; i < header->answers; ++i) {
    RecordHead head;
    if (!cursor.record(head)) {
      return std::nullopt;
    }
    if (!wanted(head)) {
      continue;
    }
    auto record = read_record(message, head);
    if (!record) {
      return std::nullopt;
    }
    record->owner = std::move(head.owner);
    response.answers.push_back(*std::move(record));
  }
  return response;
}

bool answers(BytesView response, BytesView query, const Question& question, std::uint16_t id) {
  const auto header = read_header(response);
  if (!header || header->id != id || (header->flags & kFlagResponse) == 0 ||
      (header->flags & kOpcodeMask) != 0 || header->questions != 1 ||
      response.size() < question.end) {
    return false;
  }
  const auto asked = query.subspan(kHeaderSize, question.end - kHeaderSize);
  const auto answered = response.subspan(kHeaderSize, asked.size());
  if (std::equal(asked.begin(), asked.end(), answered.begin())) {
    return true;
  }
  // In another letter case. Length bytes are below 'A', so that lower() leaves them alone; type and
  // class are compared as they are.
  const std::size_t name = asked.size() - 4;
  const auto same_letter = [](std::uint8_t a, std::uint8_t b) { return lower(a) == lower(b); };
  return std::equal(asked.begin(), asked.begin() + static_cast<std::ptrdiff_t>(name),
                    answered.begin(), same_letter) &&
         std::equal(asked.end() - 4, asked.end(), answered.end() - 4);
}

std::uint16_t message_id(BytesView message) {
  WEIR_CHECK(message.size() >= kHeaderSize);
  return read_u16(message, 0);
}

void set_message_id(std::span<std::uint8_t> message, std::uint16_t id) {
  WEIR_CHECK(message.size() >= kHeaderSize);
  message[0] = static_cast<std::uint8_t>(id >> 8);
  message[1] = static_cast<std::uint8_t>(id & 0xff);
}

Rcode message_rcode(BytesView message) {
  WEIR_CHECK(message.size() >= kHeaderSize);
  return static_cast<Rcode>(message[3] & kRcodeMask);
}

bool message_truncated(BytesView message) {
  WEIR_CHECK(message.size() >= kHeaderSize);
  return (read_u16(message, 2) & kFlagTruncated) != 0;
}

Bytes make_refusal(BytesView query, Rcode rcode) {
  const auto header = read_header(query);
  WEIR_CHECK(header.has_value());
  Question question;
  std::uint16_t question_class = 0;
  Cursor cursor(query, kHeaderSize);
  // Of several questions none is repeated.
  const bool readable = header->questions == 1 && cursor.question(question, question_class);
  const bool edns = (readable || header->questions == 0) &&
                    has_opt(query, *header, readable ? question.end : kHeaderSize);

  Bytes answer;
  put_u16(answer, header->id);
  const auto kept = static_cast<std::uint16_t>(
      header->flags & (kOpcodeMask | kFlagRecursionDesired | kFlagCheckingDisabled));
  put_u16(answer, static_cast<std::uint16_t>(kFlagResponse | kFlagRecursionAvailable | kept |
                                             static_cast<std::uint16_t>(rcode)));
  put_u16(answer, readable ? 1 : 0);
  put_u16(answer, 0);
  put_u16(answer, 0);
  put_u16(answer, edns ? 1 : 0);
  if (readable) {
    answer.insert(answer.end(), query.begin() + kHeaderSize,
                  query.begin() + static_cast<std::ptrdiff_t>(question.end));
  }
  if (edns) {
    answer.push_back(0); // the root owns it
    put_u16(answer, static_cast<std::uint16_t>(RecordType::kOpt));
    put_u16(answer, kUnfragmented);
    answer.insert(answer.end(), 6, 0); // extended RCODE, version, flags, no options
  }
  return answer;
}

void limit_udp_payload(std::span<std::uint8_t> query, const Question& question,
                       std::uint16_t most) {
  const auto header = read_header(query);
  Cursor cursor(query, question.end);
  std::size_t payload = 0; // where it says so
  for (unsigned i = 0; header && i < header->additionals; ++i) {
    RecordHead record;
    if (!cursor.record(record)) {
      return;
    }
    switch (static_cast<RecordType>(record.type)) {
    case RecordType::kOpt:
      payload = record.data - 8; // its class, before TTL and length (RFC 1035 §3.2.1)
      break;
    case RecordType::kSig:
    case RecordType::kTsig:
      return;
    default:
      break;
    }
  }
  if (payload != 0 && (query[payload] << 8 | query[payload + 1]) > most) {
    query[payload] = static_cast<std::uint8_t>(most >> 8);
    query[payload + 1] = static_cast<std::uint8_t>(most & 0xff);
  }
}

Bytes framed(BytesView message) {
  WEIR_CHECK(message.size() <= kMaxMessage);
  Bytes frame;
  frame.reserve(2 + message.size());
  put_u16(frame, static_cast<std::uint16_t>(message.size()));
  frame.insert(frame.end(), message.begin(), message.end());
  return frame;
}

} // namespace weir::dns
