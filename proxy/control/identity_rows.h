// The kernel's table of identities out of what the Registry knows: each pod's addresses, and the
// cells of all others. A pod's address is the pod's whatever prefix has it as well. Kept in step by
// what has changed.
//
// Control thread.
#pragma once

#include "proxy/endpoint/registry.h"
#include "redirect-bpf/user/redirector.h"

#include <map>
#include <memory>

namespace weir::control {

class IdentityRows {
public:
  redirect::IdentityRows update(const endpoint::EndpointsByAddress& pods,
                                const std::shared_ptr<const endpoint::PrefixTable>& prefixes);

private:
  using Cells = std::map<IpPrefix, policy::IdentityId>;

  void settle(const IpPrefix& prefix);

  endpoint::EndpointsByAddress x_pods; // of the last update
  std::shared_ptr<const endpoint::PrefixTable> x_prefixes;
  Cells x_cells; // of x_prefixes
  redirect::IdentityRows::Editor x_rows{{}};
};

} // namespace weir::control
