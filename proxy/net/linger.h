// The end of a connection on which everything was said but the peer may still be sending: closing
// with bytes unread would make the kernel reset it, and the peer could lose the last words.
#pragma once

#include "proxy/net/stream.h"

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <span>

namespace weir::net {

// How long the caller's deadline should let it take.
inline constexpr std::chrono::seconds kLingerTime{1};

// Ends the writing half, reads into `block` and forgets it until the peer ends too, has sent
// 256 KiB or `over` is set, and closes. The caller's deadline sets `over` and cancels the stream;
// stream, block and `over` outlive the call.
boost::asio::awaitable<void> linger_close(Stream& stream, std::span<char> block, const bool& over);

} // namespace weir::net
