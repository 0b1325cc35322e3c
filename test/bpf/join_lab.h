// A node whose two pods may be joined with the proxy; the part of the proxy is played by sockets.
//
//   pod a: client ══ downstream │ upstream ══ server: pod b
#pragma once

#include "test/bpf/small_node.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::test {

inline constexpr std::uint16_t kJoinPort = 8080;

struct Chain {
  UniqueFd client, downstream, upstream, server;
};

class JoinLab : public SmallNode {
public:
  // Skips the test where the kernel cannot join. With acceleration on, both pods chosen, and pod
  // a's flows to kJoinPort redirected.
  JoinLab();

  void accelerate(bool enabled); // fails the test where the kernel cannot
  void listen();                 // anew; what was there is closed
  // What pod a may send to kJoinPort, and whether the pods may be joined.
  void put_in_force(weir_verdict verdict, bool joined = true);

  // The client's half, the proxy's, and both with a server in pod b.
  UniqueFd connect_client(const Addresses& addresses, std::string_view to);
  UniqueFd accept_downstream(const Addresses& addresses);
  UniqueFd dial(const Addresses& addresses, std::string_view to);
  Chain chain(const Addresses& addresses = kAddresses[0]);

  std::uint64_t counted(weir_join_count what) { return redirector->acceleration().counts[what]; }

private:
  UniqueFd x_listener4, x_listener6; // the proxy's
  UniqueFd x_server4, x_server6;     // of pod b, from the first chain on
};

} // namespace weir::test
