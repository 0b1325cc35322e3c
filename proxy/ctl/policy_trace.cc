#include "proxy/admin/trace.h"
#include "proxy/ctl/client.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/policy_node.h"
#include "proxy/ctl/table.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <memory>

namespace weir::ctl {
namespace {

namespace json = boost::json;

struct Options {
  admin::TraceQuestion question;
  std::vector<std::string> policies;
  std::string endpoints, node;
};

std::string text_at(const json::value& object, std::string_view key) { return cell(object, key); }
bool flag_at(const json::value& object, std::string_view key) {
  return text_at(object, key) == "true";
}

std::string place(const json::value& rule) {
  return text_at(rule, "line") == "0"
             ? std::string()
             : " (" + text_at(rule, "file") + ":" + text_at(rule, "line") + ")";
}

std::string asked_with(const std::string& protocol) {
  return protocol == "http"  ? "--method, --path, --host, --header"
         : protocol == "dns" ? "--dns"
                             : "--sni";
}

std::string joined(const json::value& names) {
  std::string out;
  for (const json::value& one : names.as_array()) {
    out += (out.empty() ? "" : ", ") + std::string(one.as_string());
  }
  return out;
}

// One direction, for people.
std::string answer_text(const json::value& answer) {
  const bool egress = text_at(answer, "direction") == "egress";
  const std::string verdict = text_at(answer, "verdict");
  std::string out;
  const auto line = [&](const std::string& text) { out += printable(text) + "\n"; };
  line(text_at(answer, "direction") + " of " + text_at(answer, "endpoint") +
       (egress ? " to " : " from ") + text_at(answer, "peer") + ": " + verdict);
  if (!flag_at(answer, "enforced")) {
    line("  no policy selects the pod in this direction: everything passes");
    return out;
  }
  line("  policies: " + joined(answer.at("policies")));

  const json::value& decided = answer.at("rule");
  const std::string rule = text_at(decided, "name") + place(decided);
  const std::string protocol = text_at(answer, "protocol");
  const std::string reason = text_at(answer, "reason");
  const bool judged = flag_at(answer, "judged");
  const bool audit = verdict == "audit";
  const bool denied = verdict == "denied" || audit;
  if (reason == "protocol") {
    line("  the proxy speaks " + protocol + " here, by " + rule);
  } else if (denied && (judged ? reason != "denied" : text_at(decided, "rule") == "0")) {
    line(judged ? "  no rule accepts it at L7" : "  no rule allows it");
  } else if (verdict == "proxied") {
    line("  the proxy (" + protocol + ") decides, by " + rule + " among others; ask with " +
         asked_with(protocol));
  } else {
    line((denied ? "  denied by " : "  allowed by ") + rule);
  }
  if (audit) {
    line("  it passes all the same: audited only: " + joined(answer.at("audited")));
  }
  for (const json::value& miss : answer.at("nearest").as_array()) {
    line("  nearest: " + text_at(miss, "text") + place(miss.at("rule")));
  }
  return out;
}

std::string escaped(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_';
    out += plain ? std::string(1, c) : std::string{'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

// GET /policies/trace of the running proxy.
std::string target_of(const admin::TraceQuestion& question) {
  std::string out = "/policies/trace";
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) {
      out += (out.find('?') == std::string::npos ? "?" : "&") + std::string(name) + "=" +
             escaped(value);
    }
  };
  for (const auto& [name, text] : admin::kTraceParameters) {
    add(name, question.*text);
  }
  for (const std::string& header : question.headers) {
    add(admin::kTraceHeader, header);
  }
  return out;
}

Result<json::value> ask_files(const Options& options, std::size_t& refused) {
  PolicyNode node;
  if (auto loaded = load_policy_node(options.policies, options.endpoints, options.node, node);
      !loaded) {
    return loaded.error();
  }
  refused = node.refused;
  auto answer =
      admin::trace(options.question, {node.input, *node.compiled.program, *node.registry, {}});
  if (!answer) {
    return answer.error();
  }
  (*answer)["refused_documents"] = refused;
  return json::value(std::move(*answer));
}

void trace(Session& session, const Options& options) {
  const bool files = !options.policies.empty() || !options.endpoints.empty();
  if (files && (options.policies.empty() || options.endpoints.empty())) {
    return fail(session, invalid_error("--policies and --endpoints go together"));
  }
  std::size_t refused = 0;
  const auto answer =
      files ? ask_files(options, refused) : get_json(session.admin, target_of(options.question));
  if (!answer) {
    return fail(session, answer.error());
  }
  const std::string verdict = text_at(*answer, "verdict");
  if (session.json) {
    print_json(*answer);
  } else {
    for (const json::value& one : answer->at("directions").as_array()) {
      print(answer_text(one));
    }
    print("verdict: " + verdict + "\n");
    if (refused > 0) {
      print("note: some policy files have errors and count for nothing here\n");
    }
  }
  session.exit_code = verdict == "denied" ? kFindings : kFine;
}

} // namespace

void add_policy_trace(CLI::App& policy, Session& session) {
  auto* command = policy.add_subcommand(
      "trace", "Why is a flow allowed or denied? Asks the running proxy, or files with --policies "
               "and --endpoints");
  auto options = std::make_shared<Options>();
  admin::TraceQuestion& question = options->question;
  command->add_option("--from", question.from, "NAMESPACE/POD or an address")->required();
  command->add_option("--to", question.to, "NAMESPACE/POD, an address or a DNS name")->required();
  command->add_option("--port", question.port, "Of the destination: 80/TCP; ICMP: the type")
      ->required();
  command->add_option("--method", question.method, "HTTP method (GET)");
  command->add_option("--path", question.path, "HTTP path (/)");
  command->add_option("--host", question.host, "HTTP host");
  command->add_option("--header", question.headers, "HTTP header, `Name: value`; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--dns", question.dns, "Name that is asked for");
  command->add_option("--sni", question.sni, "Server name in the TLS ClientHello");
  command->add_option("--policies", options->policies, "Files, or folders of *.yaml");
  command->add_option("--endpoints", options->endpoints, "endpoints.yaml");
  command->add_option("--node", options->node,
                      "With --endpoints: the node whose addresses are `host`");
  command->callback([&session, options] { trace(session, *options); });
}

} // namespace weir::ctl
