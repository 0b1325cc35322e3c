#include "proxy/tls/server_hello.h"

#include "proxy/tls/client_hello.h"

#include <algorithm>
#include <array>

namespace weir::tls {
namespace {

constexpr std::uint8_t kAlert = 21;
constexpr std::uint8_t kHandshake = 22;
constexpr std::uint8_t kServerHello = 2;

// SHA-256 of "HelloRetryRequest", in the place of the random.
constexpr std::array<std::uint8_t, 32> kRetryRandom = {
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
    0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C};

constexpr std::size_t kMessageHeader = 4;
constexpr std::size_t kRandomAt = kRecordHeader + kMessageHeader + 2; // after the version

} // namespace

ServerAnswer read_server_answer(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) {
    return ServerAnswer::kNeedMore;
  }
  if ((bytes[0] != kHandshake && bytes[0] != kAlert) || (bytes.size() >= 2 && bytes[1] != 3)) {
    return ServerAnswer::kNotTls;
  }
  if (bytes.size() < kRecordHeader) {
    return ServerAnswer::kNeedMore;
  }
  if (bytes[0] == kAlert) {
    return ServerAnswer::kFinal;
  }
  const std::size_t length = static_cast<std::size_t>(bytes[3]) << 8 | bytes[4];
  const std::size_t record_end = kRecordHeader + length;
  if (length > kMaxRecordPayload || record_end < kRandomAt + kRetryRandom.size()) {
    return ServerAnswer::kNotTls;
  }
  if (bytes.size() < kRandomAt + kRetryRandom.size()) {
    return ServerAnswer::kNeedMore;
  }
  if (bytes[kRecordHeader] != kServerHello) {
    return ServerAnswer::kNotTls;
  }
  if (!std::equal(kRetryRandom.begin(), kRetryRandom.end(), bytes.begin() + kRandomAt)) {
    return ServerAnswer::kFinal;
  }
  const std::size_t message = static_cast<std::size_t>(bytes[kRecordHeader + 1]) << 16 |
                              static_cast<std::size_t>(bytes[kRecordHeader + 2]) << 8 |
                              bytes[kRecordHeader + 3];
  if (kMessageHeader + message != length) {
    return ServerAnswer::kNotTls;
  }
  return bytes.size() < record_end ? ServerAnswer::kNeedMore : ServerAnswer::kRetry;
}

} // namespace weir::tls
