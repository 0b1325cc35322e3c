// Label selectors (metav1.LabelSelector with Cilium's sources before the keys).
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"
#include "policy-compiler/parse/words.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace weir::policy {
namespace {

constexpr std::size_t kMaxNameBytes = 63;
constexpr std::size_t kMaxPrefixBytes = 253;

bool alphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// [A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes && alphanumeric(text.front()) &&
         alphanumeric(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
           return alphanumeric(c) || c == '-' || c == '_' || c == '.';
         });
}

bool is_dns_subdomain(std::string_view text) {
  if (text.empty() || text.size() > kMaxPrefixBytes) {
    return false;
  }
  bool start = true;
  char before = '.';
  for (const char c : text) {
    if (c == '.') {
      if (start || before == '-') {
        return false;
      }
      start = true;
    } else if ((std::islower(static_cast<unsigned char>(c)) != 0) ||
               (std::isdigit(static_cast<unsigned char>(c)) != 0) || (c == '-' && !start)) {
      start = false;
    } else {
      return false;
    }
    before = c;
  }
  return !start && before != '-';
}

std::optional<std::string> label_key_error(std::string_view key) {
  if (key.size() > 2 * kMaxPrefixBytes) {
    return "is too long";
  }
  if (const auto slash = key.find('/'); slash != std::string_view::npos) {
    if (!is_dns_subdomain(key.substr(0, slash))) {
      return "what stands before `/` must be a lower-case domain name";
    }
    key = key.substr(slash + 1);
  }
  // Cilium's own keys put a prefix before a whole key of a namespace, slash and all, and grow
  // longer than 63 bytes; there only the characters are checked.
  const bool own = key.starts_with("io.cilium.k8s.");
  if (!is_name(own && key.size() > kMaxNameBytes ? key.substr(key.size() - kMaxNameBytes) : key)) {
    return "a label's name is 1 to 63 letters, digits, `-`, `_` or `.`, with a letter or digit at "
           "both ends";
  }
  return std::nullopt;
}

// "source:key" from what the policy wrote; empty after an error.
std::string full_key(DocumentLog& log, const YamlNode& place, std::string_view text,
                     std::string_view prefix) {
  std::string_view source = "any";
  std::string_view key = text;
  if (!prefix.empty()) {
    // Kubernetes' own selectors know no sources.
    if (const auto wrong = label_key_error(text)) {
      log.error(place, "`" + std::string(text) + "` is no label key: " + *wrong, "", "label-key");
      return {};
    }
    return std::string(prefix) + std::string(text);
  }
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    source = text.substr(0, colon);
    key = text.substr(colon + 1);
    if (source.empty() || !std::all_of(source.begin(), source.end(), alphanumeric)) {
      log.error(place, "`" + std::string(text) + "`: a label's source is letters and digits",
                "write `k8s:`, `any:` or `reserved:` before the colon", "label-key");
      return {};
    }
  }
  if (const auto wrong = label_key_error(key)) {
    log.error(place, "`" + std::string(text) + "` is no label key: " + *wrong, "", "label-key");
    return {};
  }
  return std::string(source) + ':' + std::string(key);
}

void parse_labels(DocumentLog& log, const YamlNode& node, std::string_view prefix,
                  LabelSelector& out) {
  if (node.kind != YamlNode::Kind::kMap) {
    log.error(node, std::string("`matchLabels` must be a map, here stands ") + node.description(),
              "", "wrong-type");
    return;
  }
  for (const YamlNode::Entry& entry : node.entries) {
    std::string value;
    if (entry.value->kind != YamlNode::Kind::kNull) {
      auto text = read_text(log, *entry.value, "the value of label `" + entry.key + "`");
      if (!text) {
        continue;
      }
      value = std::move(*text);
    }
    if (const auto wrong = label_value_error(value)) {
      log.error(*entry.value, "`" + value + "` is no label value: " + *wrong, "", "label-value");
      continue;
    }
    YamlNode place;
    place.line = entry.line;
    place.column = entry.column;
    if (std::string key = full_key(log, place, entry.key, prefix); !key.empty()) {
      out.require(std::move(key), Requirement::Op::kIn, {std::move(value)});
    }
  }
}

void parse_expression(DocumentLog& log, const YamlNode& node, std::string_view prefix,
                      LabelSelector& out) {
  ObjectReader reader(log, node, "a match expression", fields::kExpression);
  const auto key_text = reader.text("key");
  const auto operator_text = reader.text("operator");
  auto values = reader.texts("values").value_or(std::vector<std::string>{});
  if (!key_text || !operator_text) {
    if (!reader.find("key") || !reader.find("operator")) {
      log.error(node, "a match expression needs `key` and `operator`", "", "missing-field");
    }
    return;
  }
  const auto op = words::place_of(*operator_text, words::kOperators);
  if (!op) {
    const auto near = nearest_word(*operator_text, words::kOperators);
    log.error(*reader.find("operator"), "unknown operator `" + *operator_text + "`",
              near ? "did you mean `" + std::string(*near) + "`?"
                   : "one of In, NotIn, Exists, DoesNotExist",
              "operator");
    return;
  }
  const auto which = static_cast<Requirement::Op>(*op);
  const bool wants_values = which == Requirement::Op::kIn || which == Requirement::Op::kNotIn;
  if (wants_values && values.empty()) {
    log.error(node, "operator `" + *operator_text + "` needs `values`", "", "operator-values");
  }
  if (!wants_values && !values.empty()) {
    log.error(node, "operator `" + *operator_text + "` takes no `values`",
              "use `In` or `NotIn`, or remove them", "operator-values");
  }
  for (const std::string& value : values) {
    if (const auto wrong = label_value_error(value)) {
      log.error(*reader.find("values"), "`" + value + "` is no label value: " + *wrong, "",
                "label-value");
    }
  }
  if (std::string key = full_key(log, *reader.find("key"), *key_text, prefix); !key.empty()) {
    out.require(std::move(key), which, std::move(values));
  }
}

} // namespace

std::optional<std::string> label_value_error(std::string_view value) {
  if (value.size() > kMaxNameBytes) {
    return "it is longer than 63 bytes";
  }
  if (!value.empty() && !is_name(value)) {
    return "it is letters, digits, `-`, `_` or `.`, with a letter or digit at both ends";
  }
  return std::nullopt;
}

LabelSelector parse_selector(DocumentLog& log, const YamlNode& node, std::string_view what,
                             std::string_view prefix) {
  LabelSelector out;
  ObjectReader reader(log, node, what, fields::kSelector);
  if (const YamlNode* labels = reader.find("matchLabels")) {
    parse_labels(log, *labels, prefix, out);
  }
  if (const NodeList* expressions = reader.list("matchExpressions")) {
    for (const auto& item : *expressions) {
      parse_expression(log, *item, prefix, out);
    }
  }
  return out;
}

} // namespace weir::policy
