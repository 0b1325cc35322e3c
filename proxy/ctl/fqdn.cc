#include "proxy/ctl/listing.h"

#include <CLI/CLI.hpp>

namespace weir::ctl {

void add_fqdn(CLI::App& app, Session& session) {
  auto* fqdn = app.add_subcommand("fqdn", "Addresses that pods learned from DNS");
  fqdn->add_subcommand("list", "As `weirctl fqdn`");
  fqdn->callback([&session] {
    show_list(session, "/fqdn/cache", "learned addresses",
              {{"POD", "pod"},
               {"NAME", "name"},
               {"ADDRESS", "address"},
               {"TTL", "ttl"},
               {"EXPIRES", "expires_at"}});
  });
}

} // namespace weir::ctl
