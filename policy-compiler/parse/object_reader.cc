#include "policy-compiler/parse/object_reader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace weir::policy {
namespace {

const NodeList kNoItems;

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      const std::size_t change = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + change});
      diagonal = above;
    }
  }
  return row[b.size()];
}

struct Misplaced {
  std::string_view field;
  std::string_view hint;
};
// Fields that exist, but not here; nearness in letters would mislead.
constexpr std::array<Misplaced, 12> kMisplaced = {
    {{"podSelector", "it is `endpointSelector` here"},
     {"http", "L7 rules stand in `toPorts`, below `rules`"},
     {"dns", "L7 rules stand in `toPorts`, below `rules`"},
     {"rules", "L7 rules stand in `toPorts`, beside `ports`"},
     {"toFQDNs", "names are for egress rules only"},
     {"toServices", "services are for egress rules only"},
     {"from", "it is `fromEndpoints`, `fromEntities`, `fromCIDR` … here"},
     {"to", "it is `toEndpoints`, `toEntities`, `toCIDR` … here"},
     {"ipBlock", "it is `fromCIDRSet` or `toCIDRSet` here"},
     {"policyTypes", "a section of rules is enough here"},
     {"url", "it is `path` here"},
     {"endPort", "it stands beside the `port` that it belongs to"}}};

std::string hint_for(std::string_view field, std::string_view what, const ObjectFields& fields) {
  const auto* misplaced = std::find_if(kMisplaced.begin(), kMisplaced.end(),
                                       [&](const Misplaced& one) { return one.field == field; });
  if (misplaced != kMisplaced.end()) {
    return std::string(misplaced->hint);
  }
  std::vector<std::string_view> names;
  for (const Field& known : fields.fields) {
    names.push_back(known.name);
  }
  if (const auto near = nearest_word(field, names)) {
    return "did you mean `" + std::string(*near) + "`?";
  }
  return what.find("elector") != std::string_view::npos ? "labels stand below `matchLabels`" : "";
}

} // namespace

void DocumentLog::add(Severity severity, Location location, std::string message, std::string hint,
                      std::string code) {
  if (severity == Severity::kError) {
    ++x_errors;
  }
  x_out.push_back(
      {severity, std::move(location), std::move(message), std::move(hint), std::move(code)});
}

std::optional<std::string_view> nearest_word(std::string_view word,
                                             std::span<const std::string_view> candidates) {
  if (word.size() > 64) { // nobody's typing mistake
    return std::nullopt;
  }
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

ObjectReader::ObjectReader(DocumentLog& log, const YamlNode& node, std::string_view what,
                           const ObjectFields& fields)
    : x_log(log), x_node(node), x_what(what) {
  if (node.kind == YamlNode::Kind::kNull) {
    return;
  }
  if (node.kind != YamlNode::Kind::kMap) {
    log.error(node, x_what + " must be a map, here stands " + node.description(), "", "wrong-type");
    return;
  }
  for (const YamlNode::Entry& entry : node.entries) {
    if (std::any_of(fields.fields.begin(), fields.fields.end(),
                    [&](const Field& known) { return known.name == entry.key; })) {
      continue;
    }
    log.add(Severity::kError, {log.file(), entry.line, entry.column},
            "unknown field `" + entry.key + "` in " + x_what, hint_for(entry.key, x_what, fields),
            "unknown-field");
  }
}

const YamlNode* ObjectReader::find(std::string_view field) const {
  for (const YamlNode::Entry& entry : x_node.entries) {
    if (entry.key == field) {
      return entry.value->kind == YamlNode::Kind::kNull ? nullptr : entry.value.get();
    }
  }
  return nullptr;
}

bool ObjectReader::mentions(std::string_view field) const {
  return std::any_of(x_node.entries.begin(), x_node.entries.end(),
                     [&](const YamlNode::Entry& entry) { return entry.key == field; });
}

std::optional<std::string> read_text(DocumentLog& log, const YamlNode& node,
                                     std::string_view what) {
  if (node.is_string()) {
    return node.scalar;
  }
  std::string hint;
  if (node.kind == YamlNode::Kind::kScalar) {
    hint = "put it in quotes: \"" + node.scalar + "\"";
  }
  log.error(node, std::string(what) + " must be a text, here stands " + node.description(), hint,
            "wrong-type");
  return std::nullopt;
}

std::optional<std::string> ObjectReader::text(std::string_view field) {
  const YamlNode* node = find(field);
  if (node == nullptr) {
    return std::nullopt;
  }
  return read_text(x_log, *node, "`" + std::string(field) + "`");
}

bool refuse_null_item(DocumentLog& log, const YamlNode& node, std::string_view what) {
  if (node.kind != YamlNode::Kind::kNull) {
    return false;
  }
  log.error(node, std::string(what) + " without a value", "write `{}` if everything is meant",
            "null-item");
  return true;
}

std::optional<bool> ObjectReader::boolean(std::string_view field) {
  const YamlNode* node = find(field);
  if (node == nullptr) {
    return std::nullopt;
  }
  if (!node->is_boolean()) {
    x_log.error(*node,
                "`" + std::string(field) + "` must be true or false, here stands " +
                    node->description(),
                "", "wrong-type");
    return std::nullopt;
  }
  const char first = lower(node->scalar[0]);
  return first == 't' || first == 'y' || (first == 'o' && lower(node->scalar[1]) == 'n');
}

std::optional<long long> ObjectReader::number(std::string_view field) {
  const YamlNode* node = find(field);
  if (node == nullptr) {
    return std::nullopt;
  }
  long long value = 0;
  const std::string& text = node->scalar;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (node->kind != YamlNode::Kind::kScalar || !node->plain || error != std::errc{} ||
      end != text.data() + text.size()) {
    x_log.error(*node,
                "`" + std::string(field) + "` must be a whole number, here stands " +
                    node->description(),
                "", "wrong-type");
    return std::nullopt;
  }
  return value;
}

const NodeList* ObjectReader::list(std::string_view field) {
  const YamlNode* node = find(field);
  if (node == nullptr) {
    return nullptr;
  }
  if (node->kind != YamlNode::Kind::kSequence) {
    x_log.error(
        *node, "`" + std::string(field) + "` must be a list, here stands " + node->description(),
        node->kind == YamlNode::Kind::kMap ? "put `- ` before its first field" : "", "wrong-type");
    return &kNoItems;
  }
  return &node->items;
}

std::optional<std::vector<std::string>> ObjectReader::texts(std::string_view field) {
  const NodeList* items = list(field);
  if (items == nullptr) {
    return std::nullopt;
  }
  std::vector<std::string> out;
  for (const auto& item : *items) {
    if (auto value = read_text(x_log, *item, "a member of `" + std::string(field) + "`")) {
      out.push_back(std::move(*value));
    }
  }
  return out;
}

std::map<std::string, std::string> ObjectReader::text_map(std::string_view field) {
  std::map<std::string, std::string> out;
  const YamlNode* node = find(field);
  if (node == nullptr) {
    return out;
  }
  if (node->kind != YamlNode::Kind::kMap) {
    x_log.error(*node,
                "`" + std::string(field) + "` must be a map, here stands " + node->description(),
                "", "wrong-type");
    return out;
  }
  for (const YamlNode::Entry& entry : node->entries) {
    if (entry.value->kind == YamlNode::Kind::kNull) {
      out[entry.key] = ""; // as Kubernetes' JSON decoding leaves it
    } else if (auto value = read_text(x_log, *entry.value, "`" + entry.key + "`")) {
      out[entry.key] = std::move(*value);
    }
  }
  return out;
}

} // namespace weir::policy
