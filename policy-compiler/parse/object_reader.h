// Reads one YAML map against the list of fields it may have. Every mistake becomes a Diagnostic
// and reading goes on, so that one run tells all of them. `null` counts as absent, as it does in
// Kubernetes' API.
#pragma once

#include "policy-compiler/diagnostic.h"
#include "policy-compiler/parse/fields.h"
#include "policy-compiler/parse/yaml_reader.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::policy {

// Where diagnostics of one document go. Lives as long as the document is being read.
class DocumentLog {
public:
  DocumentLog(std::string_view file, Diagnostics& out) : x_file(file), x_out(out) {}

  [[nodiscard]] Location at(const YamlNode& node) const {
    return {std::string(x_file), node.line, node.column};
  }
  void error(const YamlNode& node, std::string message, std::string hint, std::string code) {
    add(Severity::kError, at(node), std::move(message), std::move(hint), std::move(code));
  }
  void warning(const YamlNode& node, std::string message, std::string hint, std::string code) {
    add(Severity::kWarning, at(node), std::move(message), std::move(hint), std::move(code));
  }
  void note(const YamlNode& node, std::string message, std::string hint, std::string code) {
    add(Severity::kNote, at(node), std::move(message), std::move(hint), std::move(code));
  }
  void add(Severity severity, Location location, std::string message, std::string hint,
           std::string code);
  [[nodiscard]] bool has_errors() const { return x_errors > 0; }
  [[nodiscard]] const std::string& file() const { return x_file; }

private:
  std::string x_file;
  Diagnostics& x_out;
  std::size_t x_errors = 0;
};

using NodeList = std::vector<std::shared_ptr<const YamlNode>>;

class ObjectReader {
public:
  // Reports unknown fields at once. `what` names the map in messages: "an ingress rule". A node
  // that is no map is an error and reads as an empty one.
  ObjectReader(DocumentLog& log, const YamlNode& node, std::string_view what,
               const ObjectFields& fields);

  [[nodiscard]] const YamlNode& node() const { return x_node; }
  // Null when absent or `null`.
  [[nodiscard]] const YamlNode* find(std::string_view field) const;
  // Present with any value, `null` included.
  [[nodiscard]] bool mentions(std::string_view field) const;

  std::optional<std::string> text(std::string_view field);
  std::optional<bool> boolean(std::string_view field);
  std::optional<long long> number(std::string_view field);
  // Null when absent; an error and an empty list when it is something else.
  const NodeList* list(std::string_view field);
  // The list's texts.
  std::optional<std::vector<std::string>> texts(std::string_view field);
  // A map of texts; empty when absent.
  std::map<std::string, std::string> text_map(std::string_view field);

private:
  DocumentLog& x_log;
  const YamlNode& x_node;
  std::string x_what;
};

// A text where the node is one; otherwise an error that says what stands there.
std::optional<std::string> read_text(DocumentLog& log, const YamlNode& node, std::string_view what);

// An item without a value where `{}` would mean everything: an error, and true.
bool refuse_null_item(DocumentLog& log, const YamlNode& node, std::string_view what);

// The candidate nearest to a misspelt word, or nothing when none is near.
[[nodiscard]] std::optional<std::string_view>
nearest_word(std::string_view word, std::span<const std::string_view> candidates);

} // namespace weir::policy
