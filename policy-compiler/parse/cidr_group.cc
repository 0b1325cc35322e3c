// CiliumCIDRGroup: a named set of prefixes. The caller has read the metadata into it.
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"

#include <array>

namespace weir::policy {
namespace {} // namespace

void parse_cidr_group(DocumentLog& log, const YamlNode& root, Policy& policy) {
  ObjectReader top(log, root, "CiliumCIDRGroup", fields::kCidrGroup);
  const YamlNode* spec = top.find("spec");
  if (spec == nullptr) {
    log.error(root, "a CIDR group needs a `spec`", "", "missing-field");
    return;
  }
  ObjectReader reader(log, *spec, "`spec`", fields::kCidrGroupSpec);
  if (const NodeList* items = reader.list("externalCIDRs")) {
    for (const auto& item : *items) {
      // A mapped prefix would be nobody in an allow rule, yet somebody in a deny rule; which rules
      // use the group is not known here.
      if (const auto prefix = parse_prefix(log, *item, Action::kAllow)) {
        policy.cidr_group->prefixes.push_back(*prefix);
      }
    }
  }
}

} // namespace weir::policy
