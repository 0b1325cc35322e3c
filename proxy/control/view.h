// What is in force, as the rows of the admin server.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/admin/model.h"
#include "proxy/base/dns_name.h"
#include "proxy/endpoint/registry.h"
#include "redirect-bpf/user/redirector.h"

#include <string>
#include <vector>

namespace weir::control {

[[nodiscard]] std::vector<admin::EndpointRow> endpoint_rows(const policy::Program& program,
                                                            const endpoint::Registry& registry,
                                                            redirect::Redirector& redirector);

// As people write names: without the root's dot.
[[nodiscard]] std::string shown_name(const DnsName& name);

} // namespace weir::control
