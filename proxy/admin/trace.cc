#include "proxy/admin/trace.h"

#include "policy-compiler/explain/explain.h"
#include "policy-compiler/model/protocol.h"
#include "proxy/http/normalize.h"

#include <boost/json/array.hpp>

#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace weir::admin {
namespace {

namespace json = boost::json;

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
  const auto known = policy::protocol_of(protocol);
  if (failed != std::errc{} || end != number.data() + number.size() || !known) {
    return invalid_error("port " + text + ": must be a number and a protocol such as 80/TCP");
  }
  out.protocol = *known;
  return out;
}

Result<End> find_end(const std::string& text, const endpoint::Registry& registry,
                     bool may_be_name) {
  End out;
  out.text = text;
  if (const auto address = IpAddress::parse(text)) {
    out.pod = registry.by_address(*address);
    out.identity = registry.identity_of(*address);
    return out;
  }
  if (text.find('/') != std::string::npos) {
    out.pod = registry.by_name(text);
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

Result<Said> read_said(const TraceQuestion& question, const End& to) {
  Said out;
  out.http = !question.method.empty() || !question.path.empty() || !question.host.empty() ||
             !question.headers.empty();
  out.method = question.method.empty() ? "GET" : question.method;
  const std::string path = question.path.empty() ? "/" : question.path;
  if (const auto refusal = http::canonical_path(path, out.path)) {
    return invalid_error("path " + path +
                         ": weir answers such a request with 400: " + std::string(refusal.reason));
  }
  const std::string host = !question.host.empty() ? question.host : to.pod ? "" : to.text;
  if (!host.empty()) {
    if (const auto refusal = http::canonical_host(host, out.host)) {
      return invalid_error("host " + host + ": weir answers such a request with 400: " +
                           std::string(refusal.reason));
    }
  }
  for (const std::string& header : question.headers) {
    const auto colon = header.find(':');
    if (colon == std::string::npos || colon == 0) {
      return invalid_error("header " + header + ": must be `Name: value`");
    }
    const auto value = header.find_first_not_of(' ', colon + 1);
    const std::string_view text = header;
    out.headers.push_back({text.substr(0, colon),
                           value == std::string::npos ? std::string_view() : text.substr(value)});
  }
  if (!question.dns.empty()) {
    out.dns = DnsName::from_text(question.dns);
    if (!out.dns) {
      return invalid_error("dns " + question.dns + ": no name");
    }
  }
  if (!question.sni.empty()) {
    out.sni = question.sni;
  }
  return out;
}

std::string_view verdict_text(const policy::Explanation& answer) {
  if (!answer.allowed) {
    return "denied";
  }
  if (answer.audit) {
    return "audit";
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

json::object rule_json(const policy::ExplainedRule& rule) {
  return {{"name", rule.name},   {"policy", rule.label},       {"section", rule.section},
          {"rule", rule.number}, {"file", rule.location.file}, {"line", rule.location.line}};
}

json::object answer_json(const std::string& pod, const std::string& peer,
                         std::string_view direction, const policy::Explanation& answer) {
  json::array policies(answer.selected_by.begin(), answer.selected_by.end());
  json::array audited(answer.audited.begin(), answer.audited.end());
  json::array nearest;
  for (const auto& miss : answer.nearest) {
    nearest.push_back({{"text", miss.text}, {"rule", rule_json(miss.rule)}});
  }
  return {{"endpoint", pod},
          {"peer", peer},
          {"direction", direction},
          {"verdict", verdict_text(answer)},
          {"enforced", answer.enforced},
          {"protocol", protocol_text(answer.protocol)},
          {"judged", answer.request_allowed.has_value()},
          {"reason", answer.reason},
          {"rule", rule_json(answer.rule)},
          {"policies", std::move(policies)},
          {"audited", std::move(audited)},
          {"nearest", std::move(nearest)}};
}

policy::Question ask(const TraceQuestion& asked, const End& own, const End& peer, const Port& port,
                     const Said& said, const TraceWorld& world) {
  policy::Question out;
  out.endpoint = own.pod->id;
  out.flow.peer = peer.identity;
  out.flow.protocol = port.protocol;
  out.flow.port = port.number;
  if (peer.name) {
    out.flow.fqdn_groups = world.program.find(own.pod->id)->fqdn_groups(*peer.name);
    out.name_groups = [groups = out.flow.fqdn_groups, name = *peer.name](const DnsName& said_name) {
      return said_name == name ? groups : 0;
    };
  } else if (const auto address = IpAddress::parse(asked.to);
             address && peer.pod == nullptr && world.learned) {
    out.flow.fqdn_groups = world.learned(own.pod->id, *address, nullptr);
    out.name_groups = [&world, pod = own.pod->id, address = *address](const DnsName& name) {
      return world.learned(pod, address, &name);
    };
  }
  if (said.http) {
    out.request = {said.method, said.path, said.host, said.headers};
  }
  out.dns_name = said.dns;
  out.server_name = said.sni;
  return out;
}

} // namespace

Result<json::object> trace(const TraceQuestion& question, const TraceWorld& world) {
  const auto port = parse_port(question.port);
  if (!port) {
    return port.error();
  }
  const auto from = find_end(question.from, world.registry, false);
  if (!from) {
    return from.error();
  }
  const auto to = find_end(question.to, world.registry, true);
  if (!to) {
    return to.error();
  }
  const auto said = read_said(question, *to);
  if (!said) {
    return said.error();
  }

  const policy::Explainer explainer(world.input, world.program);
  json::array directions;
  bool allowed = true, audit = false;
  for (const bool egress : {true, false}) {
    const End& own = egress ? *from : *to;
    const End& peer = egress ? *to : *from;
    if (own.pod == nullptr || world.program.find(own.pod->id) == nullptr) {
      continue;
    }
    policy::Question asked = ask(question, own, peer, *port, *said, world);
    asked.flow.direction = egress ? policy::Direction::kEgress : policy::Direction::kIngress;
    if (!egress) {
      asked.flow.fqdn_groups = 0; // learned addresses are for egress
    }
    const auto answer = explainer.explain(asked);
    if (!answer) {
      continue;
    }
    allowed = allowed && answer->allowed;
    audit = audit || answer->audit;
    directions.push_back(
        answer_json(own.pod->full_name(), peer.text, egress ? "egress" : "ingress", *answer));
  }
  if (directions.empty()) {
    return invalid_error("neither " + question.from + " nor " + question.to +
                         " is a pod that is judged here");
  }
  return json::object{{"verdict", !allowed ? "denied"
                                  : audit  ? "audit"
                                           : "allowed"},
                      {"directions", std::move(directions)}};
}

} // namespace weir::admin
