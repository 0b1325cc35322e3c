#include "redirect-bpf/user/cleanup.h"
#include "proxy/ctl/client.h"
#include "proxy/ctl/command.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace weir::ctl {
namespace {

struct Options {
  std::string bpffs = "/sys/fs/bpf";
  bool force = false;
};

void clean_up(Session& session, const Options& options) {
  // Under a running proxy the pods' traffic would go on unjudged while it believes to enforce.
  if (!options.force && get_text(session.admin, "/livez")) {
    fail(session, invalid_error("weir-proxy is running at " + session.admin.to_string() +
                                ": stop it first, or say --force"));
    return;
  }
  if (const auto done = redirect::cleanup(options.bpffs); !done) {
    fail(session, done.error());
  }
}

} // namespace

void add_cleanup(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand(
      "cleanup", "Remove every program, map, rule and route that weir made on this node");
  auto options = std::make_shared<Options>();
  command->add_option("--bpffs", options->bpffs, "redirect.bpffs of the configuration")
      ->capture_default_str();
  command->add_flag("--force", options->force, "Even if a proxy is running");
  command->callback([&session, options] { clean_up(session, *options); });
}

} // namespace weir::ctl
