// Maps of a BPF object that outlive the process: those that are pinned are adopted before the
// object is loaded, the others pinned after it.
//
// Control thread. Errors: the kernel's; a pinned map of another shape under this ABI version is
// one, because its content cannot be trusted.
#pragma once

#include "proxy/base/result.h"

#include <string>
#include <utility>
#include <vector>

struct bpf_map;
struct bpf_object;

namespace weir::redirect {

using FreshMaps = std::vector<std::pair<bpf_map*, std::string>>; // and where each is to be pinned

// `folder`: where "maps" is; it exists. The object is open, not loaded.
Result<FreshMaps> adopt_pinned_maps(bpf_object& object, const std::string& folder);
Result<void> pin_maps(const FreshMaps& fresh);

} // namespace weir::redirect
