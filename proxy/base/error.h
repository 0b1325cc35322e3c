// What went wrong, as a value: a code that callers branch on and a short context for people.
// Used for peers, the network and the environment; a broken invariant is WEIR_CHECK (check.h).
#pragma once

#include <string>
#include <string_view>
#include <system_error>

namespace weir {

struct Error {
  std::error_code code;
  std::string context; // what was being done, to what: "bind 127.0.0.1:53"

  // "bind 127.0.0.1:53: Address already in use"
  [[nodiscard]] std::string text() const;
};

// From errno as it stands now; call it before anything else can change it.
[[nodiscard]] Error errno_error(std::string context);
[[nodiscard]] Error errno_error(int number, std::string context);

// For input that is wrong without any system call having failed.
[[nodiscard]] Error invalid_error(std::string context);

} // namespace weir
