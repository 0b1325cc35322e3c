#include "test/unit/http2/frames.h"

#include "proxy/base/check.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

namespace weir::test {

using http2::ErrorCode;
using http2::FrameType;

std::string number(std::uint32_t value, int bytes) {
  std::string text;
  for (int at = bytes - 1; at >= 0; --at) {
    text.push_back(static_cast<char>(value >> (8 * at) & 0xff));
  }
  return text;
}

std::string frame_header(std::uint32_t length, std::uint8_t type, std::uint8_t flags,
                         std::uint32_t stream) {
  return number(length, 3) + static_cast<char>(type) + static_cast<char>(flags) + number(stream);
}

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  return frame_header(static_cast<std::uint32_t>(payload.size()), type, flags, stream)
      .append(payload);
}

std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  return frame(static_cast<std::uint8_t>(type), flags, stream, payload);
}

namespace {
// RFC 7541 §5.1, after a first byte whose upper bits are `first`.
std::string hpack_integer(std::uint8_t first, int prefix_bits, std::size_t value) {
  const std::size_t limit = (std::size_t{1} << prefix_bits) - 1;
  std::string text;
  if (value < limit) {
    text.push_back(static_cast<char>(first | value));
    return text;
  }
  text.push_back(static_cast<char>(first | limit));
  for (value -= limit; value >= 128; value /= 128) {
    text.push_back(static_cast<char>(value % 128 + 128));
  }
  text.push_back(static_cast<char>(value));
  return text;
}

std::string hpack_string(std::string_view text) {
  return hpack_integer(0, 7, text.size()).append(text);
}
} // namespace

std::string block(const Pairs& fields) {
  std::string text;
  for (const auto& [name, value] : fields) {
    text.push_back(0);
    text += hpack_string(name) + hpack_string(value);
  }
  return text;
}

std::string indexed_literal(std::string_view name, std::string_view value) {
  return "\x40" + hpack_string(name) + hpack_string(value);
}

std::string headers(std::uint32_t stream, const Pairs& fields, bool end_stream) {
  return frame(
      FrameType::kHeaders,
      static_cast<std::uint8_t>(http2::kFlagEndHeaders | (end_stream ? http2::kFlagEndStream : 0)),
      stream, block(fields));
}

std::string data(std::uint32_t stream, std::string_view bytes, bool end_stream) {
  return frame(FrameType::kData, end_stream ? http2::kFlagEndStream : std::uint8_t{0}, stream,
               bytes);
}

std::string settings(std::initializer_list<std::pair<std::uint16_t, std::uint32_t>> entries) {
  std::string payload;
  for (const auto& [id, value] : entries) {
    payload += number(id, 2) + number(value);
  }
  return frame(FrameType::kSettings, 0, 0, payload);
}

std::string settings_ack() { return frame(FrameType::kSettings, http2::kFlagAck, 0, ""); }

std::string window_update(std::uint32_t stream, std::uint32_t increment) {
  return frame(FrameType::kWindowUpdate, 0, stream, number(increment));
}

std::string rst_stream(std::uint32_t stream, ErrorCode error) {
  return frame(FrameType::kRstStream, 0, stream, number(static_cast<std::uint32_t>(error)));
}

std::string ping(std::uint8_t flags) { return frame(FrameType::kPing, flags, 0, "pingpong"); }

std::string goaway(std::uint32_t last_stream, ErrorCode error) {
  return frame(FrameType::kGoaway, 0, 0,
               number(last_stream) + number(static_cast<std::uint32_t>(error)));
}

std::string hello(std::initializer_list<std::pair<std::uint16_t, std::uint32_t>> entries) {
  return std::string(http2::kPreface) + settings(entries);
}

Pairs request(std::string_view method, std::string_view path, Pairs more) {
  Pairs fields = {{":method", std::string(method)},
                  {":scheme", "http"},
                  {":authority", "shop.test"},
                  {":path", std::string(path)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

std::uint32_t Frame::word(std::size_t offset) const {
  std::uint32_t value = 0;
  for (std::size_t i = offset; i < offset + 4 && i < payload.size(); ++i) {
    value = value << 8 | static_cast<std::uint8_t>(payload[i]);
  }
  return value;
}

std::string Frame::field(std::string_view name) const {
  for (const auto& [each, value] : fields) {
    if (each == name) {
      return value;
    }
  }
  return {};
}

FrameReader::FrameReader(bool preface) : x_preface(preface ? http2::kPreface.size() : 0) {
  WEIR_CHECK(nghttp2_hd_inflate_new(&x_inflater) == 0);
}

FrameReader::~FrameReader() { nghttp2_hd_inflate_del(x_inflater); }

void FrameReader::add(std::string_view bytes) {
  x_buffer.append(bytes);
  if (x_preface > 0 && x_buffer.size() >= x_preface) {
    WEIR_CHECK(x_buffer.starts_with(http2::kPreface));
    x_buffer.erase(0, x_preface);
    x_preface = 0;
  }
  while (x_preface == 0 && x_buffer.size() >= http2::kFrameHeaderSize) {
    const auto at = [this](std::size_t i) { return static_cast<std::uint8_t>(x_buffer[i]); };
    const std::size_t length = std::size_t{at(0)} << 16 | std::size_t{at(1)} << 8 | at(2);
    if (x_buffer.size() < http2::kFrameHeaderSize + length) {
      return;
    }
    Frame read{static_cast<FrameType>(at(3)),
               at(4),
               (std::uint32_t{at(5)} << 24 | std::uint32_t{at(6)} << 16 |
                std::uint32_t{at(7)} << 8 | at(8)),
               x_buffer.substr(http2::kFrameHeaderSize, length),
               {}};
    x_buffer.erase(0, http2::kFrameHeaderSize + length);
    const bool head = read.type == FrameType::kHeaders;
    const bool more = read.type == FrameType::kContinuation;
    const bool whole = read.has(http2::kFlagEndHeaders);
    WEIR_CHECK(!head || !read.has(http2::kFlagPadded | http2::kFlagPriority));
    if (head || more) {
      x_block += read.payload;
    }
    x_frames.push_back(std::move(read));
    if ((head || more) && whole) {
      Frame& owner = *std::find_if(x_frames.rbegin(), x_frames.rend(), [](const Frame& each) {
        return each.type == FrameType::kHeaders;
      });
      const auto* in = reinterpret_cast<const std::uint8_t*>(x_block.data());
      std::size_t left = x_block.size();
      for (;;) {
        nghttp2_nv field;
        int flags = 0;
        const ssize_t used = nghttp2_hd_inflate_hd2(x_inflater, &field, &flags, in, left, 1);
        WEIR_CHECK(used >= 0);
        in += used;
        left -= static_cast<std::size_t>(used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
          owner.fields.emplace_back(
              std::string(reinterpret_cast<const char*>(field.name), field.namelen),
              std::string(reinterpret_cast<const char*>(field.value), field.valuelen));
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
          nghttp2_hd_inflate_end_headers(x_inflater);
          break;
        }
      }
      x_block.clear();
    }
  }
}

const Frame* FrameReader::find(FrameType type, std::uint32_t stream) const {
  const auto at = std::find_if(x_frames.begin(), x_frames.end(), [&](const Frame& each) {
    return each.type == type && each.stream == stream;
  });
  return at == x_frames.end() ? nullptr : &*at;
}

std::string FrameReader::body(std::uint32_t stream) const {
  std::string text;
  for (const Frame& each : x_frames) {
    if (each.type == FrameType::kData && each.stream == stream) {
      text += each.payload;
    }
  }
  return text;
}

bool FrameReader::ended(std::uint32_t stream) const {
  return std::any_of(x_frames.begin(), x_frames.end(), [&](const Frame& each) {
    return (each.type == FrameType::kData || each.type == FrameType::kHeaders) &&
           each.stream == stream && each.has(http2::kFlagEndStream);
  });
}

int FrameReader::reset_code(std::uint32_t stream) const {
  const Frame* found = find(FrameType::kRstStream, stream);
  return found == nullptr ? -1 : static_cast<int>(found->word(0));
}

int FrameReader::goaway_code() const {
  int code = -1;
  for (const Frame& each : x_frames) {
    if (each.type == FrameType::kGoaway) {
      code = static_cast<int>(each.word(4));
    }
  }
  return code;
}

std::size_t FrameReader::count(FrameType type) const {
  return static_cast<std::size_t>(std::count_if(
      x_frames.begin(), x_frames.end(), [&](const Frame& each) { return each.type == type; }));
}

} // namespace weir::test
