// What the kernel holds, read from the pinned maps and from nothing else, so that it can be looked
// at while no proxy runs. Reads only; elements that change meanwhile may be missed.
//
// Any thread. Errors: nothing is pinned there, a map has another layout, the kernel's. Needs
// CAP_BPF, and CAP_SYS_ADMIN for the maps inside maps.
#pragma once

#include "proxy/base/result.h"
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/redirector.h"

#include <string>
#include <utility>
#include <vector>

namespace weir::redirect {

class MapDump {
public:
  // `bpffs`: redirect.bpffs of the configuration.
  explicit MapDump(const std::string& bpffs);

  [[nodiscard]] Result<weir_config> config() const;
  // By the slot in force.
  [[nodiscard]] Result<std::vector<std::pair<std::uint32_t, PolicyRow>>> policies() const;
  [[nodiscard]] Result<std::vector<std::pair<weir_identity_key, std::uint32_t>>> identities() const;
  [[nodiscard]] Result<std::vector<std::pair<weir_ct_key, weir_ct_entry>>> conntrack() const;
  [[nodiscard]] Result<std::vector<std::pair<weir_learned_key, weir_learned_entry>>>
  learned() const;
  [[nodiscard]] Result<Counters> counters() const;

private:
  std::string x_folder; // of the maps
};

} // namespace weir::redirect
