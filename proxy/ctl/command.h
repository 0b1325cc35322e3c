// What all commands of weirctl share. A command is one file with one add_…() function, which puts
// it on the command line and sets what runs when it is chosen.
#pragma once

#include "proxy/base/error.h"
#include "proxy/base/ip.h"

#include <boost/json/value.hpp>

#include <string_view>

namespace CLI {
class App;
}

namespace weir::ctl {

enum ExitCode : int {
  kFine = 0,
  kFindings = 1, // something is denied, rejected or not ready
  kFailed = 2,   // usage, unreachable, unreadable
};

struct Session {
  SocketAddress admin;
  bool json = false; // -o json
  int exit_code = kFine;
};

// Prints the error to stderr and makes it the exit code.
void fail(Session& session, const Error& error);
void print(std::string_view text);
// One line, for machines.
void print_json(const boost::json::value& value);
// A member as text, number or list joined by commas; empty where it is absent.
[[nodiscard]] std::string cell(const boost::json::value& object, std::string_view key);

void add_status(CLI::App& app, Session& session);
void add_policies(CLI::App& app, CLI::App& policy, Session& session);
void add_policy_check(CLI::App& policy, Session& session);
void add_policy_eval(CLI::App& policy, Session& session);
void add_policy_lint(CLI::App& policy, Session& session);
void add_policy_schema(CLI::App& policy, Session& session);
void add_policy_trace(CLI::App& policy, Session& session);
void add_connectivity_test(CLI::App& app, Session& session);
void add_endpoints(CLI::App& app, Session& session);
void add_flows(CLI::App& app, Session& session);
void add_fqdn(CLI::App& app, Session& session);
void add_sysdump(CLI::App& app, Session& session);
void add_bpf(CLI::App& app, Session& session);
void add_cleanup(CLI::App& app, Session& session);
void add_version(CLI::App& app, Session& session);

} // namespace weir::ctl
