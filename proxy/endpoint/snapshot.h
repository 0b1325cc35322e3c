// What a worker judges by: one Program and the Registry that it was compiled for, switched as one.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/endpoint/registry.h"

#include <memory>

namespace weir::endpoint {

struct Snapshot {
  std::shared_ptr<const policy::Program> program;
  std::shared_ptr<const Registry> registry;
};

} // namespace weir::endpoint
