// Sends one probe (proxy/admin/probes.h) from the network namespace of the calling thread, and says
// what came of it. One connection or datagram, bounded in time and in what is read; leaves nothing
// behind.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"

#include <boost/json/object.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace weir::ctl {

struct Probe {
  std::string rule, kind, from, to;
  std::string interface; // that leads to `from`
  SocketAddress target;
  bool udp = false;
  std::string method, path, host, name;
  std::vector<std::pair<std::string, std::string>> headers;
  bool expect_allowed = false;

  // What it does, in words: "GET /public to shop/web 10.0.1.11:80/TCP".
  [[nodiscard]] std::string text() const;
};

// An error: not one of those that are known.
[[nodiscard]] Result<Probe> read_probe(const boost::json::object& row);

struct ProbeAnswer {
  enum class Verdict : std::uint8_t {
    kAllowed,
    kDenied,
    kUnclear, // neither: no answer where a denial would be one, or the probe could not be sent
  };
  Verdict verdict = Verdict::kUnclear;
  std::string text; // "200", "403, denied by shop/api", "no answer in 1 s"
};

[[nodiscard]] ProbeAnswer send_probe(const Probe& probe, std::chrono::milliseconds patience);

} // namespace weir::ctl
