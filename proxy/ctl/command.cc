#include "proxy/ctl/command.h"

#include "proxy/ctl/table.h"

#include <boost/json.hpp>

#include <cstdio>

namespace weir::ctl {
namespace {

std::string text_of(const boost::json::value& value) {
  if (const auto* text = value.if_string()) {
    return std::string(*text);
  }
  if (const auto* array = value.if_array()) {
    std::string joined;
    for (const auto& item : *array) {
      joined += (joined.empty() ? "" : ",") + text_of(item);
    }
    return joined;
  }
  return boost::json::serialize(value);
}

} // namespace

void fail(Session& session, const Error& error) {
  session.exit_code = kFailed;
  std::fprintf(stderr, "weirctl: %s\n", printable(error.text()).c_str());
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_json(const boost::json::value& value) { print(boost::json::serialize(value) + "\n"); }

std::string cell(const boost::json::value& object, std::string_view key) {
  const auto* members = object.if_object();
  const auto* value = members == nullptr ? nullptr : members->if_contains(key);
  return value == nullptr ? "" : text_of(*value);
}

} // namespace weir::ctl
