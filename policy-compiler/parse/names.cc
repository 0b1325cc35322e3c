// DNS names and patterns (rules.dns, toFQDNs).
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace weir::policy {
namespace {

constexpr std::size_t kMaxNameBytes = 255;

bool dns_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
}

NamePattern parse_names(DocumentLog& log, const YamlNode& node, std::string_view what) {
  ObjectReader reader(log, node, what, fields::kName);
  NamePattern out;
  if (auto name = reader.text("matchName")) {
    const bool star = name->find('*') != std::string::npos;
    if (!std::all_of(name->begin(), name->end(), dns_character)) {
      log.error(*reader.find("matchName"),
                "`" + *name +
                    "` is no name: only letters, digits, `-`, `_` and `.` may stand in it",
                star ? "use `matchPattern` for wildcards" : "", "dns-name");
    }
    out.match_name = std::move(*name);
  }
  if (auto pattern = reader.text("matchPattern")) {
    if (!std::all_of(pattern->begin(), pattern->end(),
                     [](char c) { return dns_character(c) || c == '*'; })) {
      log.error(*reader.find("matchPattern"),
                "`" + *pattern +
                    "` is no pattern: only letters, digits, `-`, `_`, `.` and `*` may stand in it",
                "", "dns-pattern");
    } else if (pattern->size() > kMaxNameBytes) {
      log.error(*reader.find("matchPattern"), "a pattern has at most 255 bytes", "", "dns-pattern");
    }
    out.match_pattern = std::move(*pattern);
  }
  return out;
}

} // namespace

NamePattern parse_dns_rule(DocumentLog& log, const YamlNode& node) {
  return parse_names(log, node, "a DNS rule");
}

NamePattern parse_fqdn_selector(DocumentLog& log, const YamlNode& node) {
  NamePattern out = parse_names(log, node, "a toFQDNs entry");
  if (!out.match_name.empty() && !out.match_pattern.empty()) {
    log.error(node, "`matchName` and `matchPattern` in one toFQDNs entry", "make two entries of it",
              "fqdn-both");
  }
  if (out.match_name.empty() && out.match_pattern.empty()) {
    log.warning(node, "this toFQDNs entry names nothing and selects nobody",
                "give it a `matchName` or a `matchPattern`", "fqdn-empty");
  }
  return out;
}

} // namespace weir::policy
