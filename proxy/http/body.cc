#include "proxy/http/body.h"

#include "proxy/http/ascii.h"
#include "proxy/http/field_names.h"

#include <algorithm>
#include <cstring>

namespace weir::http {
namespace {
// Of a whole body: extensions and trailers cost work for every byte.
constexpr std::uint32_t kMaxOverhead = 16 * 1024;
constexpr std::uint32_t kMaxSizeDigits = 15;
} // namespace

void BodyReader::start(const Framing& framing) {
  x_remaining = framing.length;
  x_received = 0;
  x_digits = 0;
  x_overhead = 0;
  x_trailers.clear();
  switch (framing.kind) {
  case Framing::Kind::kNone:
    x_state = State::kDone;
    break;
  case Framing::Kind::kLength:
    x_state = State::kLength;
    break;
  case Framing::Kind::kChunked:
    x_state = State::kSize;
    x_remaining = 0;
    break;
  case Framing::Kind::kUntilClose:
    x_state = State::kUntilClose;
    break;
  }
}

BodyReader::Taken BodyReader::take(char* data, std::size_t size) {
  switch (x_state) {
  case State::kDone:
  case State::kFailed:
    return {};
  case State::kUntilClose:
    x_received += size;
    return {size, {data, size}};
  case State::kLength: {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(size, x_remaining));
    x_remaining -= count;
    x_received += count;
    if (x_remaining == 0) {
      x_state = State::kDone;
    }
    return {count, {data, count}};
  }
  default:
    return take_chunked(data, size);
  }
}

BodyReader::Taken BodyReader::take_chunked(char* data, std::size_t size) {
  std::size_t at = 0;
  char* payload = nullptr;
  std::size_t length = 0;
  while (at < size && x_state != State::kDone && x_state != State::kFailed) {
    if (x_state != State::kData) {
      x_state = next(data[at++]);
      continue;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(size - at, x_remaining));
    if (payload == nullptr) {
      payload = data + at;
    } else {
      std::memmove(payload + length, data + at, count);
    }
    length += count;
    at += count;
    x_received += count;
    x_remaining -= count;
    if (x_remaining == 0) {
      x_state = State::kDataCr;
    }
  }
  return {at, {payload, length}};
}

BodyReader::State BodyReader::next(char byte) {
  switch (x_state) {
  case State::kSize: {
    if (const int digit = hex_value(byte); digit >= 0) {
      x_remaining = x_remaining * 16 + static_cast<std::uint64_t>(digit);
      return ++x_digits > kMaxSizeDigits ? State::kFailed : State::kSize;
    }
    if (x_digits == 0) {
      return State::kFailed;
    }
    if (byte == ';') {
      return State::kExtension;
    }
    return byte == '\r' ? State::kSizeLf : State::kFailed;
  }
  case State::kExtension:
    if (byte == '\r') {
      return State::kSizeLf;
    }
    return is(kValueByte, byte) && ++x_overhead <= kMaxOverhead ? State::kExtension
                                                                : State::kFailed;
  case State::kSizeLf:
    x_digits = 0;
    if (byte != '\n') {
      return State::kFailed;
    }
    return x_remaining == 0 ? State::kTrailerStart : State::kData;
  case State::kDataCr:
    return byte == '\r' ? State::kDataLf : State::kFailed;
  case State::kDataLf:
    return byte == '\n' ? State::kSize : State::kFailed;
  case State::kTrailerStart:
    if (byte == '\r') {
      return State::kEndLf;
    }
    x_trailer_at = x_trailers.size();
    return is(kTokenByte, byte) ? trailer_byte(byte, State::kTrailerName) : State::kFailed;
  case State::kTrailerName:
    if (byte == ':') {
      return trailer_byte(byte, State::kTrailerValue);
    }
    return is(kTokenByte, byte) ? trailer_byte(byte, State::kTrailerName) : State::kFailed;
  case State::kTrailerValue:
    if (byte == '\r') {
      return State::kTrailerLf;
    }
    return is(kValueByte, byte) ? trailer_byte(byte, State::kTrailerValue) : State::kFailed;
  case State::kTrailerLf:
    if (byte != '\n') {
      return State::kFailed;
    }
    if (trailer_field(
            std::string_view(x_trailers)
                .substr(x_trailer_at, x_trailers.find(':', x_trailer_at) - x_trailer_at))) {
      x_trailers.append("\r\n");
    } else {
      x_trailers.resize(x_trailer_at);
    }
    return State::kTrailerStart;
  case State::kEndLf:
    return byte == '\n' ? State::kDone : State::kFailed;
  case State::kLength:
  case State::kUntilClose:
  case State::kData:
  case State::kDone:
  case State::kFailed:
    break;
  }
  return State::kFailed;
}

BodyReader::State BodyReader::trailer_byte(char byte, State state) {
  x_trailers.push_back(byte);
  return ++x_overhead <= kMaxOverhead ? state : State::kFailed;
}

} // namespace weir::http
