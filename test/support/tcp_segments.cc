#include "test/support/tcp_segments.h"

#include <catch2/catch_test_macros.hpp>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace weir::test {

unsigned segments_received(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  REQUIRE(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  return info.tcpi_segs_in;
}

} // namespace weir::test
