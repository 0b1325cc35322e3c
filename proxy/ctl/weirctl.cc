// weirctl: the user's tool. Only the command line; each command is a file of its own.
#include "proxy/base/version.h"
#include "proxy/ctl/command.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <functional>

namespace {

int run(int argc, char** argv) {
  using namespace weir;
  CLI::App app("Looks into weir-proxy and checks policies", "weirctl");
  app.require_subcommand(1);
  app.set_version_flag("--version", "weirctl " + std::string(version()));

  ctl::Session session;
  std::string admin = "127.0.0.1:9931";
  std::string output = "table";
  app.add_option("--admin", admin, "Admin address of the proxy")->capture_default_str();
  app.add_option("-o,--output", output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  // Options are known in full only here, after the whole line was read and before a command runs.
  app.parse_complete_callback([&] {
    const auto address = SocketAddress::parse(admin);
    if (!address) {
      throw CLI::ValidationError("--admin", "must be an address and a port such as 127.0.0.1:9931");
    }
    session.admin = *address;
    session.json = output == "json";
  });

  auto* policy = app.add_subcommand("policy", "Policies: check files, list those in force");
  policy->require_subcommand(1);
  ctl::add_status(app, session);
  ctl::add_endpoints(app, session);
  ctl::add_flows(app, session);
  ctl::add_fqdn(app, session);
  ctl::add_policies(app, *policy, session);
  ctl::add_policy_check(*policy, session);
  ctl::add_policy_eval(*policy, session);
  ctl::add_policy_lint(*policy, session);
  ctl::add_policy_schema(*policy, session);
  ctl::add_policy_trace(*policy, session);
  ctl::add_bpf(app, session);
  ctl::add_connectivity_test(app, session);
  ctl::add_sysdump(app, session);
  ctl::add_cleanup(app, session);
  ctl::add_version(app, session);
  // -o and --admin may stand behind the command, as with kubectl.
  const std::function<void(CLI::App&)> let_fall_through = [&](CLI::App& parent) {
    for (auto* command : parent.get_subcommands({})) {
      command->fallthrough();
      let_fall_through(*command);
    }
  };
  let_fall_through(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ctl::kFine : ctl::kFailed;
  }
  return session.exit_code;
}

} // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "weirctl: %s\n", error.what());
    return weir::ctl::kFailed;
  }
}
