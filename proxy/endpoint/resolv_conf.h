// What a resolv.conf says (resolv.conf(5)): which servers to ask, and with which domains a short
// name is completed. Pure; any thread.
#pragma once

#include "proxy/base/dns_name.h"
#include "proxy/base/ip.h"

#include <string_view>
#include <vector>

namespace weir::endpoint {

struct ResolvConf {
  std::vector<IpAddress> name_servers;
  std::vector<DnsName> search; // in order; the root is left out
};

// Lines that are not understood are passed over, as every resolver does it. Of several `search` and
// `domain` lines the last one counts.
[[nodiscard]] ResolvConf parse_resolv_conf(std::string_view text);

} // namespace weir::endpoint
