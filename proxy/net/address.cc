#include "proxy/net/address.h"

#include <cstring>

namespace weir::net {
namespace asio = boost::asio;

asio::ip::tcp::endpoint to_asio(const SocketAddress& address) {
  const IpAddress::Bytes& bytes = address.ip.bytes();
  if (address.ip.is_v4()) {
    return {asio::ip::address_v4({bytes[12], bytes[13], bytes[14], bytes[15]}), address.port};
  }
  return {asio::ip::address_v6(bytes), address.port};
}

SocketAddress from_asio(const asio::ip::tcp::endpoint& endpoint) {
  sockaddr_storage storage{};
  std::memcpy(&storage, endpoint.data(), endpoint.size());
  return SocketAddress::from_sockaddr(storage);
}

} // namespace weir::net
