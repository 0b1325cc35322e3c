// Probes of the policies in force: for each rule of each pod of this node something that it allows,
// and the nearest thing that nothing allows. What is to come of them is asked of the Program that
// is in force, so a probe whose outcome is another tells that the data path does not do what policy
// says. Made here, sent by `weirctl connectivity test`. Pure; any thread.
//
// Nothing that may change anything: connections, GET and HEAD, queries for names, ClientHellos. To
// pods and single addresses that a rule names, never to whole networks.
#pragma once

#include "proxy/admin/trace.h"

#include <boost/json/array.hpp>

namespace weir::admin {

inline constexpr std::size_t kMaxProbes = 512;

// [{rule, kind: "tcp"|"http"|"dns"|"tls", from, interface, to, ip, port, protocol: "TCP"|"UDP",
// method, path, host, headers, name, expect: "allowed"|"denied"}], or {rule, from, skipped: why}
// where a rule gives none.
[[nodiscard]] boost::json::array probes(const TraceWorld& world);

} // namespace weir::admin
