// Where weir goes on to with what a pod sent, and as whom.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/runtime/worker.h"
#include "redirect-bpf/user/redirector.h"

#include <cstdint>
#include <optional>

namespace weir::session {

struct Onward {
  OriginalDst server;              // policy speaks of it, and it is what is asked
  std::optional<IpAddress> source; // that the server sees; none: weir's own
};

// Of a redirected flow that the client opened to `asked`; protocol: IPPROTO_TCP or IPPROTO_UDP.
//
// The server is the backend, where `asked` is a service's and there is a redirector, which knows.
// The source is the client, but where the server is this node itself (its own addresses, by the
// worker's newest snapshot): a server here sends its answers to the pod straight through the pod's
// interface, and weir would never see them. Such a server sees the node's address.
[[nodiscard]] Onward onward(const runtime::Worker& worker, redirect::Redirector* redirector,
                            ClientAddr client, OriginalDst asked, std::uint8_t protocol);

} // namespace weir::session
