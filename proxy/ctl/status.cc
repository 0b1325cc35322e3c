#include "proxy/ctl/client.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/table.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <map>
#include <set>

namespace weir::ctl {
namespace {

namespace json = boost::json;
using Counts = std::map<std::string, std::uint64_t>;

Counts count_by(const json::value& rows, std::string_view key) {
  Counts counts;
  if (const auto* array = rows.if_array()) {
    for (const auto& row : *array) {
      ++counts[cell(row, key)];
    }
  }
  return counts;
}

std::size_t distinct(const json::value& rows, std::string_view key) {
  return count_by(rows, key).size();
}

json::object counts_json(const Counts& counts) {
  json::object object;
  for (const auto& [name, count] : counts) {
    object[name] = count;
  }
  return object;
}

// "3 accepted, 1 rejected"
std::string counts_text(const Counts& counts) {
  std::string text;
  for (const auto& [name, count] : counts) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  }
  return text.empty() ? "none" : text;
}

// "followed"; or what is wrong, and for how long.
std::string kubernetes_text(const json::value& info) {
  const auto* server = info.if_object();
  const auto* kubernetes = server == nullptr ? nullptr : server->if_contains("kubernetes");
  if (kubernetes == nullptr || !kubernetes->is_object()) {
    return "not asked";
  }
  const std::string trouble = cell(*kubernetes, "trouble");
  return trouble.empty() ? "followed"
                         : "degraded, last heard of " + cell(*kubernetes, "staleness_seconds") +
                               "s ago: " + trouble;
}

void show_status(Session& session) {
  const auto info = get_json(session.admin, "/server_info");
  const auto policies = get_json(session.admin, "/policies");
  const auto endpoints = get_json(session.admin, "/endpoints");
  const auto fqdn = get_json(session.admin, "/fqdn/cache");
  for (const auto* answer : {&info, &policies, &endpoints, &fqdn}) {
    if (!*answer) {
      fail(session, answer->error());
      return;
    }
  }
  const Counts by_status = count_by(*policies, "status");
  const Counts by_state = count_by(*endpoints, "state");
  const bool live = cell(*info, "state") == "LIVE";
  session.exit_code = live && !by_status.contains("rejected") ? kFine : kFindings;

  if (session.json) {
    print_json({{"server", *info},
                {"policies", counts_json(by_status)},
                {"endpoints", counts_json(by_state)},
                {"fqdn",
                 {{"names", distinct(*fqdn, "name")}, {"addresses", distinct(*fqdn, "address")}}}});
    return;
  }
  std::string state = cell(*info, "state");
  if (!live) {
    state += ": " + cell(*info, "reason");
  }
  const auto line = [](const char* name, const std::string& value) {
    std::string text = std::string(name) + ":";
    text.resize(12, ' ');
    print(text + printable(value) + "\n");
  };
  line("State", state);
  line("Node", cell(*info, "node"));
  line("Version", cell(*info, "version"));
  line("Uptime", cell(*info, "uptime_seconds") + "s");
  const std::string attached = cell(*info, "attached");
  line("Redirect", cell(*info, "redirect_mode") + (attached.empty() ? "" : " by " + attached) +
                       ", " + cell(*info, "workers") + " workers");
  line("Kubernetes", kubernetes_text(*info));
  line("Policies", counts_text(by_status) + " (revision " + cell(*info, "policy_revision") +
                       ", loaded " + cell(*info, "policies_loaded_at") + ")");
  line("Endpoints", counts_text(by_state));
  line("FQDN", std::to_string(distinct(*fqdn, "name")) + " names, " +
                   std::to_string(distinct(*fqdn, "address")) + " addresses");
}

} // namespace

void add_status(CLI::App& app, Session& session) {
  app.add_subcommand("status", "Whether the proxy is ready, and what it enforces")
      ->callback([&session] { show_status(session); });
}

} // namespace weir::ctl
