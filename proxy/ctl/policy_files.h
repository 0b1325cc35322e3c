// The files that paths on the command line stand for.
#pragma once

#include "proxy/base/result.h"

#include <string>
#include <vector>

namespace weir::ctl {

// A folder stands for the files that the proxy would read from it: *.yaml and *.yml, sorted. One
// without any is an error, because then nothing would be looked at and all would seem well.
Result<std::vector<std::string>> policy_files(const std::vector<std::string>& paths);

} // namespace weir::ctl
