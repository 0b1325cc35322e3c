#include "proxy/ctl/policy_node.h"

#include "proxy/base/file.h"
#include "proxy/ctl/policy_files.h"
#include "proxy/ctl/table.h"
#include "proxy/endpoint/cluster_input.h"
#include "proxy/endpoint/file_source.h"
#include "proxy/endpoint/pods.h"

#include <cstdio>

namespace weir::ctl {
namespace {

Result<void> read_policies(const std::vector<std::string>& policies, PolicyNode& node) {
  const auto files = policy_files(policies);
  if (!files) {
    return files.error();
  }
  for (const auto& file : *files) {
    const auto text = read_file(file);
    if (!text) {
      return text.error();
    }
    for (auto& document : policy::parse_policies(file, *text)) {
      if (document.policy) {
        node.input.policies.push_back(std::move(document.policy));
      }
      for (const auto& one : document.diagnostics) {
        if (one.severity == policy::Severity::kError) {
          std::fprintf(stderr, "%s\n", printable(one.text()).c_str());
          node.refused += 1;
        }
      }
    }
  }
  return {};
}

} // namespace

Result<std::vector<policy::Program::Prefix>>
read_cluster(const std::string& file, const std::string& node_name, PolicyNode& node) {
  const auto text = read_file(file);
  if (!text) {
    return text.error();
  }
  const auto loaded = endpoint::parse_cluster(file, *text);
  if (!loaded.cluster) {
    std::string errors;
    for (const auto& error : loaded.errors) {
      errors += (errors.empty() ? "" : "\n") + error.text();
    }
    return invalid_error(errors);
  }
  node.pods.update(loaded.cluster->pods, loaded.cluster->namespaces);
  node.pods.add_to(node.input);
  return endpoint::node_prefixes(*loaded.cluster, node_name);
}

Result<void> load_policy_node(const std::vector<std::string>& policies,
                              const std::string& endpoints, const std::string& node_name,
                              PolicyNode& node) {
  if (auto read = read_policies(policies, node); !read) {
    return read.error();
  }
  auto prefixes = read_cluster(endpoints, node_name, node);
  if (!prefixes) {
    return prefixes.error();
  }
  node.compiled = policy::compile(node.input, node.numbers, node.numbers);
  const auto named = node.compiled.program->prefixes();
  prefixes->insert(prefixes->end(), named.begin(), named.end());
  node.registry = std::make_unique<endpoint::Registry>(
      node.pods.by_name(), node.pods.by_address(),
      std::make_shared<const endpoint::PrefixTable>(std::move(*prefixes)));
  return {};
}

} // namespace weir::ctl
