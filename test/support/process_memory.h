// What the kernel says of a process's memory, in bytes.
#pragma once

#include "test/support/lab.h"

#include <sys/types.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace weir::test {

// A field of /proc/PID/status that is given in kB: "RssAnon:", "VmHWM:". Throws when there is none.
inline std::size_t process_memory(pid_t pid, std::string_view field) {
  std::istringstream text(read_file("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with(field)) {
      return std::strtoull(line.c_str() + field.size(), nullptr, 10) * 1024;
    }
  }
  throw std::runtime_error("no " + std::string(field) + " of process " + std::to_string(pid));
}

} // namespace weir::test
