// weirctl flows, weirctl drops: what the kernel decided of new flows, and what it dropped and why.
#include "proxy/ctl/client.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/listing.h"
#include "proxy/ctl/table.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <cctype>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace weir::ctl {
namespace {

namespace json = boost::json;

struct Options {
  std::string pod, verdict;
  std::uint32_t last = 100;
  bool follow = false;
};

// "shop/client:40112", "203.0.113.9:443", "world-ipv4 203.0.113.9:443"
std::string end_text(const json::value& flow, std::string_view key) {
  const auto* end = flow.is_object() ? flow.as_object().if_contains(key) : nullptr;
  if (end == nullptr) {
    return "";
  }
  const std::string pod = cell(*end, "pod"), port = cell(*end, "port"),
                    entity = cell(*end, "entity");
  std::string text = cell(*end, "ip");
  if (!pod.empty()) {
    text = cell(*end, "namespace") + "/" + pod;
  } else if (text.find(':') != std::string::npos && !port.empty()) {
    text = "[" + text + "]";
  }
  if (!port.empty()) {
    text += ":" + port;
  }
  return pod.empty() && !entity.empty() ? entity + " " + text : text;
}

std::string why_text(const json::value& flow) {
  std::string text = cell(flow, "reason");
  for (const std::string& more :
       {cell(flow, "policy") + (cell(flow, "rule").empty() ? "" : " " + cell(flow, "rule")),
        cell(flow, "nearest")}) {
    if (!more.empty()) {
      text += (text.empty() ? "" : "; ") + more;
    }
  }
  return text;
}

// As Hubble's compact form.
std::string line_text(const json::value& flow) {
  const std::string missed = cell(flow, "missed");
  if (!missed.empty()) {
    return "… " + missed + " flows were missed: they came faster than they were read\n";
  }
  const std::string why = why_text(flow);
  return printable(cell(flow, "time") + ": " + end_text(flow, "source") + " -> " +
                   end_text(flow, "destination") + " " + cell(flow, "protocol") + " " +
                   cell(flow, "direction") + " " + cell(flow, "verdict") +
                   (why.empty() ? "" : " (" + why + ")")) +
         "\n";
}

std::string escaped(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '/' || c == '-' || c == '.') {
      out += c;
    } else {
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return out;
}

std::string path_of(const Options& options) {
  std::string path = "/flows?last=" + std::to_string(options.last);
  if (!options.pod.empty()) {
    path += "&pod=" + escaped(options.pod);
  }
  if (!options.verdict.empty()) {
    path += "&verdict=" + escaped(options.verdict);
  }
  return path;
}

void follow(Session& session, const Options& options) {
  const auto ended = follow_lines(session.admin, path_of(options) + "&follow=true",
                                  [&session](std::string_view line) {
                                    boost::system::error_code failed;
                                    const auto flow = json::parse(line, failed);
                                    if (session.json || failed) {
                                      print(std::string(line) + "\n");
                                    } else {
                                      print(line_text(flow));
                                    }
                                    return std::fflush(stdout) == 0;
                                  });
  if (!ended) {
    fail(session, ended.error());
  }
}

void show(Session& session, const Options& options) {
  if (options.follow) {
    follow(session, options);
    return;
  }
  const auto rows = get_json(session.admin, path_of(options));
  if (!rows) {
    fail(session, rows.error());
    return;
  }
  const auto* array = rows->if_array();
  if (array == nullptr) {
    fail(session, invalid_error("/flows is no list; is that weir-proxy?"));
    return;
  }
  json::array shown = *array;
  if (!session.json) {
    for (auto& row : shown) {
      if (row.is_object()) {
        const std::string from = end_text(row, "source"), to = end_text(row, "destination"),
                          why = why_text(row);
        auto& members = row.as_object();
        members["from"] = from;
        members["to"] = to;
        members["why"] = why;
      }
    }
  }
  show_rows(session, shown, "flows",
            {{"TIME", "time"},
             {"VERDICT", "verdict"},
             {"DIRECTION", "direction"},
             {"PROTOCOL", "protocol"},
             {"FROM", "from"},
             {"TO", "to"},
             {"WHY", "why"}});
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& help,
                      const std::shared_ptr<Options>& options) {
  auto* command = app.add_subcommand(name, help);
  command->add_flag("-f,--follow", options->follow, "Go on as they come");
  command->add_option("--last", options->last, "So many of the past")->capture_default_str();
  command->add_option("--pod", options->pod, "Only of this pod, as either end: NAMESPACE/NAME");
  return command;
}

} // namespace

void add_flows(CLI::App& app, Session& session) {
  auto options = std::make_shared<Options>();
  auto* flows = add_command(app, "flows", "What became of new flows and dropped packets", options);
  flows->add_option("--verdict", options->verdict, "Only of this verdict")
      ->check(CLI::IsMember({"FORWARDED", "REDIRECTED", "DROPPED", "AUDIT"}));
  flows->callback([&session, options] { show(session, *options); });

  auto dropped = std::make_shared<Options>();
  dropped->verdict = "DROPPED";
  add_command(app, "drops", "What was dropped, and why", dropped)->callback([&session, dropped] {
    show(session, *dropped);
  });
}

} // namespace weir::ctl
