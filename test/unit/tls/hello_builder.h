// ClientHellos put together by hand, right and wrong ones, for tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::test {

using ByteVector = std::vector<std::uint8_t>;

// The parts of a message. What is not set has a sensible value.
struct HelloParts {
  std::uint16_t version = 0x0303;
  ByteVector session_id = ByteVector(32, 0x55);
  ByteVector cipher_suites = {0x13, 0x01, 0x13, 0x02};
  ByteVector compression = {0};
  std::vector<std::pair<std::uint16_t, ByteVector>> extensions;
  bool without_extensions = false;
  ByteVector after_extensions; // bytes that do not belong there
};

// The handshake message, without record headers.
[[nodiscard]] ByteVector hello_message(const HelloParts& parts);
// Cut into records of at most `piece` bytes.
[[nodiscard]] ByteVector in_records(const ByteVector& message, std::size_t piece = 16384,
                                    std::uint8_t type = 22, std::uint16_t version = 0x0301);

[[nodiscard]] std::pair<std::uint16_t, ByteVector> server_name_extension(std::string_view name);
// Several entries: (name type, name).
[[nodiscard]] std::pair<std::uint16_t, ByteVector>
server_name_list(const std::vector<std::pair<std::uint8_t, std::string>>& entries);
[[nodiscard]] std::pair<std::uint16_t, ByteVector>
alpn_extension(const std::vector<std::string>& protocols);

// One record with a hello that names the server.
[[nodiscard]] ByteVector hello_for(std::string_view name);

} // namespace weir::test
