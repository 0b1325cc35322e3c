#include "policy-compiler/eval/policy_case.h"
#include "proxy/base/file.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/table.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <vector>

namespace weir::ctl {
namespace {

namespace json = boost::json;

struct Options {
  std::vector<std::string> files;
  bool answers = false;
};

Result<json::value> read_case(const std::string& file) {
  const auto text = read_file(file);
  if (!text) {
    return text.error();
  }
  boost::system::error_code failed;
  json::value policy_case = json::parse(*text, failed);
  if (failed) {
    return Error{failed, file + " is no JSON"};
  }
  return policy_case;
}

Result<json::object> answer(const std::string& file, json::value& policy_case) {
  auto read = read_case(file);
  if (!read) {
    return read.error();
  }
  policy_case = std::move(*read);
  auto answers = policy::answer_case(policy_case);
  if (!answers) {
    return invalid_error(file + ": " + answers.error().text());
  }
  return answers;
}

// A line for each case, in their order, also for one that could not be read: whoever pairs lines
// with files must not slip.
void print_answers(Session& session, const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    json::value policy_case;
    auto answers = answer(file, policy_case);
    if (!answers) {
      fail(session, answers.error());
      print_json(json::object{{"policies", json::array()},
                              {"flows", json::array()},
                              {"error", answers.error().text()}});
      continue;
    }
    print_json(*answers);
  }
}

void compare(Session& session, const std::vector<std::string>& files) {
  json::array told;
  std::size_t differences = 0;
  for (const std::string& file : files) {
    json::value policy_case;
    const auto answers = answer(file, policy_case);
    if (!answers) {
      fail(session, answers.error());
      continue; // the others are still worth a look
    }
    for (const std::string& one : policy::compare_answers(policy_case, *answers)) {
      ++differences;
      if (session.json) {
        told.push_back({{"case", file}, {"difference", one}});
      } else {
        print(printable(file + ": " + one) + "\n");
      }
    }
  }
  if (session.json) {
    print_json(json::object{{"cases", files.size()}, {"differences", std::move(told)}});
  } else {
    print(std::to_string(files.size()) + " cases, " + std::to_string(differences) +
          " differences\n");
  }
  if (differences > 0 && session.exit_code == kFine) {
    session.exit_code = kFindings;
  }
}

} // namespace

void add_policy_eval(CLI::App& policy, Session& session) {
  auto* command = policy.add_subcommand(
      "eval", "Evaluate worked cases: a cluster, policies and flows in one JSON file each");
  auto options = std::make_shared<Options>();
  command->add_flag("--answers", options->answers,
                    "Print the verdicts, a line of JSON for each case, instead of comparing them "
                    "with the case's own `expected`");
  command->add_option("CASE", options->files, "Files (test/policy/cases/README.md has the format)")
      ->required();
  command->callback([&session, options] {
    if (options->answers) {
      print_answers(session, options->files);
    } else {
      compare(session, options->files);
    }
  });
}

} // namespace weir::ctl
