#include "proxy/control/rule_names.h"

#include "policy-compiler/runtime/near_request.h"

#include <boost/json.hpp>

#include <filesystem>
#include <utility>

namespace weir::control {
namespace json = boost::json;
namespace {

constexpr int kVersion = 1;

std::string serialized(const policy::Program& program, std::uint32_t first_revision) {
  json::array rules;
  for (const policy::RuleRef* rule : program.rules()) {
    if (rule != nullptr) {
      rules.push_back({{"number", rule->number}, {"name", policy::rule_text(*rule)}});
    }
  }
  return json::serialize(json::object{
      {"version", kVersion}, {"first_revision", first_revision}, {"rules", std::move(rules)}});
}

} // namespace

RuleNames::RuleNames(boost::asio::io_context& context, std::string path)
    : x_writer(context, std::move(path), {}) {}

void RuleNames::forget() {
  std::error_code absent;
  std::filesystem::remove(x_writer.path(), absent);
}

void RuleNames::keep(std::shared_ptr<const policy::Program> program, std::uint32_t first_revision,
                     std::uint64_t changes) {
  if (changes == x_known_changes) {
    return;
  }
  x_known_changes = changes;
  x_first_revision = first_revision;
  x_unsaved = std::move(program);
  save();
}

void RuleNames::save() {
  if (x_unsaved != nullptr && x_writer.ready()) {
    x_writer.write([program = std::exchange(x_unsaved, nullptr), first = x_first_revision] {
      return serialized(*program, first);
    });
  }
}

void RuleNames::stop() {
  x_writer.stop();
  if (x_unsaved != nullptr) {
    x_writer.write_last([this] { return serialized(*x_unsaved, x_first_revision); });
  }
}

} // namespace weir::control
