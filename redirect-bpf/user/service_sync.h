// The kernel's services as wanted: translates a list of services into weir_services, weir_backends
// and weir_members, and takes away what is not used any more. A service moves from one set of
// backends to the next in one write; the old set stays until the next update, for packets that are
// just being translated.
//
// Control thread, but for backend_of(), which any thread may call. Errors: the
// kernel's; a service that could not be written keeps its old backends.
#pragma once

#include "proxy/base/ip.h"
#include "proxy/base/result.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/redirector.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace weir::redirect {

class ServiceSync {
public:
  struct Maps {
    int services = -1, backends = -1, members = -1, translations = -1;
  };

  // The descriptors outlive it. Takes over what is there: numbers are not given out twice.
  explicit ServiceSync(Maps maps);

  Result<void> update(std::span<const ServiceState> wanted);

  // The backend that the data path chose for a redirected flow.
  [[nodiscard]] std::optional<SocketAddress> backend_of(const SocketAddress& client,
                                                        const SocketAddress& service,
                                                        std::uint8_t protocol) const;

private:
  using Key = std::vector<std::uint8_t>; // a weir_service_key, as bytes
  struct Held {
    weir_service value{};
    std::vector<weir_backend> backends; // as written; empty and value.set 0: unknown, adopted
  };

  Result<std::uint32_t> write_set(const std::vector<weir_backend>& backends);
  [[nodiscard]] std::set<Key> called_addresses() const;
  void remove_sets_except(const std::set<std::uint32_t>& kept);

  Maps x_maps;
  std::map<Key, Held> x_held;
  std::uint32_t x_last_id = 0, x_last_set = 0;
  std::set<std::uint32_t> x_retired; // sets that were live before the last update
  std::atomic<bool> x_in_use{false};
};

} // namespace weir::redirect
