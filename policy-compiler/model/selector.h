// Label selectors as policies write them, with every key made explicit: "any:app" where the text
// gave no source. Knows nothing of identities; sema/universe.h finds who is matched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir::policy {

// "key Op values". Requirements of one selector are all to be met.
struct Requirement {
  enum class Op : std::uint8_t { kIn, kNotIn, kExists, kDoesNotExist };

  std::string key; // "source:name"; source "any" stands for every source
  Op op = Op::kExists;
  std::vector<std::string> values; // kIn and kNotIn only

  friend bool operator==(const Requirement&, const Requirement&) = default;
};

struct LabelSelector {
  std::vector<Requirement> all;
  // Only what runs in this cluster, when the configuration says that peers are meant so. The
  // cluster's name is not known before compile().
  bool local_cluster = false;

  // Does some key begin so? "reserved:" is the common question.
  [[nodiscard]] bool has_key_prefix(const std::string& prefix) const;
  [[nodiscard]] bool has_key(const std::string& key) const;
  void require(std::string key, Requirement::Op op, std::vector<std::string> values = {});
  // Same text, same meaning: what two rules' selectors are compared by, as the language does.
  [[nodiscard]] std::string text() const;
};

namespace label {
inline const std::string kNamespace = "io.kubernetes.pod.namespace";
inline const std::string kNamespaceLabelPrefix = "io.cilium.k8s.namespace.labels.";
inline const std::string kCluster = "io.cilium.k8s.policy.cluster";
inline const std::string kServiceAccount = "io.cilium.k8s.policy.serviceaccount";
} // namespace label

} // namespace weir::policy
