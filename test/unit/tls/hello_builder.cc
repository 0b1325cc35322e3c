#include "test/unit/tls/hello_builder.h"

#include <algorithm>

namespace weir::test {
namespace {

void put(ByteVector& out, std::size_t value, std::size_t width) {
  for (std::size_t i = width; i > 0; --i) {
    out.push_back(static_cast<std::uint8_t>(value >> (8 * (i - 1))));
  }
}

void put_block(ByteVector& out, const ByteVector& block, std::size_t width) {
  put(out, block.size(), width);
  out.insert(out.end(), block.begin(), block.end());
}

ByteVector bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

} // namespace

ByteVector hello_message(const HelloParts& parts) {
  ByteVector body;
  put(body, parts.version, 2);
  body.insert(body.end(), 32, 0xAA);
  put_block(body, parts.session_id, 1);
  put_block(body, parts.cipher_suites, 2);
  put_block(body, parts.compression, 1);
  if (!parts.without_extensions) {
    ByteVector block;
    for (const auto& [type, extension] : parts.extensions) {
      put(block, type, 2);
      put_block(block, extension, 2);
    }
    put_block(body, block, 2);
  }
  body.insert(body.end(), parts.after_extensions.begin(), parts.after_extensions.end());
  ByteVector message{1};
  put_block(message, body, 3);
  return message;
}

ByteVector in_records(const ByteVector& message, std::size_t piece, std::uint8_t type,
                      std::uint16_t version) {
  ByteVector out;
  for (std::size_t at = 0; at < message.size(); at += piece) {
    const std::size_t size = std::min(piece, message.size() - at);
    out.push_back(type);
    put(out, version, 2);
    put(out, size, 2);
    out.insert(out.end(), message.begin() + static_cast<std::ptrdiff_t>(at),
               message.begin() + static_cast<std::ptrdiff_t>(at + size));
  }
  return out;
}

std::pair<std::uint16_t, ByteVector> server_name_extension(std::string_view name) {
  return server_name_list({{0, std::string(name)}});
}

std::pair<std::uint16_t, ByteVector>
server_name_list(const std::vector<std::pair<std::uint8_t, std::string>>& entries) {
  ByteVector list;
  for (const auto& [type, name] : entries) {
    list.push_back(type);
    put_block(list, bytes_of(name), 2);
  }
  ByteVector extension;
  put_block(extension, list, 2);
  return {0, extension};
}

std::pair<std::uint16_t, ByteVector> alpn_extension(const std::vector<std::string>& protocols) {
  ByteVector list;
  for (const std::string& protocol : protocols) {
    put_block(list, bytes_of(protocol), 1);
  }
  ByteVector extension;
  put_block(extension, list, 2);
  return {16, extension};
}

ByteVector hello_for(std::string_view name) {
  HelloParts parts;
  parts.extensions = {server_name_extension(name)};
  return in_records(hello_message(parts));
}

} // namespace weir::test
