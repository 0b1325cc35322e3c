#include "proxy/config/yaml_fields.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace weir::config {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Levenshtein's distance, letters' case aside, two swapped neighbours counted once.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    last[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
          lower(a[i - 2]) == lower(b[j - 1])) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before = std::exchange(last, row);
  }
  return last[b.size()];
}

std::string in_ticks(std::string_view word) { return "`" + std::string(word) + "`"; }

std::string did_you_mean(std::string_view word) {
  return word.empty() ? std::string() : "did you mean " + in_ticks(word) + "?";
}

template <typename Number>
std::optional<Number> decimal(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

// A number without quotes: `workers: "2"` is a text.
template <typename Number>
std::optional<Number> plain_number(const YamlScalar& scalar) {
  return scalar.quoted ? std::nullopt : decimal<Number>(scalar.text);
}

struct Unit {
  std::string_view suffix;
  std::uint64_t factor;
};

// Digits and one of the units, in units of factor 1; nothing where it would not fit.
std::optional<std::uint64_t> with_unit(std::string_view text, std::span<const Unit> units) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = decimal<std::uint64_t>(text.substr(0, digits));
  const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& candidate) {
    return candidate.suffix == text.substr(digits);
  });
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (!number || unit == units.end() || *number > kMost / unit->factor) {
    return std::nullopt;
  }
  return *number * unit->factor;
}

bool is_plain_boolean_or_number(std::string_view text) {
  static constexpr std::string_view kWords[] = {"true", "false", "yes", "no", "on", "off"};
  const bool word = std::any_of(std::begin(kWords), std::end(kWords), [&](std::string_view known) {
    return known.size() == text.size() && distance(known, text) == 0;
  });
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return word || (error != std::errc::invalid_argument && end == text.data() + text.size());
}

} // namespace

std::string YamlError::text() const {
  std::string text = file;
  if (line > 0) {
    text += ":" + std::to_string(line) + ":" + std::to_string(column);
  }
  text += ": error: " + message;
  return hint.empty() ? text : text + ", " + hint;
}

std::string_view nearest_word(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view nearest;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto candidate : candidates) {
    if (const std::size_t found = distance(word, candidate); found < least) {
      least = found;
      nearest = candidate;
    }
  }
  return nearest;
}

// --- scalars

std::optional<std::string> YamlType<std::string>::read(const YamlScalar& scalar) {
  return scalar.text.empty() ? std::nullopt : std::optional<std::string>(scalar.text);
}

std::optional<bool> YamlType<bool>::read(const YamlScalar& scalar) {
  if (scalar.quoted || (scalar.text != "true" && scalar.text != "false")) {
    return std::nullopt;
  }
  return scalar.text == "true";
}

std::optional<std::uint16_t> YamlType<std::uint16_t>::read(const YamlScalar& scalar) {
  return plain_number<std::uint16_t>(scalar);
}

std::optional<std::uint32_t> YamlType<std::uint32_t>::read(const YamlScalar& scalar) {
  return plain_number<std::uint32_t>(scalar);
}

std::optional<YamlBytes> YamlType<YamlBytes>::read(const YamlScalar& scalar) {
  static constexpr Unit kUnits[] = {{"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}};
  const auto count = with_unit(scalar.text, kUnits);
  return count ? std::optional<YamlBytes>(YamlBytes{*count}) : std::nullopt;
}

std::optional<std::chrono::milliseconds>
YamlType<std::chrono::milliseconds>::read(const YamlScalar& scalar) {
  static constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  const auto count = with_unit(scalar.text, kUnits);
  return count ? std::optional(std::chrono::milliseconds(*count)) : std::nullopt;
}

std::optional<std::chrono::seconds> YamlType<std::chrono::seconds>::read(const YamlScalar& scalar) {
  static constexpr Unit kUnits[] = {{"s", 1}, {"m", 60}, {"h", 3600}};
  const auto count = with_unit(scalar.text, kUnits);
  return count ? std::optional(std::chrono::seconds(*count)) : std::nullopt;
}

std::optional<IpAddress> YamlType<IpAddress>::read(const YamlScalar& scalar) {
  return IpAddress::parse(scalar.text);
}

std::optional<IpPrefix> YamlType<IpPrefix>::read(const YamlScalar& scalar) {
  return IpPrefix::parse(scalar.text);
}

std::optional<SocketAddress> YamlType<SocketAddress>::read(const YamlScalar& scalar) {
  return SocketAddress::parse(scalar.text);
}

// --- the document

YamlDocument::YamlDocument(std::string file, const std::string& text) : x_file(std::move(file)) {
  if (text.find('\0') != std::string::npos) {
    add_error(0, 0, "has NUL bytes; this is no YAML");
    return;
  }
  try {
    const auto documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      const auto mark = documents[1].Mark();
      add_error(mark.line + 1, mark.column + 1, "a second document; only one is read",
                "remove it and the `---` before it");
    } else if (!documents.empty() && !documents.front().IsNull()) {
      x_root = documents.front();
    }
  } catch (const YAML::Exception& problem) {
    const bool placed = !problem.mark.is_null();
    add_error(placed ? problem.mark.line + 1 : 0, placed ? problem.mark.column + 1 : 0,
              "not YAML: " + problem.msg);
  }
}

YamlFields YamlDocument::root() {
  return x_root.IsNull() ? YamlFields(*this, "") : YamlFields(*this, "", x_root);
}

YamlErrors YamlDocument::errors() const {
  auto sorted = x_errors;
  std::stable_sort(sorted.begin(), sorted.end(), [](const YamlError& a, const YamlError& b) {
    return std::pair(a.line, a.column) < std::pair(b.line, b.column);
  });
  return sorted;
}

void YamlDocument::add_error(int line, int column, std::string message, std::string hint) {
  x_errors.push_back({x_file, line, column, std::move(message), std::move(hint)});
}

// --- one mapping

YamlFields::YamlFields(YamlDocument& document, std::string path)
    : x_document(&document), x_path(std::move(path)), x_mark(YAML::Mark::null_mark()) {}

YamlFields::YamlFields(YamlDocument& document, std::string path, const YAML::Node& node)
    : x_document(&document), x_path(std::move(path)), x_mark(node.Mark()) {
  if (!node.IsMap()) {
    x_refused = true;
    report_kind(node, x_path, "a mapping");
    return;
  }
  for (const auto& pair : node) {
    const auto mark = pair.first.Mark();
    if (!pair.first.IsScalar()) {
      x_document->add_error(mark.line + 1, mark.column + 1, "a key must be a text");
      continue;
    }
    const std::string& key = pair.first.Scalar();
    if (const Field* first = field(key)) {
      x_document->add_error(mark.line + 1, mark.column + 1, "duplicate key " + in_ticks(key),
                            "it is at line " + std::to_string(first->mark.line + 1) + " already");
      continue;
    }
    x_fields.push_back({key, mark, pair.second});
  }
}

YamlFields::Field* YamlFields::field(std::string_view key) {
  const auto found = std::find_if(x_fields.begin(), x_fields.end(),
                                  [&](const Field& candidate) { return candidate.key == key; });
  return found == x_fields.end() ? nullptr : &*found;
}

std::string YamlFields::path_of(std::string_view key) const {
  return x_path.empty() ? std::string(key) : x_path + "." + std::string(key);
}

bool YamlFields::has(std::string_view key) {
  if (std::find(x_asked.begin(), x_asked.end(), key) == x_asked.end()) {
    x_asked.emplace_back(key);
  }
  Field* found = field(key);
  if (found != nullptr) {
    found->known = true;
  }
  return found != nullptr;
}

YamlFields::Field* YamlFields::with_value(std::string_view key) {
  Field* found = has(key) ? field(key) : nullptr;
  if (found != nullptr && found->value.IsNull()) {
    // At the key: yaml-cpp places a value that is not there at the next token.
    x_document->add_error(found->mark.line + 1, found->mark.column + 1,
                          in_ticks(path_of(key)) + " has no value",
                          "remove the key to have its default");
    return nullptr;
  }
  return found;
}

bool YamlFields::require(std::string_view key) {
  const bool found = has(key);
  if (!found && !x_refused) {
    error(key, in_ticks(path_of(key)) + " is missing");
  }
  return found;
}

std::optional<YamlScalar> YamlFields::scalar_of(std::string_view key, std::string_view expected) {
  const Field* found = with_value(key);
  return found != nullptr ? scalar_of(found->value, path_of(key), expected) : std::nullopt;
}

std::optional<YamlScalar> YamlFields::scalar_of(const YAML::Node& node, const std::string& path,
                                                std::string_view expected) {
  if (!node.IsScalar()) {
    report_kind(node, path, expected);
    return std::nullopt;
  }
  // yaml-cpp tags a quoted scalar "!" and a plain one "?".
  return YamlScalar{node.Scalar(), node.Tag() == "!"};
}

std::optional<std::size_t> YamlFields::choice_index(std::string_view key,
                                                    const std::vector<std::string_view>& words) {
  const auto scalar = scalar_of(key, "a word");
  if (!scalar) {
    return std::nullopt;
  }
  const auto found = std::find(words.begin(), words.end(), scalar->text);
  if (found != words.end()) {
    return static_cast<std::size_t>(found - words.begin());
  }
  std::string list;
  for (const auto word : words) {
    list += (list.empty() ? "" : ", ") + std::string(word);
  }
  error(key, in_ticks(path_of(key)) + " must be " + (words.size() > 1 ? "one of " : "") + list,
        did_you_mean(nearest_word(scalar->text, words)));
  return std::nullopt;
}

std::vector<YamlFields::Item> YamlFields::items(std::string_view key) {
  std::vector<Item> items;
  const Field* found = with_value(key);
  if (found == nullptr) {
    return items;
  }
  const YAML::Node& node = found->value;
  if (!node.IsSequence()) {
    report_kind(node, path_of(key), "a list");
    return items;
  }
  for (const auto& item : node) {
    items.push_back({item, path_of(key) + "[" + std::to_string(items.size()) + "]"});
  }
  return items;
}

std::vector<YamlFields> YamlFields::mappings(std::string_view key) {
  std::vector<YamlFields> mappings;
  for (auto& item : items(key)) {
    mappings.emplace_back(*x_document, std::move(item.path), item.node);
  }
  return mappings;
}

YamlFields YamlFields::mapping(std::string_view key) {
  const Field* found = with_value(key);
  return found != nullptr ? YamlFields(*x_document, path_of(key), found->value)
                          : YamlFields(*x_document, path_of(key));
}

std::vector<std::pair<std::string, YamlFields>> YamlFields::named(std::string_view key) {
  std::vector<std::pair<std::string, YamlFields>> named;
  const YamlFields names = mapping(key);
  named.reserve(names.x_fields.size());
  for (const auto& entry : names.x_fields) {
    named.emplace_back(entry.key, YamlFields(*x_document, names.path_of(entry.key), entry.value));
  }
  return named;
}

std::map<std::string, std::string> YamlFields::texts(std::string_view key) {
  std::map<std::string, std::string> texts;
  const YamlFields names = mapping(key);
  for (const auto& entry : names.x_fields) {
    const std::string path = names.path_of(entry.key);
    const auto scalar = scalar_of(entry.value, path, "a text");
    if (!scalar) {
      continue;
    }
    if (!scalar->quoted && is_plain_boolean_or_number(scalar->text)) {
      const auto mark = entry.value.Mark();
      x_document->add_error(mark.line + 1, mark.column + 1, in_ticks(path) + " must be a text",
                            "put it in quotes: \"" + std::string(scalar->text) + "\"");
      continue;
    }
    texts.emplace(entry.key, scalar->text);
  }
  return texts;
}

void YamlFields::error(std::string_view key, std::string message, std::string hint) {
  const Field* found = field(key);
  const YAML::Mark mark = found != nullptr ? found->value.Mark() : x_mark;
  const bool placed = !mark.is_null();
  x_document->add_error(placed ? mark.line + 1 : 0, placed ? mark.column + 1 : 0,
                        std::move(message), std::move(hint));
}

void YamlFields::report_kind(const YAML::Node& node, const std::string& path,
                             std::string_view expected) {
  const auto mark = node.Mark();
  const std::string name = path.empty() ? "the document" : in_ticks(path);
  x_document->add_error(mark.line + 1, mark.column + 1, name + " must be " + std::string(expected));
}

void YamlFields::finish() {
  const std::vector<std::string_view> known(x_asked.begin(), x_asked.end());
  for (const Field& unknown : x_fields) {
    if (!unknown.known) {
      x_document->add_error(unknown.mark.line + 1, unknown.mark.column + 1,
                            "unknown key " + in_ticks(path_of(unknown.key)),
                            did_you_mean(nearest_word(unknown.key, known)));
    }
  }
}

} // namespace weir::config
