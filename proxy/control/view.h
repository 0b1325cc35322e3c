// What is in force, as the rows of the admin server.
#pragma once

#include "policy-compiler/runtime/program.h"
#include "proxy/admin/model.h"
#include "proxy/endpoint/registry.h"

#include <vector>

namespace weir::control {

[[nodiscard]] std::vector<admin::EndpointRow> endpoint_rows(const policy::Program& program,
                                                            const endpoint::Registry& registry);

} // namespace weir::control
