#include "policy-compiler/schema/schema.h"

#include "policy-compiler/parse/fields.h"

#include <boost/json/array.hpp>

#include <string>
#include <string_view>

namespace weir::policy {
namespace {

namespace json = boost::json;

// A field without a value counts as absent.
json::array or_null(std::string_view type) { return {type, "null"}; }

class SchemaWriter {
public:
  // {"$ref": …}; writes the definition when it is new.
  json::object reference(const ObjectFields& object) {
    define(object);
    return {{"$ref", "#/definitions/" + std::string(object.name)}};
  }
  json::object take_definitions() { return std::move(x_definitions); }

private:
  void define(const ObjectFields& object) {
    if (x_definitions.contains(object.name)) {
      return;
    }
    x_definitions[object.name] = nullptr; // its fields may lead here again
    json::object properties;
    for (const Field& field : object.fields) {
      json::object value =
          field.list ? json::object{{"type", or_null("array")}, {"items", value_of(field)}}
                     : value_of(field);
      if (!field.description.empty() && !value.contains("$ref")) {
        value["description"] = field.description;
      } else if (!field.description.empty()) {
        value = {{"allOf", json::array{std::move(value)}}, {"description", field.description}};
      }
      properties[field.name] = std::move(value);
    }
    json::array types = or_null("object");
    if (object.or_text) {
      types.emplace_back("string");
    }
    x_definitions[object.name] = {{"type", std::move(types)},
                                  {"additionalProperties", false},
                                  {"properties", std::move(properties)}};
  }

  json::object value_of(const Field& field) {
    switch (field.type) {
    case Field::Type::kText:
      if (!field.choices.empty()) {
        json::array choices(field.choices.begin(), field.choices.end());
        if (!field.list) {
          choices.emplace_back(nullptr);
        }
        return {{"enum", std::move(choices)}};
      }
      return {{"type", field.list ? json::value("string") : json::value(or_null("string"))}};
    case Field::Type::kWhole:
      return {{"type", or_null("integer")}};
    case Field::Type::kTextOrWhole:
      return {{"type", json::array{"string", "integer", "null"}}};
    case Field::Type::kBoolean:
      return {{"type", or_null("boolean")}};
    case Field::Type::kTextMap:
      return {{"type", or_null("object")},
              {"additionalProperties", json::object{{"type", or_null("string")}}}};
    case Field::Type::kObject:
      return reference(*field.object);
    case Field::Type::kAny:
      break;
    }
    return {};
  }

  json::object x_definitions;
};

struct Kind {
  std::string_view kind;
  json::array versions;
  const ObjectFields& object;
};

} // namespace

json::object policy_schema() {
  const Kind kinds[] = {
      {"CiliumNetworkPolicy", {"cilium.io/v2"}, fields::kCiliumPolicy},
      {"CiliumClusterwideNetworkPolicy", {"cilium.io/v2"}, fields::kCiliumPolicy},
      {"CiliumCIDRGroup", {"cilium.io/v2", "cilium.io/v2alpha1"}, fields::kCidrGroup},
      {"NetworkPolicy", {"networking.k8s.io/v1"}, fields::kNetworkPolicy}};
  SchemaWriter writer;
  json::array cases;
  json::array names;
  for (const Kind& one : kinds) {
    names.emplace_back(one.kind);
    // if/then rather than oneOf: an editor then tells what is wrong with the kind that is there.
    cases.push_back(json::object{
        {"if",
         json::object{{"properties", json::object{{"kind", json::object{{"const", one.kind}}}}}}},
        {"then", json::object{
                     {"allOf",
                      json::array{writer.reference(one.object),
                                  json::object{
                                      {"properties",
                                       json::object{{"apiVersion",
                                                     json::object{{"enum", one.versions}}}}}}}}}}});
  }
  return {{"$schema", "http://json-schema.org/draft-07/schema#"},
          {"title", "Policies that weir reads"},
          {"type", "object"},
          {"required", json::array{"apiVersion", "kind", "metadata"}},
          {"properties", json::object{{"kind", json::object{{"enum", std::move(names)}}}}},
          {"allOf", std::move(cases)},
          {"definitions", writer.take_definitions()}};
}

} // namespace weir::policy
