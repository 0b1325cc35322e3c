#include "proxy/ctl/listing.h"

#include <CLI/CLI.hpp>

namespace weir::ctl {

void add_endpoints(CLI::App& app, Session& session) {
  app.add_subcommand("endpoints", "Pods, their identities and the policies that select them")
      ->callback([&session] {
        show_list(session, "/endpoints", "endpoints",
                  {{"NAMESPACE", "namespace"},
                   {"NAME", "name"},
                   {"IDENTITY", "identity"},
                   {"IPS", "ips"},
                   {"INTERFACE", "interface"},
                   {"STATE", "state"},
                   {"POLICIES", "policies"}});
      });
}

} // namespace weir::ctl
