#include "policy-compiler/lint/lint.h"
#include "proxy/base/file.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/policy_files.h"
#include "proxy/ctl/policy_node.h"
#include "proxy/ctl/policy_report.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <map>
#include <memory>

namespace weir::ctl {
namespace {

namespace json = boost::json;

struct Options {
  std::vector<std::string> paths;
  std::string endpoints;
};

// What the parser says of each file, then what lint() says of all policies together.
Result<policy::Diagnostics> findings(const Options& options,
                                     std::map<std::string, std::string>& sources) {
  const auto files = policy_files(options.paths);
  if (!files) {
    return files.error();
  }
  policy::Diagnostics all;
  policy::LintInput input;
  for (const std::string& file : *files) {
    auto text = read_file(file);
    if (!text) {
      return text.error();
    }
    for (auto& document : policy::parse_policies(file, *text)) {
      all.insert(all.end(), document.diagnostics.begin(), document.diagnostics.end());
      if (document.policy) {
        input.policies.push_back(std::move(document.policy));
      }
    }
    sources.emplace(file, std::move(*text));
  }
  PolicyNode node;
  if (!options.endpoints.empty()) {
    if (const auto read = read_cluster(options.endpoints, "", node); !read) {
      return read.error();
    }
    input.cluster = &node.input;
  }
  const auto found = policy::lint(input);
  all.insert(all.end(), found.begin(), found.end());
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.location < b.location; });
  return all;
}

void lint(Session& session, const Options& options) {
  std::map<std::string, std::string> sources;
  const auto found = findings(options, sources);
  if (!found) {
    fail(session, found.error());
    return;
  }
  std::map<policy::Severity, std::size_t> counts;
  json::array all;
  for (const policy::Diagnostic& one : *found) {
    ++counts[one.severity];
    if (session.json) {
      json::object shown = diagnostic_json(one);
      shown["file"] = one.location.file;
      all.push_back(std::move(shown));
    } else {
      print_diagnostic(one, sources[one.location.file]);
    }
  }
  if (session.json) {
    print_json(all);
  } else {
    print(std::to_string(counts[policy::Severity::kError]) + " errors, " +
          std::to_string(counts[policy::Severity::kWarning]) + " warnings, " +
          std::to_string(counts[policy::Severity::kNote]) + " notes\n");
  }
  if (counts[policy::Severity::kError] + counts[policy::Severity::kWarning] > 0) {
    session.exit_code = kFindings;
  }
}

} // namespace

void add_policy_lint(CLI::App& policy, Session& session) {
  auto* command =
      policy.add_subcommand("lint", "Look for accidents in valid policies: L7 rules without "
                                    "effect, selectors of nobody, look-alikes and the like");
  auto options = std::make_shared<Options>();
  command->add_option("FILE|DIR", options->paths, "Files, or folders of *.yaml")->required();
  command->add_option("--endpoints", options->endpoints,
                      "endpoints.yaml: also try the selectors on these pods");
  command->callback([&session, options] { lint(session, *options); });
}

} // namespace weir::ctl
