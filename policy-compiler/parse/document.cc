// From a file's text to its documents: which kind, which name, and off to that kind's parser.
#include "policy-compiler/compile.h"
#include "policy-compiler/model/policy.h"
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/parsers.h"
#include "policy-compiler/parse/yaml_reader.h"

#include <algorithm>
#include <array>

namespace weir::policy {
namespace {

constexpr std::array<std::string_view, 4> kKinds = {
    "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup", "NetworkPolicy"};
constexpr std::size_t kMaxNameBytes = 253;

const YamlNode* child(const YamlNode& map, std::string_view key) {
  for (const YamlNode::Entry& entry : map.entries) {
    if (entry.key == key) {
      return entry.value.get();
    }
  }
  return nullptr;
}

std::string text_of(const YamlNode* node) {
  return node != nullptr && node->is_string() ? node->scalar : std::string();
}

void parse_metadata(DocumentLog& log, const YamlNode& root, ParsedDocument& out, Policy& policy) {
  const YamlNode* node = child(root, "metadata");
  if (node == nullptr || node->kind == YamlNode::Kind::kNull) {
    log.error(root, out.kind + " needs `metadata` with a `name`", "", "missing-field");
    return;
  }
  ObjectReader reader(log, *node, "`metadata`", fields::kMetadata);
  out.name = reader.text("name").value_or("");
  if (out.name.empty()) {
    log.error(*node, out.kind + " needs a name", "add `metadata.name`", "missing-field");
  } else if (out.name.size() > kMaxNameBytes) {
    log.error(*node, "a name has at most 253 bytes", "", "name");
  }
  const std::string given = reader.text("namespace").value_or("");
  const bool namespaced = out.kind == "CiliumNetworkPolicy" || out.kind == "NetworkPolicy";
  if (namespaced) {
    out.document_namespace = given.empty() ? "default" : given;
  } else {
    out.document_namespace.clear();
    if (!given.empty()) {
      log.warning(*reader.find("namespace"), out.kind + " has no namespace", "remove it",
                  "namespace");
    }
  }
  if (out.kind == "CiliumCIDRGroup") {
    policy.cidr_group->labels = reader.text_map("labels");
  }
}

// One of two words: is it the first? Another value would mean less than its author thinks, or more.
struct Annotation {
  std::string_view name, yes, no, code;
};
constexpr Annotation kEnforcement{"weir.io/enforcement", "audit", "enforce", "enforcement"};
constexpr Annotation kBindFqdn{"weir.io/bind-fqdn", "true", "false", "bind-fqdn"};

bool parse_annotation(DocumentLog& log, const YamlNode& metadata, const Annotation& known) {
  const YamlNode* annotations = child(metadata, "annotations");
  const YamlNode* value = annotations != nullptr ? child(*annotations, known.name) : nullptr;
  if (value == nullptr || text_of(value) == known.no) {
    return false;
  }
  if (text_of(value) == known.yes) {
    return true;
  }
  const auto quoted = [](std::string_view text) { return "`" + std::string(text) + "`"; };
  log.error(*value, quoted(known.name) + " is " + quoted(known.yes) + " or " + quoted(known.no),
            value->is_string() ? "" : "write it in quotes: annotations are texts",
            std::string(known.code));
  return false;
}

bool binds_names(const Policy& policy) {
  return std::any_of(policy.specs.begin(), policy.specs.end(), [](const Spec& spec) {
    return std::any_of(spec.rules.begin(), spec.rules.end(),
                       [](const Rule& rule) { return rule.binds_names; });
  });
}

bool right_version(DocumentLog& log, const YamlNode& root, const std::string& kind, bool& skip) {
  const YamlNode* node = child(root, "apiVersion");
  const std::string version = text_of(node);
  const std::string group = version.substr(0, version.find('/'));
  const bool kubernetes = kind == "NetworkPolicy";
  if (kubernetes && version == "networking.k8s.io/v1") {
    return true;
  }
  if (!kubernetes && (version == "cilium.io/v2" ||
                      (kind == "CiliumCIDRGroup" && version == "cilium.io/v2alpha1"))) {
    return true;
  }
  if (kubernetes && !version.empty() && group != "networking.k8s.io" && group != "extensions") {
    skip = true; // somebody else's kind of the same name
    return false;
  }
  const std::string right = kubernetes ? "networking.k8s.io/v1" : "cilium.io/v2";
  log.error(node != nullptr ? *node : root,
            version.empty() ? kind + " needs an `apiVersion`"
                            : "unknown apiVersion `" + version + "` of " + kind,
            "write `" + right + "`", "api-version");
  return false;
}

void parse_document(const std::shared_ptr<const YamlNode>& root, ParsedDocument& out) {
  DocumentLog log(out.file, out.diagnostics);
  if (root->kind != YamlNode::Kind::kMap) {
    log.error(*root, std::string("a policy is a map, here stands ") + root->description(), "",
              "wrong-type");
    return;
  }
  const YamlNode* kind_node = child(*root, "kind");
  out.kind = text_of(kind_node);
  if (out.kind.empty()) {
    log.error(kind_node != nullptr ? *kind_node : *root, "a document needs a `kind`", "",
              "missing-field");
    return;
  }
  const YamlNode* metadata = child(*root, "metadata");
  if (metadata != nullptr) { // for kinds that are skipped, and for messages
    out.name = text_of(child(*metadata, "name"));
    out.document_namespace = text_of(child(*metadata, "namespace"));
  }
  bool skip = false;
  if (std::find(kKinds.begin(), kKinds.end(), out.kind) == kKinds.end()) {
    const std::string version = text_of(child(*root, "apiVersion"));
    const auto near = nearest_word(out.kind, kKinds);
    if (near && near->size() == out.kind.size() &&
        (version == "cilium.io/v2" || version == "networking.k8s.io/v1")) {
      log.error(*kind_node, "unknown kind `" + out.kind + "`",
                "did you mean `" + std::string(*near) + "`?", "unknown-kind");
      return;
    }
    skip = true;
  } else if (!right_version(log, *root, out.kind, skip) && !skip) {
    return;
  }
  if (skip) {
    log.note(*kind_node, "kind `" + out.kind + "` is no policy and is skipped", "", "skipped");
    return;
  }

  auto policy = std::make_shared<Policy>();
  if (out.kind == "CiliumCIDRGroup") {
    policy->cidr_group.emplace();
  }
  parse_metadata(log, *root, out, *policy);
  if (metadata != nullptr) {
    policy->audit = parse_annotation(log, *metadata, kEnforcement);
    policy->bind_fqdn = parse_annotation(log, *metadata, kBindFqdn);
  }
  policy->kind = out.kind;
  policy->policy_namespace = out.document_namespace;
  policy->name = out.name;
  policy->location = log.at(*root);
  if (out.kind == "CiliumCIDRGroup") {
    parse_cidr_group(log, *root, *policy);
  } else if (out.kind == "NetworkPolicy") {
    parse_network_policy(log, *root, *policy);
  } else {
    parse_cilium_policy(log, *root, *policy);
  }
  if (policy->bind_fqdn && !binds_names(*policy)) {
    log.warning(*root, "`weir.io/bind-fqdn`: no rule of this policy allows `toFQDNs`",
                "nothing is bound; remove the annotation", "bind-fqdn");
  }
  if (!log.has_errors()) {
    out.policy = std::move(policy);
  }
}

bool is_list(const YamlNode& root) {
  const std::string kind = text_of(child(root, "kind"));
  const YamlNode* items = child(root, "items");
  return kind.ends_with("List") && items != nullptr && items->kind == YamlNode::Kind::kSequence;
}

} // namespace

std::vector<ParsedDocument> parse_policies(std::string_view file, std::string_view text) {
  std::vector<ParsedDocument> out;
  const auto add = [&](const std::shared_ptr<const YamlNode>& root, int line,
                       Diagnostics diagnostics) {
    ParsedDocument document;
    document.file = file;
    document.line = line;
    const bool broken = std::any_of(diagnostics.begin(), diagnostics.end(), [](const auto& one) {
      return one.severity == Severity::kError;
    });
    document.diagnostics = std::move(diagnostics);
    if (root != nullptr) {
      parse_document(root, document);
    }
    if (broken) {
      document.policy.reset();
    }
    out.push_back(std::move(document));
  };
  for (YamlDocument& document : read_yaml(file, text)) {
    if (document.root == nullptr || !is_list(*document.root)) {
      add(document.root, document.line, std::move(document.diagnostics));
      continue;
    }
    // What is wrong with the list as such (a duplicate key somewhere in it) goes to every member.
    for (const auto& item : child(*document.root, "items")->items) {
      add(item, item->line, document.diagnostics);
    }
  }
  return out;
}

} // namespace weir::policy
