// weir-proxy: flags, configuration, and the process that they ask for.

#include "proxy/base/log.h"
#include "proxy/config/config_loader.h"
#include "proxy/control/process.h"
#include "redirect-bpf/user/cleanup.h"

#include <CLI/CLI.hpp>

#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

namespace {

constexpr int kOk = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

int validate(const std::string& path, const weir::config::LoadedConfig& loaded) {
  for (const auto& error : loaded.errors) {
    std::fprintf(stderr, "%s\n", error.text().c_str());
  }
  if (loaded.config) {
    std::printf("%s: configuration is valid\n", path.c_str());
  }
  return loaded.config ? kOk : kFailed;
}

int serve(const weir::config::LoadedConfig& loaded) {
  for (const auto& error : loaded.errors) {
    std::fprintf(stderr, "%s\n", error.text().c_str());
  }
  if (!loaded.config) {
    return kUsage;
  }
  // Connections and questions to DNS servers are descriptors; the soft limit is often 1024.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  // A client that goes away is an error of the write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  weir::control::Process process(**loaded.config);
  if (const auto started = process.start(); !started) {
    weir::log::error("{}", started.error().text());
    return kFailed;
  }
  process.run();
  return kOk;
}

int cleanup(const std::string& bpffs) {
  const auto cleaned = weir::redirect::cleanup(bpffs);
  if (!cleaned) {
    std::fprintf(stderr, "weir-proxy cleanup: %s\n", cleaned.error().text().c_str());
    return kFailed;
  }
  return kOk;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app("weir-proxy: enforces FQDN and HTTP policy on the pods of this node");
  app.set_version_flag("--version", "weir-proxy " WEIR_VERSION);
  std::string config_path = "/etc/weir/weir.yaml";
  app.add_option("--config", config_path, "configuration file")->capture_default_str();
  std::string mode = "serve";
  app.add_option("--mode", mode, "serve, or validate: check the configuration and end")
      ->check(CLI::IsMember({"serve", "validate"}))
      ->capture_default_str();
  std::string level = "info";
  app.add_option("--log-level", level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  CLI::App* cleanup_command = app.add_subcommand(
      "cleanup", "remove every program, map, rule and route that weir made on this node");
  std::string bpffs = "/sys/fs/bpf";
  cleanup_command->add_option("--bpffs", bpffs, "BPF file system")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  weir::log::set_level(level);
  try {
    if (*cleanup_command) {
      return cleanup(bpffs);
    }
    const auto loaded = weir::config::load_config(config_path);
    return mode == "validate" ? validate(config_path, loaded) : serve(loaded);
  } catch (const std::exception& error) {
    weir::log::error("{}", error.what());
    return kFailed;
  }
}
