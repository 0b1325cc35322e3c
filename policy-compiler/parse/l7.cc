// What a `toPorts` entry asks of the requests themselves: rules, serverNames, TLS, listener.
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"
#include "policy-compiler/parse/words.h"
#include "policy-compiler/runtime/regex.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace weir::policy {
namespace {

constexpr std::size_t kMaxTopicBytes = 249;

// `strict`: an expression that RE2 refuses refuses the policy; else the rule never matches.
std::string parse_regex(DocumentLog& log, ObjectReader& reader, std::string_view field,
                        bool strict) {
  auto text = reader.text(field);
  if (!text) {
    return {};
  }
  const RegexCheck check = check_regex(*text);
  if (check.status == RegexCheck::Status::kInvalid && strict) {
    log.error(*reader.find(field), "`" + *text + "` is no regular expression: " + check.message,
              "RE2 syntax, matched against the whole value", "regex");
  } else if (check.status != RegexCheck::Status::kGood) {
    log.warning(*reader.find(field),
                "`" + *text + "` cannot be compiled (" + check.message +
                    "): its rule allows nothing",
                "", check.status == RegexCheck::Status::kTooLarge ? "regex-size" : "regex");
  }
  return std::move(*text);
}

// "Name: value" is split at the first space, as the reference does; without one the whole text is
// the name of a header that has to be there.
HeaderRule parse_header_text(DocumentLog& log, const YamlNode& node, const std::string& text) {
  HeaderRule out;
  const auto space = text.find(' ');
  if (space == std::string::npos) {
    out.name = text;
    if (text.find(':') != std::string::npos) {
      log.warning(node, "`" + text + "` asks for a header of that name, colon included",
                  "put a space after the colon", "header-colon");
    }
    return out;
  }
  out.name = text.substr(0, space);
  while (!out.name.empty() && out.name.back() == ':') {
    out.name.pop_back();
  }
  out.value = text.substr(space + 1);
  return out;
}

SecretRef read_secret(DocumentLog& log, const YamlNode& node) {
  ObjectReader reader(log, node, "`secret`", fields::kSecret);
  SecretRef out{reader.text("namespace").value_or(""), reader.text("name").value_or("")};
  if (out.name.empty()) {
    log.error(node, "`secret` needs a `name`", "", "missing-field");
  }
  return out;
}

HeaderRule parse_header_match(DocumentLog& log, const YamlNode& node) {
  ObjectReader reader(log, node, "a header match", fields::kHeaderMatch);
  HeaderRule out;
  out.name = reader.text("name").value_or("");
  if (out.name.empty()) {
    log.error(node, "a header match needs a `name`", "", "missing-field");
  }
  out.value = reader.text("value");
  if (out.value && out.value->empty()) {
    out.value.reset();
  }
  if (const YamlNode* secret = reader.find("secret")) {
    out.secret = read_secret(log, *secret);
  }
  if (const auto mismatch = reader.text("mismatch")) {
    const auto place = words::place_of(*mismatch, words::kMismatches);
    if (!place) {
      log.error(*reader.find("mismatch"), "unknown mismatch action `" + *mismatch + "`",
                "one of LOG, ADD, DELETE, REPLACE", "mismatch");
    } else {
      out.mismatch = static_cast<HeaderRule::Mismatch>(*place);
    }
  }
  return out;
}

HttpRule parse_http_rule(DocumentLog& log, const YamlNode& node) {
  ObjectReader reader(log, node, "an HTTP rule", fields::kHttp);
  HttpRule out;
  out.place = {node.line, node.column};
  out.path = parse_regex(log, reader, "path", true);
  out.method = parse_regex(log, reader, "method", true);
  out.host = parse_regex(log, reader, "host", false);
  if (const NodeList* headers = reader.list("headers")) {
    for (const auto& item : *headers) {
      if (const auto text = read_text(log, *item, "a header")) {
        out.headers.push_back(parse_header_text(log, *item, *text));
      }
    }
  }
  if (const NodeList* matches = reader.list("headerMatches")) {
    for (const auto& item : *matches) {
      out.headers.push_back(parse_header_match(log, *item));
    }
  }
  return out;
}

void check_kafka_rule(DocumentLog& log, const YamlNode& node) {
  ObjectReader reader(log, node, "a Kafka rule", fields::kKafka);
  const std::string role = reader.text("role").value_or("");
  const std::string key = reader.text("apiKey").value_or("");
  if (!words::place_of(role, words::kKafkaRoles)) {
    log.error(*reader.find("role"), "unknown Kafka role `" + role + "`", "write produce or consume",
              "kafka");
  }
  if (!role.empty() && !key.empty()) {
    log.error(node, "`role` and `apiKey` in one Kafka rule", "make two rules of it", "kafka");
  }
  const std::string version = reader.text("apiVersion").value_or("");
  if (!std::all_of(version.begin(), version.end(),
                   [](unsigned char c) { return std::isdigit(c) != 0; }) ||
      version.size() > 5) {
    log.error(*reader.find("apiVersion"), "`apiVersion` must be a number in quotes", "", "kafka");
  }
  reader.text("clientID");
  const std::string topic = reader.text("topic").value_or("");
  if (topic.size() > kMaxTopicBytes ||
      !std::all_of(topic.begin(), topic.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
      })) {
    log.error(*reader.find("topic"), "`" + topic + "` is no Kafka topic", "", "kafka");
  }
}

void parse_rules(DocumentLog& log, const YamlNode& node, PortRule& out, Action action) {
  ObjectReader reader(log, node, "`rules`", fields::kRules);
  const NodeList* http = reader.list("http");
  const NodeList* dns = reader.list("dns");
  const NodeList* kafka = reader.list("kafka");
  if (const YamlNode* proto = reader.find("l7proto") ? reader.find("l7proto") : reader.find("l7")) {
    log.error(*proto, "generic L7 rules were removed from the language",
              "use `http`, `dns` or `serverNames`", "l7proto");
  }
  if ((http != nullptr) + (dns != nullptr) + (kafka != nullptr) > 1) {
    log.error(node, "rules for more than one L7 protocol in one entry",
              "make a `toPorts` entry of each", "l7-kinds");
    return;
  }
  if (http != nullptr && !http->empty()) {
    out.l7 = L7Kind::kHttp;
    for (const auto& item : *http) {
      refuse_null_item(log, *item, "an HTTP rule");
      out.http.push_back(parse_http_rule(log, *item));
    }
  }
  if (dns != nullptr && !dns->empty()) {
    out.l7 = L7Kind::kDns;
    for (const auto& item : *dns) {
      refuse_null_item(log, *item, "a DNS rule");
      out.dns.push_back(parse_dns_rule(log, *item));
    }
  }
  if (kafka != nullptr && !kafka->empty()) {
    for (const auto& item : *kafka) {
      check_kafka_rule(log, *item);
    }
    out.unsupported = "kafka";
  }
  if (action == Action::kDeny && (out.l7 != L7Kind::kNone || !out.unsupported.empty())) {
    log.note(node, "L7 rules in a deny rule are an extension of weir",
             "Cilium ignores them and denies the port", "extension");
  }
}

void check_l7_ports(DocumentLog& log, const YamlNode& node, const PortRule& rule,
                    std::uint8_t direction) {
  const bool dns = rule.l7 == L7Kind::kDns;
  if (dns && direction == WEIR_INGRESS) {
    log.error(node, "DNS rules are for egress only", "", "dns-ingress");
    return;
  }
  if (dns && rule.ports.empty()) {
    log.error(node, "DNS rules need ports", "add `port: \"53\"`", "dns-ports");
  }
  for (const PortMatch& port : rule.ports) {
    if (port.name.empty() && port.first == 0) {
      log.error(node, "L7 rules cannot be used with port 0", "name the port", "l7-port");
    } else if (dns && port.name.empty() && port.last > port.first) {
      log.error(node, "DNS rules cannot be used with port ranges", "name each port", "dns-range");
    }
    if (port.protocol != IPPROTO_TCP && !(dns && port.protocol != IPPROTO_SCTP)) {
      log.error(node, dns ? "DNS rules need TCP, UDP or ANY" : "this L7 rule needs protocol TCP",
                dns ? "" : "write `protocol: TCP`", "l7-protocol");
    }
  }
}

std::optional<TlsContext> read_tls(DocumentLog& log, ObjectReader& port_rule,
                                   std::string_view field) {
  const YamlNode* tls = port_rule.find(field);
  if (tls == nullptr) {
    return std::nullopt;
  }
  ObjectReader reader(log, *tls, "`" + std::string(field) + "`", fields::kTls);
  TlsContext out;
  if (const YamlNode* secret = reader.find("secret")) {
    out.secret = read_secret(log, *secret);
  } else {
    log.error(*tls, "`" + std::string(field) + "` needs a `secret`", "", "missing-field");
  }
  out.trusted_ca = reader.text("trustedCA").value_or("");
  out.certificate = reader.text("certificate").value_or("");
  out.private_key = reader.text("privateKey").value_or("");
  return out;
}

void check_listener(DocumentLog& log, const YamlNode& node, std::uint8_t direction, bool has_l7) {
  ObjectReader reader(log, node, "`listener`", fields::kListener);
  if (direction == WEIR_INGRESS) {
    log.error(node, "`listener` is for egress only", "", "listener");
  }
  if (has_l7) {
    log.error(node, "`listener` and L7 rules in one entry", "", "listener");
  }
  if (const YamlNode* config = reader.find("envoyConfig")) {
    ObjectReader inner(log, *config, "`envoyConfig`", fields::kEnvoyConfig);
    inner.text("kind");
    inner.text("name");
  }
  reader.text("name");
  if (const auto priority = reader.number("priority");
      priority && (*priority < 1 || *priority > 100)) {
    log.error(*reader.find("priority"), "`priority` must be from 1 to 100", "", "listener");
  }
}

} // namespace

void parse_l7(DocumentLog& log, ObjectReader& port_rule, PortRule& out, std::uint8_t direction,
              Action action) {
  const YamlNode* rules = port_rule.find("rules");
  if (rules != nullptr) {
    parse_rules(log, *rules, out, action);
  }
  const bool has_l7 = out.l7 != L7Kind::kNone || !out.unsupported.empty();
  if (has_l7) {
    check_l7_ports(log, *rules, out, direction);
  }
  out.terminating = read_tls(log, port_rule, "terminatingTLS");
  out.originating = read_tls(log, port_rule, "originatingTLS");

  if (const auto names = port_rule.texts("serverNames"); names && !names->empty()) {
    const YamlNode& node = *port_rule.find("serverNames");
    for (std::string name : *names) {
      if (name.empty()) {
        log.error(node, "an empty server name", "remove it", "server-name");
        continue;
      }
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      out.server_names.push_back(std::move(name));
    }
    if (has_l7 && !out.terminating) {
      log.error(node, "`serverNames` and L7 rules in one entry without `terminatingTLS`",
                "encrypted requests cannot be read; make two entries", "server-name-l7");
    }
    if (!has_l7) {
      out.l7 = L7Kind::kTls;
      if (action == Action::kDeny) {
        log.note(node, "`serverNames` in a deny rule is an extension of weir", "", "extension");
      }
    }
  }
  if (const YamlNode* listener = port_rule.find("listener")) {
    check_listener(log, *listener, direction, has_l7);
    out.unsupported = "listener";
  }
  // A denial that weir would have to decrypt for first is not judged by halves.
  if ((out.terminating || out.originating) &&
      (out.l7 != L7Kind::kHttp || action == Action::kDeny)) {
    out.unsupported = out.terminating ? "terminatingTLS" : "originatingTLS";
    if (action != Action::kDeny) {
      out.unsupported += " without HTTP rules";
    }
  }
  if (!out.unsupported.empty()) {
    log.warning(port_rule.node(), "`" + out.unsupported + "` is not enforced by weir yet",
                action == Action::kDeny ? "these ports are closed whole"
                                        : "this entry allows nothing",
                "unsupported");
  }
}

} // namespace weir::policy
