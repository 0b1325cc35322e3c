// Writes heads: weir's own bytes around the fields that were received. Framing and connection
// fields are always made anew from what was understood, never copied.
#pragma once

#include "proxy/http/framing.h"
#include "proxy/http/message.h"
#include "proxy/http/normalize.h"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace weir::http {

// Appends. fields: facts.fields, or what policy has made of them. The string keeps its storage from
// message to message.
void write_request_head(const RequestHead& head, const CanonicalTarget& target,
                        const RequestFacts& facts, std::span<const Header> fields,
                        std::string& out);

enum class ConnectionField : std::uint8_t { kNone, kClose, kKeepAlive, kUpgrade };

// framing: of the message that the client is sent, which is not always the server's (a chunked
// body goes to an HTTP/1.0 client without chunks).
void write_response_head(const ResponseHead& head, const ResponseFacts& facts,
                         const Framing& framing, ConnectionField connection, std::string& out);

// weir's own answer, head and body: plain text, or `problem` where there is one.
struct OwnAnswer {
  int status = 0;
  std::string_view denied_by = {}; // label of the policy; empty for other answers
  std::string_view problem = {};   // denial.h
  ConnectionField connection = ConnectionField::kNone; // kClose, kKeepAlive or none
  bool to_head = false;                                // the body is left out, but counted
};
void write_own_answer(const OwnAnswer& answer, std::string& out);

// The line before a chunk's data. Text lives in the object.
class ChunkLine {
public:
  // size > 0
  std::string_view format(std::size_t size);

private:
  std::array<char, 20> x_text{};
};

// Behind a chunk's data: the next chunk follows, or nothing does.
inline constexpr std::string_view kChunkEnd = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
inline constexpr std::string_view kChunkEndAndLastChunk = "\r\n0\r\n\r\n";
// The same with trailer lines to come, behind which stands the empty line.
inline constexpr std::string_view kLastChunkLine = "0\r\n";
inline constexpr std::string_view kChunkEndAndLastChunkLine = "\r\n0\r\n";
inline constexpr std::string_view kEmptyLine = "\r\n";

} // namespace weir::http
