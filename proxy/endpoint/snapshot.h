// What a worker judges by: one Program, the Registry that it was compiled for and the secrets that
// its policies name, switched as one.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/base/secret_set.h"
#include "proxy/endpoint/registry.h"

#include <memory>

namespace weir::endpoint {

struct Snapshot {
  std::shared_ptr<const policy::Program> program;
  std::shared_ptr<const Registry> registry;
  std::shared_ptr<const SecretSet> secrets{}; // null: none are read
};

} // namespace weir::endpoint
