#include "policy-compiler/schema/schema.h"
#include "proxy/ctl/command.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

namespace weir::ctl {

void add_policy_schema(CLI::App& policy, Session& /*session*/) {
  auto* command = policy.add_subcommand(
      "schema", "Print a JSON Schema of the policies that weir reads, for editors");
  command->callback([] { print_json(policy::policy_schema()); });
}

} // namespace weir::ctl
