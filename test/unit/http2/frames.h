// Frames as bytes, for tests that play a peer by hand: whatever nghttp2 would refuse to send can
// be built here. Header blocks are literals without indexing and without Huffman coding unless a
// test writes HPACK itself; what weir sends is read by nghttp2's inflater.
#pragma once

#include "proxy/http2/frame.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct nghttp2_hd_inflater;

namespace weir::test {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// --- building

std::string frame(http2::FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload);
std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload);
// The header of a frame that is said to have so many bytes of payload.
std::string frame_header(std::uint32_t length, std::uint8_t type, std::uint8_t flags,
                         std::uint32_t stream);
std::string number(std::uint32_t value, int bytes = 4);

// HPACK: literals without indexing.
std::string block(const Pairs& fields);
// One literal that goes into the dynamic table.
std::string indexed_literal(std::string_view name, std::string_view value);

// HEADERS with END_HEADERS.
std::string headers(std::uint32_t stream, const Pairs& fields, bool end_stream);
std::string data(std::uint32_t stream, std::string_view bytes, bool end_stream);
std::string settings(std::initializer_list<std::pair<std::uint16_t, std::uint32_t>> entries = {});
std::string settings_ack();
std::string window_update(std::uint32_t stream, std::uint32_t increment);
std::string rst_stream(std::uint32_t stream, http2::ErrorCode error);
std::string ping(std::uint8_t flags = 0);
std::string goaway(std::uint32_t last_stream, http2::ErrorCode error);

// What a client says first: preface and SETTINGS.
std::string hello(std::initializer_list<std::pair<std::uint16_t, std::uint32_t>> entries = {});
// A request's head with the method and path given.
Pairs request(std::string_view method = "GET", std::string_view path = "/", Pairs more = {});

// --- reading

struct Frame {
  http2::FrameType type;
  std::uint8_t flags;
  std::uint32_t stream;
  std::string payload;
  Pairs fields; // HEADERS: decoded

  [[nodiscard]] bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
  [[nodiscard]] std::uint32_t word(std::size_t offset) const;
  [[nodiscard]] std::string field(std::string_view name) const; // empty: not there
};

// Cuts what one side of a connection sends into frames. One a connection: HPACK has a memory.
class FrameReader {
public:
  // preface: the bytes that come before the first frame are the client's preface.
  explicit FrameReader(bool preface);
  ~FrameReader();

  void add(std::string_view bytes);
  // All frames so far.
  [[nodiscard]] const std::vector<Frame>& frames() const { return x_frames; }

  // The first of this type (and stream), or null.
  [[nodiscard]] const Frame* find(http2::FrameType type, std::uint32_t stream) const;
  // Bodies of a stream's DATA frames joined.
  [[nodiscard]] std::string body(std::uint32_t stream) const;
  [[nodiscard]] bool ended(std::uint32_t stream) const; // END_STREAM was seen
  // Code of a RST_STREAM for the stream; -1: none.
  [[nodiscard]] int reset_code(std::uint32_t stream) const;
  // Code of the last GOAWAY; -1: none.
  [[nodiscard]] int goaway_code() const;
  [[nodiscard]] std::size_t count(http2::FrameType type) const;

private:
  std::size_t x_preface;
  std::string x_buffer;
  std::string x_block; // of a head that is not whole yet
  std::vector<Frame> x_frames;
  nghttp2_hd_inflater* x_inflater = nullptr;
};

} // namespace weir::test
