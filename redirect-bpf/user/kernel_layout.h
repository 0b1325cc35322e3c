// Where the running kernel keeps what bpf/births.h reads of it, from the kernel's own description.
// Knows nothing of programs.
//
// Any thread; takes some milliseconds. Error: the kernel has no BTF, has not these fields, or does
// not let tc programs read its memory (lockdown=confidentiality). Tried on Linux 6.18.
#pragma once

#include "proxy/base/result.h"
#include "redirect-bpf/abi/weir_abi.h"

namespace weir::redirect {

Result<weir_kernel_layout> kernel_layout();

} // namespace weir::redirect
