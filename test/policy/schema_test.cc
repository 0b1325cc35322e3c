// The schema says what the parser says, as far as a schema can: what is accepted validates, and a
// field that is unknown or of another type does not. The validator below knows just the words that
// the schema uses.
#include "policy-compiler/compile.h"
#include "policy-compiler/parse/yaml_reader.h"
#include "policy-compiler/schema/schema.h"
#include "proxy/base/file.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace {

namespace json = boost::json;
using namespace weir::policy;

const std::filesystem::path kFolder = WEIR_POLICY_CASES;

json::value json_of(const YamlNode& node) {
  switch (node.kind) {
  case YamlNode::Kind::kNull:
    return nullptr;
  case YamlNode::Kind::kSequence: {
    json::array out;
    for (const auto& item : node.items) {
      out.push_back(json_of(*item));
    }
    return out;
  }
  case YamlNode::Kind::kMap: {
    json::object out;
    for (const YamlNode::Entry& entry : node.entries) {
      out[entry.key] = json_of(*entry.value);
    }
    return out;
  }
  case YamlNode::Kind::kScalar:
    break;
  }
  if (node.is_boolean()) {
    return node.scalar == "true";
  }
  if (node.is_number()) {
    std::int64_t whole = 0;
    const char* end = node.scalar.data() + node.scalar.size();
    if (std::from_chars(node.scalar.data(), end, whole).ptr == end) {
      return whole;
    }
    return 0.5;
  }
  return json::string(node.scalar);
}

std::string_view type_of(const json::value& value) {
  switch (value.kind()) {
  case json::kind::null:
    return "null";
  case json::kind::bool_:
    return "boolean";
  case json::kind::int64:
  case json::kind::uint64:
    return "integer";
  case json::kind::double_:
    return "number";
  case json::kind::string:
    return "string";
  case json::kind::array:
    return "array";
  case json::kind::object:
    return "object";
  }
  return "null";
}

class Validator {
public:
  explicit Validator(const json::object& root) : x_root(root) {}

  [[nodiscard]] bool validates(const json::value& value) const { return check(x_root, value); }

private:
  [[nodiscard]] bool check(const json::value& schema, const json::value& value) const {
    if (const bool* all = schema.if_bool()) {
      return *all;
    }
    for (const auto& word : schema.as_object()) {
      if (!check(schema.as_object(), word.key(), word.value(), value)) {
        return false;
      }
    }
    return true;
  }

  [[nodiscard]] bool check(const json::object& schema, std::string_view word,
                           const json::value& said, const json::value& value) const {
    const auto any_of = [](const json::array& all, auto&& holds) {
      return std::any_of(all.begin(), all.end(), holds);
    };
    const json::object* object = value.if_object();
    if (word == "$ref") {
      const std::string_view name = said.as_string();
      return check(x_root.at("definitions").at(name.substr(name.rfind('/') + 1)), value);
    }
    if (word == "type") {
      return said.is_string() ? said.as_string() == type_of(value)
                              : any_of(said.as_array(), [&](const json::value& one) {
                                  return one.as_string() == type_of(value);
                                });
    }
    if (word == "enum") {
      return any_of(said.as_array(), [&](const json::value& one) { return one == value; });
    }
    if (word == "const") {
      return said == value;
    }
    if (word == "allOf") {
      return !any_of(said.as_array(), [&](const json::value& one) { return !check(one, value); });
    }
    if (word == "if") {
      return !check(said, value) || check(schema.at("then"), value);
    }
    if (word == "required" && object != nullptr) {
      return !any_of(said.as_array(),
                     [&](const json::value& one) { return !object->contains(one.as_string()); });
    }
    if (word == "items" && value.is_array()) {
      return !any_of(value.as_array(), [&](const json::value& one) { return !check(said, one); });
    }
    if (word == "properties" && object != nullptr) {
      return std::all_of(object->begin(), object->end(), [&](const auto& member) {
        const json::value* property = said.as_object().if_contains(member.key());
        return property == nullptr || check(*property, member.value());
      });
    }
    if (word == "additionalProperties" && object != nullptr) {
      const json::value* known = schema.if_contains("properties");
      return std::all_of(object->begin(), object->end(), [&](const auto& member) {
        return (known != nullptr && known->as_object().contains(member.key())) ||
               check(said, member.value());
      });
    }
    return true;
  }

  const json::object& x_root;
};

template <typename Visit>
void for_each_document(const std::filesystem::path& folder, Visit&& visit) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".yaml") {
      continue;
    }
    const std::string text = weir::read_file(entry.path().string()).value();
    for (const ParsedDocument& parsed : parse_policies("f.yaml", text)) {
      for (const YamlDocument& document : read_yaml("f.yaml", text)) {
        if (document.root != nullptr && document.line == parsed.line) {
          INFO(entry.path().string() << ':' << parsed.line);
          visit(entry.path(), parsed, json_of(*document.root));
        }
      }
    }
  }
}

} // namespace

TEST_CASE("every document that is accepted validates against the schema", "[policy]") {
  const json::object schema = policy_schema();
  const Validator validator(schema);
  std::size_t accepted = 0;
  for (const char* folder : {"manifests", "cases/validate", "diagnostics"}) {
    for_each_document(kFolder / folder,
                      [&](const auto&, const ParsedDocument& parsed, const json::value& document) {
                        if (parsed.policy != nullptr) {
                          ++accepted;
                          CHECK(validator.validates(document));
                        }
                      });
  }
  CHECK(accepted > 200);
}

TEST_CASE("unknown fields and wrong types do not validate", "[policy]") {
  const json::object schema = policy_schema();
  const Validator validator(schema);
  std::size_t refused = 0;
  for_each_document(kFolder / "diagnostics", [&](const std::filesystem::path& path,
                                                 const ParsedDocument& parsed,
                                                 const json::value& document) {
    const std::string name = path.filename().string();
    const bool told = std::any_of(
        parsed.diagnostics.begin(), parsed.diagnostics.end(), [](const Diagnostic& one) {
          return one.code == "unknown-field" || one.code == "wrong-type" ||
                 one.code == "unknown-entity" || one.code == "operator" ||
                 one.code == "unknown-kind" || one.code == "mismatch";
        });
    if (told && parsed.policy == nullptr) {
      ++refused;
      CHECK_FALSE(validator.validates(document));
    }
  });
  CHECK(refused > 20);
}
