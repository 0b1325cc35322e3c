// Attempts at what the policies of policies.h forbid, made again and again: by a pod without the
// label, by a method that is not allowed, by an address whose name is not.
#pragma once

#include "test/integration/sentinel.h"
#include "test/support/lab.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::test {

using Sentinels = std::vector<std::unique_ptr<Sentinel>>;

// By both families. Each attempt is one connection and, if that comes about, one request; through
// is what the server answered. `patience` bounds each wait of it. The pods outlive the sentinels.
inline Sentinels attempt_forbidden(const Pod& client, const Pod& stranger, const Pod& web,
                                   std::chrono::milliseconds patience) {
  Sentinels all;
  const auto attempt = [&](const Pod& pod, const std::string& address, const HttpRequest& request) {
    all.push_back(std::make_unique<Sentinel>([&pod, address, patience, request] {
      auto connection = HttpConnection::open(pod.netns(), address, 80, patience);
      const auto reply = connection ? connection->request(request) : std::optional<HttpReply>{};
      return reply && reply->status == 200;
    }));
  };
  for (const Family family : {Family::kV4, Family::kV6}) {
    attempt(stranger, web.address(family), {.target = "/discount?stranger"});
    attempt(client, web.address(family), {.method = "POST", .target = "/discount?denied"});
    attempt(client, other_address(family), {.target = "/forbidden"});
  }
  return all;
}

// Waits until each of them has made so many attempts more.
inline bool all_attempted(const Sentinels& sentinels, unsigned more) {
  return std::all_of(sentinels.begin(), sentinels.end(), [&](const auto& sentinel) {
    const unsigned before = sentinel->attempts();
    return eventually([&] { return sentinel->attempts() >= before + more; });
  });
}

} // namespace weir::test
