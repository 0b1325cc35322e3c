// The annotation weir.io/bind-fqdn: what a rule with toFQDNs has to see of each connection.
#include "policy-compiler/model/protocol.h"
#include "policy-compiler/parse/parsers.h"

#include <netinet/in.h>

#include <string>
#include <utility>
#include <vector>

namespace weir::policy {
namespace {

constexpr std::uint16_t kHttpPort = 80;
constexpr std::uint16_t kTlsPort = 443;

bool is_port(const PortMatch& match, std::uint16_t port) {
  return match.name.empty() && match.protocol == IPPROTO_TCP && match.first == port &&
         match.last == port;
}

std::string text_of(const PortMatch& match) {
  std::string out = match.name.empty() ? std::to_string(match.first) : match.name;
  if (match.name.empty() && match.last != match.first) {
    out += '-' + std::to_string(match.last);
  }
  return out + '/' + (match.protocol == 0 ? "ANY" : protocol_text(match.protocol));
}

} // namespace

void bind_names(DocumentLog& log, const YamlNode& node, Rule& rule) {
  rule.binds_names = true;
  const auto no_name = [&](const std::string& where) {
    log.error(node, "`weir.io/bind-fqdn` holds names to `toFQDNs`, and weir reads none " + where,
              "keep to TCP ports 443 (TLS) and 80 (HTTP), or give the ports `serverNames` or "
              "`rules.http`",
              "bind-fqdn");
  };
  if (rule.every_port) {
    no_name("on every port");
  }
  if (!rule.icmps.empty()) {
    no_name("in ICMP");
  }
  std::vector<PortRule> ports;
  for (PortRule& one : rule.ports) {
    if (one.l7 == L7Kind::kDns) {
      no_name("of a server in DNS");
    }
    if (one.l7 != L7Kind::kNone || !one.unsupported.empty() || one.ports.empty()) {
      ports.push_back(std::move(one));
      continue;
    }
    PortRule tls;
    tls.l7 = L7Kind::kTls;
    tls.server_names = {"*"}; // whichever: the binding decides
    PortRule http;
    http.l7 = L7Kind::kHttp;
    http.http.emplace_back().place = one.place;
    tls.place = http.place = one.place;
    for (PortMatch& match : one.ports) {
      if (is_port(match, kTlsPort)) {
        tls.ports.push_back(std::move(match));
      } else if (is_port(match, kHttpPort)) {
        http.ports.push_back(std::move(match));
      } else {
        no_name("on port " + text_of(match));
      }
    }
    for (PortRule* made : {&tls, &http}) {
      if (!made->ports.empty()) {
        ports.push_back(std::move(*made));
      }
    }
  }
  rule.ports = std::move(ports);
}

} // namespace weir::policy
