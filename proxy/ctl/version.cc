#include "proxy/base/version.h"

#include "proxy/ctl/client.h"
#include "proxy/ctl/command.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

namespace weir::ctl {

void add_version(CLI::App& app, Session& session) {
  app.add_subcommand("version", "Versions of weirctl and of the running proxy")
      ->callback([&session] {
        // No proxy is no failure here: the question is also asked without one.
        const auto info = get_json(session.admin, "/server_info");
        const std::string server = info ? cell(*info, "version") : "";
        if (session.json) {
          print_json({{"client", {{"version", version()}}},
                      {"server", info ? boost::json::value{{"version", server}} : nullptr}});
          return;
        }
        print("Client: " + std::string(version()) + "\n");
        print("Server: " + (info ? server : "<none>") + "\n");
      });
}

} // namespace weir::ctl
