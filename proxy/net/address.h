// Between weir's addresses and Asio's.
#pragma once

#include "proxy/base/ip.h"

#include <boost/asio/ip/tcp.hpp>

namespace weir::net {

boost::asio::ip::tcp::endpoint to_asio(const SocketAddress& address);
SocketAddress from_asio(const boost::asio::ip::tcp::endpoint& endpoint);

} // namespace weir::net
