// Result<T>: a T, or the Error that prevented it. An alias, so that it can become std::expected.
#pragma once

#include "proxy/base/error.h"

#include <boost/system/result.hpp>

#include <stdexcept>

namespace weir {

template <typename T>
using Result = boost::system::result<T, Error>;

// Found by argument-dependent look-up when value() is called on a failed Result; only start-up
// code may do that.
[[noreturn]] inline void throw_exception_from_error(const Error& error,
                                                    const boost::source_location& /*where*/) {
  throw std::runtime_error(error.text());
}

} // namespace weir
