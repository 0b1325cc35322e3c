// The policy folder: which files are in force, which were refused and why. Each file stands for
// itself: one that cannot be read or has an error in any of its documents leaves its last good
// version in force. A folder that is missing or holds no policy file never means "no policies",
// unless policies come from the Kubernetes API as well.
//
// Control thread only. Does not watch; FolderWatch (folder_watch.h) says when to call load().
#pragma once

#include "policy-compiler/compile.h"
#include "proxy/admin/model.h"
#include "proxy/base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::control {

class PolicyStore {
public:
  explicit PolicyStore(std::string directory);

  // Policies that are no files: text by a name with a slash, "CiliumNetworkPolicy/shop/api". Each
  // stands for itself as a file does. In force from the next load() on.
  void use_objects(std::map<std::string, std::string> objects);

  // Reads every *.yaml and *.yml, also through a ConfigMap's ..data link. An error: the folder as a
  // whole could not be used, and what was in force stays.
  Result<void> load();

  // True once some load() succeeded or a last good set was restored.
  [[nodiscard]] bool loaded() const { return x_loaded; }
  [[nodiscard]] std::vector<std::shared_ptr<const policy::Policy>> policies() const;
  // One row a document, refused ones included; names of files are relative to the folder. A policy
  // of which no part is enforced is told as rejected, though it is valid.
  [[nodiscard]] std::vector<admin::PolicyRow> rows() const;
  // Documents refused by the last load().
  [[nodiscard]] std::size_t rejected() const;

  // The last good version of each file, as JSON, for the state folder.
  [[nodiscard]] std::string serialize() const;
  // Rises when serialize() says something new.
  [[nodiscard]] std::uint64_t changes() const { return x_changes; }
  Result<void> restore(const std::string& serialized);

private:
  struct File {
    std::string good_text; // of the version in force; empty when there never was one
    std::vector<policy::ParsedDocument> in_force;
    std::vector<policy::ParsedDocument> refused; // the newest version, where that was refused
    std::string read_error;
  };
  struct Version {
    std::vector<policy::ParsedDocument> documents;
    std::string text;
  };
  Result<void> add_files(std::map<std::string, Result<std::string>>& texts) const;
  void put_in_force(std::map<std::string, Version> changed);
  [[nodiscard]] bool must_look_at_objects() const;

  std::string x_directory;
  std::optional<std::map<std::string, std::string>> x_objects;
  bool x_news_of_objects = false;      // that load() has not looked at
  std::map<std::string, File> x_files; // by name within the folder, or of the object
  bool x_loaded = false;
  std::uint64_t x_changes = 0;
};

} // namespace weir::control
