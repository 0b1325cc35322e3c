#include "policy-compiler/explain/explain.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/policy_node.h"
#include "proxy/ctl/table.h"
#include "proxy/http/normalize.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <memory>

namespace weir::ctl {
namespace {

namespace json = boost::json;

struct Options {
  std::string from, to, port;
  std::string method, path, host, dns, sni, node;
  std::vector<std::string> headers, policies;
  std::string endpoints;
};

// One end of the flow.
struct End {
  std::string text;
  const endpoint::Endpoint* pod = nullptr;
  policy::IdentityId identity = 0;
  std::optional<DnsName> name; // an address learned for it
};

struct Port {
  std::uint8_t protocol = 0;
  std::uint16_t number = 0;
};

Result<Port> parse_port(const std::string& text) {
  const auto slash = text.find('/');
  const std::string_view number = std::string_view(text).substr(0, slash);
  const std::string_view protocol =
      slash == std::string::npos ? "TCP" : std::string_view(text).substr(slash + 1);
  Port out;
  const auto [end, failed] =
      std::from_chars(number.data(), number.data() + number.size(), out.number);
  static constexpr std::pair<std::string_view, std::uint8_t> kProtocols[] = {
      {"TCP", IPPROTO_TCP},
      {"UDP", IPPROTO_UDP},
      {"SCTP", IPPROTO_SCTP},
      {"ICMP", IPPROTO_ICMP},
      {"ICMPv6", IPPROTO_ICMPV6}};
  const auto* found = std::find_if(std::begin(kProtocols), std::end(kProtocols),
                                   [&](const auto& one) { return one.first == protocol; });
  if (failed != std::errc{} || end != number.data() + number.size() ||
      found == std::end(kProtocols)) {
    return invalid_error("--port " + text + ": must be a number and a protocol such as 80/TCP");
  }
  out.protocol = found->second;
  return out;
}

Result<End> find_end(const std::string& text, const PolicyNode& node, bool may_be_name) {
  End out;
  out.text = text;
  if (const auto address = IpAddress::parse(text)) {
    out.pod = node.registry->by_address(*address);
    out.identity = node.registry->identity_of(*address);
    return out;
  }
  if (text.find('/') != std::string::npos) {
    out.pod = node.registry->by_name(text);
    if (out.pod == nullptr) {
      return invalid_error("there is no pod " + text);
    }
    out.identity = out.pod->identity;
    return out;
  }
  if (may_be_name) {
    if (auto name = DnsName::from_text(text); name && !name->is_root()) {
      out.name = std::move(*name);
      out.identity = WEIR_IDENTITY_WORLD_IPV4;
      return out;
    }
  }
  return invalid_error(text + ": must be NAMESPACE/POD or an address" +
                       (may_be_name ? ", or a DNS name" : ""));
}

// What is said on the flow; owns the texts that an HttpRequest looks at.
struct Said {
  std::string method, path, host;
  std::vector<policy::HttpHeader> headers;
  std::optional<DnsName> dns;
  std::optional<std::string> sni;
  bool http = false;
};

Result<Said> read_said(const Options& options, const End& to) {
  Said out;
  out.http = !options.method.empty() || !options.path.empty() || !options.host.empty() ||
             !options.headers.empty();
  out.method = options.method.empty() ? "GET" : options.method;
  const std::string path = options.path.empty() ? "/" : options.path;
  if (const auto refusal = http::canonical_path(path, out.path)) {
    return invalid_error("--path " + path +
                         ": weir answers such a request with 400: " + std::string(refusal.reason));
  }
  const std::string host = !options.host.empty() ? options.host : to.pod ? "" : to.text;
  if (!host.empty()) {
    if (const auto refusal = http::canonical_host(host, out.host)) {
      return invalid_error("--host " + host + ": weir answers such a request with 400: " +
                           std::string(refusal.reason));
    }
  }
  for (const std::string& header : options.headers) {
    const auto colon = header.find(':');
    if (colon == std::string::npos || colon == 0) {
      return invalid_error("--header " + header + ": must be `Name: value`");
    }
    const auto value = header.find_first_not_of(' ', colon + 1);
    const std::string_view text = header;
    out.headers.push_back({text.substr(0, colon),
                           value == std::string::npos ? std::string_view() : text.substr(value)});
  }
  if (!options.dns.empty()) {
    out.dns = DnsName::from_text(options.dns);
    if (!out.dns) {
      return invalid_error("--dns " + options.dns + ": no name");
    }
  }
  if (!options.sni.empty()) {
    out.sni = options.sni;
  }
  return out;
}

std::string_view verdict_text(const policy::Explanation& answer) {
  if (!answer.allowed) {
    return "denied";
  }
  return answer.verdict == policy::Verdict::kRedirect && !answer.request_allowed ? "proxied"
                                                                                 : "allowed";
}

std::string_view protocol_text(policy::L7Protocol protocol) {
  switch (protocol) {
  case policy::L7Protocol::kHttp:
    return "http";
  case policy::L7Protocol::kDns:
    return "dns";
  case policy::L7Protocol::kTls:
    return "tls";
  case policy::L7Protocol::kNone:
    break;
  }
  return "none";
}

std::string place(const policy::ExplainedRule& rule) {
  return rule.location.line == 0
             ? std::string()
             : " (" + rule.location.file + ":" + std::to_string(rule.location.line) + ")";
}

std::string answer_text(const std::string& head, const policy::Explanation& answer) {
  std::string out = head + ": " + std::string(verdict_text(answer)) + "\n";
  const auto line = [&](const std::string& text) { out += "  " + printable(text) + "\n"; };
  const std::string rule = answer.rule.name + place(answer.rule);
  if (!answer.enforced) {
    line("no policy selects the pod in this direction: everything passes");
    return out;
  }
  std::string policies;
  for (const auto& label : answer.selected_by) {
    policies += (policies.empty() ? "" : ", ") + label;
  }
  line("policies: " + policies);
  const bool no_rule = !answer.request_allowed
                           ? answer.rule.number == 0 && !answer.allowed
                           : !*answer.request_allowed && answer.reason != "denied";
  if (answer.reason == "protocol") {
    line("the proxy speaks " + std::string(protocol_text(answer.protocol)) + " here, by " + rule);
  } else if (no_rule) {
    line(answer.request_allowed ? "no rule accepts it at L7" : "no rule allows it");
  } else if (verdict_text(answer) == "proxied") {
    line("the proxy (" + std::string(protocol_text(answer.protocol)) + ") decides, by " + rule +
         " among others; ask with " +
         (answer.protocol == policy::L7Protocol::kHttp  ? "--method, --path, --host, --header"
          : answer.protocol == policy::L7Protocol::kDns ? "--dns"
                                                        : "--sni"));
  } else {
    line((answer.allowed ? "allowed by " : "denied by ") + rule);
  }
  for (const auto& miss : answer.nearest) {
    line("nearest: " + miss.text + place(miss.rule));
  }
  return out;
}

json::object rule_json(const policy::ExplainedRule& rule) {
  return {{"policy", rule.label},
          {"section", rule.section},
          {"rule", rule.number},
          {"file", rule.location.file},
          {"line", rule.location.line}};
}

json::object answer_json(const std::string& pod, std::string_view direction,
                         const policy::Explanation& answer) {
  json::array policies(answer.selected_by.begin(), answer.selected_by.end());
  json::array nearest;
  for (const auto& miss : answer.nearest) {
    nearest.push_back({{"text", miss.text}, {"rule", rule_json(miss.rule)}});
  }
  return {{"endpoint", pod},
          {"direction", direction},
          {"verdict", verdict_text(answer)},
          {"enforced", answer.enforced},
          {"protocol", protocol_text(answer.protocol)},
          {"reason", answer.reason},
          {"rule", rule_json(answer.rule)},
          {"policies", std::move(policies)},
          {"nearest", std::move(nearest)}};
}

void trace(Session& session, const Options& options) {
  PolicyNode node;
  const auto port = parse_port(options.port);
  if (!port) {
    return fail(session, port.error());
  }
  if (auto loaded = load_policy_node(options.policies, options.endpoints, options.node, node);
      !loaded) {
    return fail(session, loaded.error());
  }
  const auto from = find_end(options.from, node, false);
  const auto to = find_end(options.to, node, true);
  if (!from || !to) {
    return fail(session, !from ? from.error() : to.error());
  }
  if (from->pod == nullptr && to->pod == nullptr) {
    return fail(session, invalid_error("neither --from nor --to is a pod of " + options.endpoints));
  }
  const auto said = read_said(options, *to);
  if (!said) {
    return fail(session, said.error());
  }

  const policy::Explainer explainer(node.input, *node.compiled.program, node.numbers);
  json::array directions;
  bool allowed = true;
  for (const bool egress : {true, false}) {
    const End& own = egress ? *from : *to;
    const End& peer = egress ? *to : *from;
    if (own.pod == nullptr) {
      continue;
    }
    policy::Question question;
    question.endpoint = own.pod->id;
    question.flow.direction = egress ? policy::Direction::kEgress : policy::Direction::kIngress;
    question.flow.peer = peer.identity;
    question.flow.protocol = port->protocol;
    question.flow.port = port->number;
    if (peer.name) {
      question.flow.fqdn_groups = node.compiled.program->find(own.pod->id)->fqdn_groups(*peer.name);
    }
    if (said->http) {
      question.request = {said->method, said->path, said->host, said->headers};
    }
    question.dns_name = said->dns;
    question.server_name = said->sni;
    const auto answer = explainer.explain(question);
    if (!answer) {
      return fail(session, invalid_error("no policy was computed for " + own.text));
    }
    allowed = allowed && answer->allowed;
    const std::string_view direction = egress ? "egress" : "ingress";
    if (session.json) {
      directions.push_back(answer_json(own.pod->full_name(), direction, *answer));
    } else {
      print(answer_text(std::string(direction) + " of " + own.pod->full_name() +
                            (egress ? " to " : " from ") + printable(peer.text),
                        *answer));
    }
  }
  if (session.json) {
    print_json(json::object{{"verdict", allowed ? "allowed" : "denied"},
                            {"refused_documents", node.refused},
                            {"directions", std::move(directions)}});
  } else {
    print(std::string("verdict: ") + (allowed ? "allowed" : "denied") + "\n");
    if (node.refused > 0) {
      print("note: some policy files have errors and count for nothing here\n");
    }
  }
  session.exit_code = allowed ? kFine : kFindings;
}

} // namespace

void add_policy_trace(CLI::App& policy, Session& session) {
  auto* command = policy.add_subcommand(
      "trace", "Why is a flow allowed or denied? From files, without a proxy");
  auto options = std::make_shared<Options>();
  command->add_option("--from", options->from, "NAMESPACE/POD or an address")->required();
  command->add_option("--to", options->to, "NAMESPACE/POD, an address or a DNS name")->required();
  command->add_option("--port", options->port, "Of the destination: 80/TCP; ICMP: the type")
      ->required();
  command->add_option("--method", options->method, "HTTP method (GET)");
  command->add_option("--path", options->path, "HTTP path (/)");
  command->add_option("--host", options->host, "HTTP host");
  command->add_option("--header", options->headers, "HTTP header, `Name: value`; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--dns", options->dns, "Name that is asked for");
  command->add_option("--sni", options->sni, "Server name in the TLS ClientHello");
  command->add_option("--node", options->node, "Name of the pods' node: its addresses are `host`");
  command->add_option("--policies", options->policies, "Files, or folders of *.yaml")->required();
  command->add_option("--endpoints", options->endpoints, "endpoints.yaml")->required();
  command->callback([&session, options] { trace(session, *options); });
}

} // namespace weir::ctl
