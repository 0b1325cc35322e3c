#include "proxy/base/error.h"

#include <cerrno>

namespace weir {

std::string Error::text() const {
  // An invalid_error's context says it all; "Invalid argument" behind it would only add noise.
  if (code == std::errc::invalid_argument) {
    return context;
  }
  return context + ": " + code.message();
}

Error errno_error(std::string context) { return errno_error(errno, std::move(context)); }

Error errno_error(int number, std::string context) {
  return {std::error_code(number, std::generic_category()), std::move(context)};
}

Error invalid_error(std::string context) {
  return {std::make_error_code(std::errc::invalid_argument), std::move(context)};
}

} // namespace weir
