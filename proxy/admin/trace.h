// Why is a flow allowed or denied? A question in the words of the command line, the answer as JSON;
// for the running proxy and for `weirctl policy trace` on files alike. Reads only: any thread.
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/base/result.h"
#include "proxy/endpoint/registry.h"

#include <boost/json/object.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::admin {

struct TraceQuestion {
  std::string from; // "namespace/pod" or an address
  std::string to;   // the same, or a DNS name
  std::string port; // "80/TCP"; ICMP: the type
  std::string method, path, host, dns, sni;
  std::vector<std::string> headers; // "Name: value"
};

// Its texts by the names of the query's parameters; kTraceHeader names each of `headers`.
struct TraceParameter {
  std::string_view name;
  std::string TraceQuestion::* text;
};
inline constexpr TraceParameter kTraceParameters[] = {
    {"from", &TraceQuestion::from}, {"to", &TraceQuestion::to},
    {"port", &TraceQuestion::port}, {"method", &TraceQuestion::method},
    {"path", &TraceQuestion::path}, {"host", &TraceQuestion::host},
    {"dns", &TraceQuestion::dns},   {"sni", &TraceQuestion::sni}};
inline constexpr std::string_view kTraceHeader = "header";

// What is asked; references outlive the call.
struct TraceWorld {
  const policy::CompileInput& input;
  const policy::Program& program; // compiled from `input`
  const endpoint::Registry& registry;
  // FQDN groups that the address is open for to the pod, by that one name if it is not null; may be
  // empty.
  std::function<std::uint64_t(policy::EndpointId, const IpAddress&, const DnsName*)> learned;
};

// {"verdict": "allowed"|"denied"|"audit", "directions": [{endpoint, peer, direction, verdict,
// enforced, protocol, reason, rule, policies, audited, nearest}]}. "audit": it passes, and rule,
// reason and nearest say why it would not if the policies in `audited` were enforced. A side that
// no policy was computed for, because it is not judged here, is left out; an error when both are.
// Errors say what is wrong with the question.
[[nodiscard]] Result<boost::json::object> trace(const TraceQuestion& question,
                                                const TraceWorld& world);

} // namespace weir::admin
