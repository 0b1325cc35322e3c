#include "policy-compiler/compile.h"
#include "proxy/base/file.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/policy_files.h"
#include "proxy/ctl/policy_report.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>

namespace weir::ctl {
namespace {

namespace json = boost::json;

std::string_view status_of(const policy::ParsedDocument& document) {
  const bool refused =
      std::any_of(document.diagnostics.begin(), document.diagnostics.end(),
                  [](const auto& one) { return one.severity == policy::Severity::kError; });
  return refused ? "rejected" : document.policy == nullptr ? "skipped" : "accepted";
}

json::object document_json(const policy::ParsedDocument& document) {
  json::array diagnostics;
  for (const auto& one : document.diagnostics) {
    diagnostics.push_back(diagnostic_json(one));
  }
  return {{"file", document.file},
          {"line", document.line},
          {"kind", document.kind},
          {"namespace", document.document_namespace},
          {"name", document.name},
          {"status", status_of(document)},
          {"diagnostics", std::move(diagnostics)}};
}

void check(Session& session, const std::vector<std::string>& paths) {
  const auto files = policy_files(paths);
  if (!files) {
    fail(session, files.error());
    return;
  }
  json::array all;
  std::size_t accepted = 0, rejected = 0, skipped = 0;
  for (const auto& file : *files) {
    const auto text = read_file(file);
    if (!text) {
      fail(session, text.error());
      continue; // the others are still worth a look
    }
    for (const auto& document : policy::parse_policies(file, *text)) {
      const auto status = status_of(document);
      accepted += status == "accepted" ? 1 : 0;
      rejected += status == "rejected" ? 1 : 0;
      skipped += status == "skipped" ? 1 : 0;
      if (session.json) {
        all.push_back(document_json(document));
        continue;
      }
      for (const auto& one : document.diagnostics) {
        print_diagnostic(one, *text);
      }
    }
  }
  if (session.json) {
    print_json(all);
  } else {
    print(std::to_string(accepted) + " accepted, " + std::to_string(rejected) + " rejected, " +
          std::to_string(skipped) + " skipped\n");
  }
  if (session.exit_code == kFine && rejected > 0) {
    session.exit_code = kFindings;
  }
}

} // namespace

void add_policy_check(CLI::App& policy, Session& session) {
  auto* command = policy.add_subcommand(
      "check", "Check policy files without a proxy: every error with its place");
  auto paths = std::make_shared<std::vector<std::string>>();
  command->add_option("FILE|DIR", *paths, "Files, or folders of *.yaml")->required();
  command->callback([&session, paths] { check(session, *paths); });
}

} // namespace weir::ctl
