#include "policy-compiler/model/selector.h"

#include <algorithm>

namespace weir::policy {

bool LabelSelector::has_key_prefix(const std::string& prefix) const {
  return std::any_of(all.begin(), all.end(),
                     [&](const Requirement& one) { return one.key.starts_with(prefix); });
}

bool LabelSelector::has_key(const std::string& key) const {
  return std::any_of(all.begin(), all.end(),
                     [&](const Requirement& one) { return one.key == key; });
}

void LabelSelector::require(std::string key, Requirement::Op op, std::vector<std::string> values) {
  all.push_back({std::move(key), op, std::move(values)});
}

std::string LabelSelector::text() const {
  static constexpr const char* kOps[] = {" in ", " notin ", " exists", " !exists"};
  std::vector<std::string> parts;
  parts.reserve(all.size());
  for (const Requirement& one : all) {
    std::string part = one.key + kOps[static_cast<std::size_t>(one.op)];
    std::vector<std::string> values = one.values;
    std::sort(values.begin(), values.end());
    for (const std::string& value : values) {
      part += '"' + value + '"';
    }
    parts.push_back(std::move(part));
  }
  std::sort(parts.begin(), parts.end());
  std::string out = local_cluster ? "local " : "";
  for (const std::string& part : parts) {
    out += '{' + part + '}';
  }
  return out;
}

} // namespace weir::policy
