// What a worker judges by: one Program, the Registry that it was compiled for, the secrets that its
// policies name and what DNS needs of the cluster, switched as one.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/base/secret_set.h"
#include "proxy/endpoint/dns_scope.h"
#include "proxy/endpoint/registry.h"

#include <memory>

namespace weir::endpoint {

struct Snapshot {
  std::shared_ptr<const policy::Program> program;
  std::shared_ptr<const Registry> registry;
  std::shared_ptr<const SecretSet> secrets{};    // null: none are read
  std::shared_ptr<const DnsScope> dns = nullptr; // null: no resolver is trusted
};

} // namespace weir::endpoint
