// toPorts and icmps.
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"
#include "policy-compiler/parse/words.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace weir::policy {
namespace {

constexpr std::uint8_t kIcmpV4 = IPPROTO_ICMP;
constexpr std::uint8_t kIcmpV6 = IPPROTO_ICMPV6;
constexpr std::size_t kMaxPorts = 40;
constexpr std::size_t kMaxIcmpFields = 40;
constexpr std::size_t kMaxNameBytes = 15;

struct ProtocolName {
  std::string_view name;
  std::uint8_t number;
};
constexpr std::array<ProtocolName, 4> kProtocols = {
    {{"TCP", IPPROTO_TCP}, {"UDP", IPPROTO_UDP}, {"SCTP", IPPROTO_SCTP}, {"ANY", 0}}};
constexpr std::array<std::string_view, 7> kExtendedProtocols = {"VRRP", "IGMP", "GRE", "IPIP",
                                                                "IPV6", "ESP",  "AH"};

struct IcmpName {
  std::string_view name;
  std::uint8_t type;
};
// IANA's names of ICMP types, as Cilium spells them.
constexpr std::array<IcmpName, 14> kIcmpTypes = {{{"EchoReply", 0},
                                                  {"DestinationUnreachable", 3},
                                                  {"Redirect", 5},
                                                  {"Echo", 8},
                                                  {"EchoRequest", 8},
                                                  {"RouterAdvertisement", 9},
                                                  {"RouterSelection", 10},
                                                  {"TimeExceeded", 11},
                                                  {"ParameterProblem", 12},
                                                  {"Timestamp", 13},
                                                  {"TimestampReply", 14},
                                                  {"Photuris", 40},
                                                  {"ExtendedEchoRequest", 42},
                                                  {"ExtendedEchoReply", 43}}};
constexpr std::array<IcmpName, 21> kIcmpv6Types = {{{"DestinationUnreachable", 1},
                                                    {"PacketTooBig", 2},
                                                    {"TimeExceeded", 3},
                                                    {"ParameterProblem", 4},
                                                    {"EchoRequest", 128},
                                                    {"EchoReply", 129},
                                                    {"MulticastListenerQuery", 130},
                                                    {"MulticastListenerReport", 131},
                                                    {"MulticastListenerDone", 132},
                                                    {"RouterSolicitation", 133},
                                                    {"RouterAdvertisement", 134},
                                                    {"NeighborSolicitation", 135},
                                                    {"NeighborAdvertisement", 136},
                                                    {"RedirectMessage", 137},
                                                    {"RouterRenumbering", 138},
                                                    {"ICMPNodeInformationQuery", 139},
                                                    {"ICMPNodeInformationResponse", 140},
                                                    {"DuplicateAddressRequest", 157},
                                                    {"DuplicateAddressConfirmation", 158},
                                                    {"ExtendedEchoRequest", 160},
                                                    {"ExtendedEchoReply", 161}}};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

std::optional<long long> decimal(std::string_view text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// `port`: a number in 0..65535, written in decimal, or a name.
bool parse_port_text(DocumentLog& log, const YamlNode& node, const std::string& text,
                     PortMatch& out) {
  const bool digits =
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  if (digits) {
    if (text.size() > 1 && text[0] == '0') {
      log.error(node, "port `" + text + "` begins with 0, which some tools read as octal",
                "write it in decimal, without the zero", "port-octal");
      return false;
    }
    const auto number = decimal(text);
    if (!number || *number > 0xffff) {
      log.error(node, "port `" + text + "` is larger than 65535", "", "port-range");
      return false;
    }
    out.first = static_cast<std::uint16_t>(*number);
    out.last = out.first;
    return true;
  }
  if (auto name = port_name(text)) {
    out.name = std::move(*name);
    return true;
  }
  std::string hint = "a number from 0 to 65535, or a name of at most 15 letters, digits and dashes";
  const auto dash = text.find('-');
  if (dash != std::string::npos && dash > 0 && decimal(text.substr(0, dash)) &&
      decimal(text.substr(dash + 1))) {
    hint = "write `port: \"" + text.substr(0, dash) + "\"` and `endPort: " + text.substr(dash + 1) +
           '`';
  }
  log.error(node, "`" + text + "` is no port", hint, "port");
  return false;
}

std::optional<PortMatch> parse_port(DocumentLog& log, const YamlNode& node) {
  ObjectReader reader(log, node, "a `ports` entry", fields::kPort);
  PortMatch out;
  if (const YamlNode* protocol = reader.find("protocol")) {
    const auto number = parse_protocol(log, *protocol);
    if (!number) {
      return std::nullopt;
    }
    out.protocol = *number;
  }
  const YamlNode* port = reader.find("port");
  const auto end = reader.number("endPort");
  if (port == nullptr) {
    log.error(node, "a `ports` entry needs a `port`", "write `port: \"0\"` for every port",
              "missing-field");
    return std::nullopt;
  }
  const auto text = reader.text("port");
  if (!text) {
    return std::nullopt;
  }
  if (text->empty()) {
    log.error(*port, "`port` is empty", "write `port: \"0\"` for every port", "missing-field");
    return std::nullopt;
  }
  if (!parse_port_text(log, *port, *text, out)) {
    return std::nullopt;
  }
  if (end) {
    if (*end < 0 || *end > 0xffff) {
      log.error(*reader.find("endPort"), "`endPort` must be from 0 to 65535", "", "port-range");
      return std::nullopt;
    }
    const auto last = static_cast<std::uint16_t>(*end);
    if (out.name.empty() && last != 0 && last < out.first) {
      log.warning(*reader.find("endPort"),
                  "`endPort` is below `port`: only port " + std::to_string(out.first) + " is meant",
                  "swap them", "endport-below");
    }
    if (!out.name.empty()) {
      out.last = last;
      return out;
    }
    if (last > out.first) {
      out.last = last;
      return out;
    }
  }
  if (out.name.empty() && out.first == 0) {
    out.last = 0xffff; // `port: "0"`: every port of the protocol
  }
  return out;
}

std::optional<std::uint8_t> icmp_by_name(const std::string& name, bool v6) {
  const auto find = [&](const auto& table) -> std::optional<std::uint8_t> {
    for (const IcmpName& one : table) {
      if (one.name == name) {
        return one.type;
      }
    }
    return std::nullopt;
  };
  return v6 ? find(kIcmpv6Types) : find(kIcmpTypes);
}

void parse_icmp(DocumentLog& log, const YamlNode& node, std::vector<IcmpMatch>& out) {
  ObjectReader reader(log, node, "an ICMP field", fields::kIcmpEntry);
  const std::string family = reader.text("family").value_or("IPv4");
  if (!words::place_of(family, words::kFamilies)) {
    log.error(*reader.find("family"), "unknown family `" + family + "`", "write IPv4 or IPv6",
              "icmp-family");
    return;
  }
  const bool v6 = family == "IPv6";
  const YamlNode* type = reader.find("type");
  if (type == nullptr || type->kind != YamlNode::Kind::kScalar) {
    log.error(node, "an ICMP field needs a `type`", "a number or a name such as EchoRequest",
              "missing-field");
    return;
  }
  std::optional<long long> number = decimal(type->scalar);
  if (!number) {
    if (const auto named = icmp_by_name(type->scalar, v6)) {
      number = *named;
    } else {
      log.error(*type, "unknown ICMP type `" + type->scalar + "` of family " + family, "",
                "icmp-type");
      return;
    }
  }
  if (*number < 0 || *number > 255) {
    log.warning(*type, "there is no ICMP type " + type->scalar + ": this matches nothing", "",
                "icmp-range");
    return;
  }
  out.push_back({v6 ? kIcmpV6 : kIcmpV4, static_cast<std::uint8_t>(*number)});
}

} // namespace

std::optional<std::string> port_name(std::string_view text) {
  bool letter = false;
  char before = '-';
  if (text.empty() || text.size() > kMaxNameBytes) {
    return std::nullopt;
  }
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) == 0 && (c != '-' || before == '-')) {
      return std::nullopt;
    }
    letter = letter || std::isalpha(byte) != 0;
    before = c;
    out += static_cast<char>(std::tolower(byte));
  }
  return letter && before != '-' ? std::optional(out) : std::nullopt;
}

std::optional<std::uint8_t> parse_protocol(DocumentLog& log, const YamlNode& node) {
  const auto text = read_text(log, node, "`protocol`");
  if (!text) {
    return std::nullopt;
  }
  if (text->empty()) {
    return 0;
  }
  const std::string name = upper(*text);
  for (const ProtocolName& one : kProtocols) {
    if (one.name == name) {
      return one.number;
    }
  }
  if (std::find(kExtendedProtocols.begin(), kExtendedProtocols.end(), name) !=
      kExtendedProtocols.end()) {
    log.error(node, "protocol `" + *text + "` is not filtered by weir",
              "TCP, UDP, SCTP and ANY are", "protocol");
  } else if (name.starts_with("ICMP")) {
    log.error(node, "ICMP is no protocol with ports", "use `icmps` instead of `toPorts`",
              "protocol");
  } else {
    log.error(node, "unknown protocol `" + *text + "`", "one of TCP, UDP, SCTP, ANY", "protocol");
  }
  return std::nullopt;
}

std::vector<PortRule> parse_port_rules(DocumentLog& log, const NodeList& items,
                                       std::uint8_t direction, Action action) {
  std::vector<PortRule> out;
  for (const auto& item : items) {
    ObjectReader reader(log, *item, "a `toPorts` entry", fields::kPortRule);
    PortRule rule;
    rule.place = {item->line, item->column};
    if (const NodeList* ports = reader.list("ports")) {
      if (ports->size() > kMaxPorts) {
        log.error(*reader.find("ports"), "more than 40 ports in one entry", "split it",
                  "too-many-ports");
      }
      for (const auto& port : *ports) {
        if (auto match = parse_port(log, *port)) {
          rule.ports.push_back(std::move(*match));
        }
      }
      if (ports->empty()) {
        log.warning(*item, "no ports: this entry opens nothing", "remove it, or name ports",
                    "void-ports");
      }
    } else {
      log.warning(*item, "no ports: this entry opens nothing", "give it `ports`", "void-ports");
    }
    parse_l7(log, reader, rule, direction, action);
    out.push_back(std::move(rule));
  }
  return out;
}

std::vector<IcmpMatch> parse_icmps(DocumentLog& log, const NodeList& items) {
  std::vector<IcmpMatch> out;
  for (const auto& item : items) {
    ObjectReader reader(log, *item, "an `icmps` entry", fields::kIcmp);
    if (const NodeList* fields = reader.list("fields")) {
      if (fields->size() > kMaxIcmpFields) {
        log.error(*reader.find("fields"), "more than 40 ICMP types in one entry", "split it",
                  "too-many-ports");
      }
      for (const auto& field : *fields) {
        parse_icmp(log, *field, out);
      }
    }
  }
  return out;
}

} // namespace weir::policy
