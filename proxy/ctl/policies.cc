#include "proxy/ctl/listing.h"

#include <CLI/CLI.hpp>

namespace weir::ctl {

void add_policies(CLI::App& app, CLI::App& policy, Session& session) {
  const auto show = [&session] {
    show_list(session, "/policies", "policies",
              {{"NAMESPACE", "namespace"},
               {"NAME", "name"},
               {"KIND", "kind"},
               {"STATUS", "status"},
               {"FILE", "file"},
               {"MESSAGE", "message"}});
  };
  app.add_subcommand("policies", "Policies of the running proxy, accepted or rejected")
      ->callback(show);
  policy.add_subcommand("get", "As `weirctl policies`")->callback(show);
}

} // namespace weir::ctl
