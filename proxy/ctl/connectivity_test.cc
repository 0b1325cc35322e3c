// weirctl connectivity test: does the node do what its policies say? The running proxy names the
// probes and what is to come of them; they are sent out of the pods' own network namespaces.
#include "proxy/base/file.h"
#include "proxy/ctl/client.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/pod_namespaces.h"
#include "proxy/ctl/probe.h"
#include "proxy/ctl/table.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace weir::ctl {
namespace {

namespace json = boost::json;

struct Options {
  bool dry_run = false;
  unsigned patience_ms = 2000;
  std::string junit;
};

struct Row {
  std::string rule, from, what, expected, found, result; // result: ok | FAILED | skipped | planned
};

Row sent(const Probe& probe, const PodNamespaces& spaces, const Options& options) {
  Row row{probe.rule, probe.from, probe.text(), probe.expect_allowed ? "allowed" : "denied",
          "",         "FAILED"};
  if (options.dry_run) {
    row.result = "planned";
    return row;
  }
  ProbeAnswer answer;
  const auto entered = spaces.inside(probe.interface, [&] {
    answer = send_probe(probe, std::chrono::milliseconds(options.patience_ms));
  });
  if (!entered) {
    row.found = entered.error().text();
    row.result = "skipped";
    return row;
  }
  static constexpr const char* kVerdicts[] = {"allowed", "denied", "unclear"};
  const std::string verdict = kVerdicts[static_cast<std::size_t>(answer.verdict)];
  row.found = verdict + ": " + answer.text;
  if (verdict == row.expected) {
    row.result = "ok";
  }
  return row;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    out += c == '&'   ? "&amp;"
           : c == '<' ? "&lt;"
           : c == '>' ? "&gt;"
           : c == '"' ? "&quot;"
                      : std::string(1, c);
  }
  return out;
}

// The form that CI systems read.
std::string junit(const std::vector<Row>& rows) {
  const auto count = [&](const char* result) {
    return std::to_string(std::count_if(rows.begin(), rows.end(),
                                        [&](const Row& row) { return row.result == result; }));
  };
  std::string out = R"(<?xml version="1.0" encoding="UTF-8"?>)"
                    "\n<testsuite name=\"weir connectivity test\" tests=\"" +
                    std::to_string(rows.size()) + "\" failures=\"" + count("FAILED") +
                    "\" skipped=\"" + count("skipped") + "\">\n";
  for (const Row& row : rows) {
    out += "  <testcase classname=\"" + escaped(row.rule) + "\" name=\"" +
           escaped(row.from + ": " + row.what + " is " + row.expected) + "\"";
    if (row.result == "FAILED") {
      out += "><failure message=\"" + escaped(row.found) + "\"/></testcase>\n";
    } else if (row.result == "skipped") {
      out += "><skipped message=\"" + escaped(row.found) + "\"/></testcase>\n";
    } else {
      out += "/>\n";
    }
  }
  return out + "</testsuite>\n";
}

void show(const Session& session, const std::vector<Row>& rows) {
  if (session.json) {
    json::array array;
    for (const Row& row : rows) {
      array.push_back({{"rule", row.rule},
                       {"from", row.from},
                       {"probe", row.what},
                       {"expected", row.expected},
                       {"found", row.found},
                       {"result", row.result}});
    }
    print_json(array);
    return;
  }
  Table table({"RESULT", "RULE", "FROM", "PROBE", "EXPECTED", "FOUND"});
  for (const Row& row : rows) {
    table.add({row.result, row.rule, row.from, row.what, row.expected, row.found});
  }
  print(table.text());
}

void run(Session& session, const Options& options) {
  const auto planned = get_json(session.admin, "/policies/probes");
  if (!planned) {
    return fail(session, planned.error());
  }
  if (!planned->is_array()) {
    return fail(session, invalid_error("/policies/probes: no list"));
  }
  const auto spaces =
      options.dry_run ? Result<PodNamespaces>(PodNamespaces()) : PodNamespaces::find();
  if (!spaces) {
    return fail(session, spaces.error());
  }
  std::vector<Row> rows;
  std::size_t sent_any = 0;
  for (const json::value& value : planned->get_array()) {
    const std::string skipped = cell(value, "skipped");
    if (!skipped.empty() || !value.is_object()) {
      rows.push_back(
          {cell(value, "rule"), cell(value, "from"), cell(value, "to"), "", skipped, "skipped"});
      continue;
    }
    const auto probe = read_probe(value.get_object());
    if (!probe) {
      return fail(session, probe.error());
    }
    rows.push_back(sent(*probe, *spaces, options));
    sent_any += rows.back().result == "skipped" ? 0 : 1;
  }
  show(session, rows);
  if (!options.junit.empty()) {
    if (const auto written = replace_file(options.junit, junit(rows)); !written) {
      return fail(session, written.error());
    }
  }
  if (std::any_of(rows.begin(), rows.end(),
                  [](const Row& row) { return row.result == "FAILED"; })) {
    session.exit_code = kFindings;
  } else if (sent_any == 0) {
    fail(session, invalid_error("nothing was tried: no rule in force gives a probe that can be "
                                "sent from here"));
  }
}

} // namespace

void add_connectivity_test(CLI::App& app, Session& session) {
  auto* connectivity =
      app.add_subcommand("connectivity", "Whether the node does what its policies say");
  connectivity->require_subcommand(1);
  auto* command = connectivity->add_subcommand(
      "test", "Sends what each rule allows, and the nearest thing that is denied, from the pods of "
              "this node");
  const auto options = std::make_shared<Options>();
  command->add_flag("--dry-run", options->dry_run, "Only say what would be sent");
  command->add_option("--timeout", options->patience_ms, "For each probe, in milliseconds")
      ->check(CLI::Range(100u, 60000u))
      ->capture_default_str();
  command->add_option("--junit", options->junit, "Write the results as JUnit XML to this file");
  command->callback([&session, options] { run(session, *options); });
}

} // namespace weir::ctl
