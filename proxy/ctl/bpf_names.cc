#include "proxy/ctl/bpf_names.h"

#include "proxy/base/file.h"
#include "redirect-bpf/user/names.h"

#include <boost/json.hpp>

#include <exception>

namespace weir::ctl {
namespace {

namespace json = boost::json;

std::string text_of(const json::value& value) {
  const auto& text = value.as_string();
  return {text.data(), text.size()};
}

std::string labels_text(const json::object& labels) {
  std::string text;
  for (const auto& [key, value] : labels) {
    text += (text.empty() ? "" : ",") + std::string(key) + "=" + text_of(value);
  }
  return text;
}

} // namespace

BpfNames::BpfNames(const std::string& state_folder) {
  for (const auto& [file, read] : {std::pair("/identities.json", &BpfNames::read_identities),
                                   std::pair("/rules.json", &BpfNames::read_rules),
                                   std::pair("/fqdn.json", &BpfNames::read_learned)}) {
    const auto text = read_file(state_folder + file);
    if (!text) {
      x_trouble += (x_trouble.empty() ? "" : "; ") + text.error().text();
      continue;
    }
    try {
      (this->*read)(*text);
    } catch (const std::exception& error) { // Boost.JSON's checked accessors throw
      x_trouble += (x_trouble.empty() ? "" : "; ") + state_folder + file + ": " + error.what();
    }
  }
}

void BpfNames::read_identities(const std::string& text) {
  const json::value state = json::parse(text);
  for (const auto& [name, id] : state.at("endpoints").as_object()) {
    x_endpoints.emplace(id.to_number<std::uint32_t>(), name);
  }
  for (const auto& entry : state.at("identities").as_array()) {
    x_identities.emplace(entry.at("id").to_number<std::uint32_t>(),
                         labels_text(entry.at("labels").as_object()));
  }
  for (const auto& [prefix, id] : state.at("prefixes").as_object()) {
    x_identities.emplace(id.to_number<std::uint32_t>(), prefix);
  }
  for (const auto& entry : state.at("fqdn_groups").as_array()) {
    x_groups.emplace(std::pair(entry.at("endpoint").to_number<std::uint32_t>(),
                               entry.at("bit").to_number<unsigned>()),
                     text_of(entry.at("group")));
  }
}

void BpfNames::read_rules(const std::string& text) {
  const json::value state = json::parse(text);
  x_first_revision = state.at("first_revision").to_number<std::uint32_t>();
  for (const auto& entry : state.at("rules").as_array()) {
    x_rules.emplace(entry.at("number").to_number<std::uint32_t>(), text_of(entry.at("name")));
  }
}

void BpfNames::read_learned(const std::string& text) {
  const json::value state = json::parse(text);
  for (const auto& entry : state.at("entries").as_array()) {
    x_learned[{entry.at("endpoint").to_number<std::uint32_t>(), text_of(entry.at("address"))}]
        .push_back(text_of(entry.at("name")));
  }
}

std::string BpfNames::endpoint(std::uint32_t id) const {
  const auto found = x_endpoints.find(id);
  return found == x_endpoints.end() ? "endpoint " + std::to_string(id) : found->second;
}

std::string BpfNames::identity(std::uint32_t identity) const {
  if (const auto reserved = redirect::identity_name(identity); !reserved.empty()) {
    return std::string(reserved);
  }
  const auto found = x_identities.find(identity);
  return found == x_identities.end() ? std::to_string(identity) : found->second;
}

std::string BpfNames::rule(std::uint32_t number, std::uint32_t revision) const {
  // Revisions rise and wrap around.
  const bool known = static_cast<std::int32_t>(revision - x_first_revision) >= 0;
  const auto found = known ? x_rules.find(number) : x_rules.end();
  return found == x_rules.end() ? std::to_string(number) : found->second;
}

std::vector<std::string> BpfNames::groups(std::uint32_t endpoint, std::uint64_t bits) const {
  std::vector<std::string> names;
  for (unsigned bit = 0; bit < 64; ++bit) {
    if ((bits >> bit & 1U) != 0) {
      const auto found = x_groups.find({endpoint, bit});
      names.push_back(found == x_groups.end() ? "group " + std::to_string(bit) : found->second);
    }
  }
  return names;
}

std::vector<std::string> BpfNames::learned(std::uint32_t endpoint,
                                           const std::string& address) const {
  const auto found = x_learned.find({endpoint, address});
  return found == x_learned.end() ? std::vector<std::string>() : found->second;
}

} // namespace weir::ctl
