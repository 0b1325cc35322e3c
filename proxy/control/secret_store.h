// Reads the secrets that policies name, from a folder for each: DIRECTORY/NAMESPACE/NAME/ITEM, as
// a mount of the secret lays it out. Says which are missing or broken; what names such a secret
// allows nothing.
//
// Control thread.
#pragma once

#include "policy-compiler/model/secrets.h"
#include "proxy/base/result.h"
#include "proxy/base/secret_set.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weir::control {

class SecretStore {
public:
  explicit SecretStore(std::string directory);

  // Reads what the policies name, and forgets the rest.
  void load(const std::vector<std::shared_ptr<const policy::Policy>>& policies);
  // Something of it looks otherwise on disk than when it was read. Cheap: no file is opened.
  [[nodiscard]] bool changed() const;

  [[nodiscard]] const std::shared_ptr<const SecretSet>& secrets() const { return x_secrets; }
  // CompileInput::header_secrets
  [[nodiscard]] std::map<std::string, std::string> header_values() const;
  // What keeps the policy's rules from being in force, one line each; empty: nothing does.
  [[nodiscard]] std::string problems_of(const policy::Policy& policy) const;

private:
  [[nodiscard]] std::string folder_of(const policy::SecretRef& secret) const;
  [[nodiscard]] Result<Secret> read(const policy::SecretRef& secret) const;
  [[nodiscard]] Result<void> check(const policy::SecretUse& use) const;

  const std::string x_directory;
  std::set<policy::SecretRef> x_wanted;
  std::shared_ptr<const SecretSet> x_secrets = std::make_shared<SecretSet>();
  std::map<std::string, std::string> x_failures;  // by full name: why it cannot be read
  std::map<std::string, std::string> x_signature; // by folder, as it was when read
};

} // namespace weir::control
