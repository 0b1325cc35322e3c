// Takes everything away that weir has made on this node: programs, links, filters, maps, rules,
// routes, and the BPF file system where weir has mounted it. What was there before is there
// afterwards.
//
// For `weirctl cleanup`, in the node's network namespace. Goes on after an error and returns the
// first. Where nothing is left to do it does nothing.
#pragma once

#include "proxy/base/result.h"

#include <string>

namespace weir::redirect {

Result<void> cleanup(const std::string& bpffs);

// The pins of one ABI version ("<bpffs>/weir/v<N>"), links first.
void remove_pin_folder(const std::string& folder);

} // namespace weir::redirect
