// How many TCP segments a socket has received, the handshake's included (TCP_INFO, Linux 4.2).
// Apart from its users: the kernel's own header, which has it, does not go with the C library's.
#pragma once

namespace weir::test {

[[nodiscard]] unsigned segments_received(int fd);

} // namespace weir::test
