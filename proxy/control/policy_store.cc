#include "proxy/control/policy_store.h"

#include "policy-compiler/model/policy.h"
#include "proxy/base/file.h"

#include <boost/json.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace weir::control {
namespace fs = std::filesystem;
namespace json = boost::json;
namespace {

constexpr int kVersion = 1;
constexpr int kAttempts = 10;               // of reading a folder that is exchanged meanwhile
constexpr std::size_t kMaxFile = 10u << 20; // a policy file; a ConfigMap holds 1 MiB

using Documents = std::vector<policy::ParsedDocument>;
using DocumentKey = std::tuple<std::string, std::string, std::string>;

DocumentKey key_of(const policy::ParsedDocument& document) {
  return {document.kind, document.document_namespace, document.name};
}

bool has_error(const policy::ParsedDocument& document) {
  return std::any_of(document.diagnostics.begin(), document.diagnostics.end(),
                     [](const auto& d) { return d.severity == policy::Severity::kError; });
}

std::string message_of(const policy::ParsedDocument& document) {
  std::string message;
  for (const auto& diagnostic : document.diagnostics) {
    if (!message.empty()) {
      message += '\n';
    }
    message += diagnostic.text();
  }
  return message;
}

// A policy that speaks of nodes alone has no part that is enforced, though it is a valid one.
bool is_enforced(const policy::Policy& policy) {
  return policy.specs.empty() ||
         std::any_of(policy.specs.begin(), policy.specs.end(),
                     [](const policy::Spec& spec) { return !spec.host_policy; });
}

std::string status_of(const policy::ParsedDocument& document) {
  return document.policy == nullptr      ? "skipped"
         : is_enforced(*document.policy) ? "accepted"
                                         : "rejected";
}

// Names of objects have slashes, those of files never.
bool is_object(const std::string& name) { return name.find('/') != std::string::npos; }

bool is_policy_file(const fs::path& path) {
  const auto extension = path.extension();
  // A mounted ConfigMap's own bookkeeping ("..data", "..2026_…") begins with two dots.
  return (extension == ".yaml" || extension == ".yml") &&
         !path.filename().string().starts_with(".");
}

} // namespace

PolicyStore::PolicyStore(std::string directory) : x_directory(std::move(directory)) {}

void PolicyStore::use_objects(std::map<std::string, std::string> objects) {
  x_news_of_objects = true;
  x_objects = std::move(objects);
}

Result<void> PolicyStore::add_files(std::map<std::string, Result<std::string>>& texts) const {
  std::error_code failed;
  bool any = false;
  const auto read_all = [&](const std::string& folder, auto&& is_wanted) {
    for (const auto& entry : fs::directory_iterator(folder, failed)) {
      if (is_policy_file(entry.path()) && is_wanted(entry.path())) {
        const std::string name = entry.path().filename();
        texts.insert_or_assign(name, read_file(folder + "/" + name, kMaxFile));
        any = true;
      }
    }
  };
  // A mounted ConfigMap is exchanged as a whole by one rename of this link, and what it led to is
  // removed then. Its files have links of their own, which are made and removed one by one: by them
  // half of the old and half of the new would be read.
  const std::string link = x_directory + "/..data";
  for (int attempt = 1;; ++attempt) {
    std::error_code none;
    const fs::path mounted = fs::read_symlink(link, none);
    texts.clear();
    any = false;
    failed.clear();
    if (!mounted.empty()) {
      read_all((fs::path(x_directory) / mounted).string(), [](const fs::path&) { return true; });
    }
    if (!failed) {
      read_all(x_directory, [&](const fs::path& path) {
        std::error_code no_link;
        const fs::path target = fs::read_symlink(path, no_link);
        return mounted.empty() || target.empty() || *target.begin() != "..data";
      });
    }
    if (fs::read_symlink(link, none) == mounted) {
      break;
    }
    if (attempt == kAttempts) {
      return invalid_error("policies: " + x_directory + " is exchanged faster than it can be read");
    }
  }
  if (x_objects && failed == std::errc::no_such_file_or_directory) {
    // Not mounted at all is a choice; gone is an accident.
    const bool had_files = std::any_of(x_files.begin(), x_files.end(),
                                       [](const auto& file) { return !is_object(file.first); });
    if (!had_files) {
      return {};
    }
  }
  if (failed) {
    return Error{failed, "policies: read folder " + x_directory};
  }
  if (!any && !x_objects) {
    return invalid_error("policies: no *.yaml file in " + x_directory +
                         ", which is never taken for \"no policies\"");
  }
  return {};
}

// There may be many, while files are few. One that was refused is looked at again, as it may have
// been for the sake of another that is gone.
bool PolicyStore::must_look_at_objects() const {
  return !x_objects || x_news_of_objects ||
         std::any_of(x_files.begin(), x_files.end(), [](const auto& file) {
           return is_object(file.first) && !file.second.refused.empty();
         });
}

Result<void> PolicyStore::load() {
  std::map<std::string, Result<std::string>> texts;
  if (auto added = add_files(texts); !added) {
    return added.error();
  }
  const bool objects = must_look_at_objects();
  if (objects && x_objects) {
    for (const auto& [name, text] : *x_objects) {
      texts.insert_or_assign(name, text);
    }
  }
  x_news_of_objects = false;
  x_changes += std::erase_if(x_files, [&](const auto& file) {
    return (objects || !is_object(file.first)) && !texts.contains(file.first);
  });
  std::map<std::string, Version> changed;
  for (auto& [name, text] : texts) {
    File& file = x_files[name];
    file.refused.clear();
    file.read_error.clear();
    if (!text) {
      file.read_error = text.error().text();
    } else if (*text != file.good_text || file.in_force.empty()) {
      Version version{policy::parse_policies(name, *text), std::move(*text)};
      if (std::any_of(version.documents.begin(), version.documents.end(), has_error)) {
        file.refused = std::move(version.documents);
      } else {
        changed.emplace(name, std::move(version));
      }
    }
  }
  put_in_force(std::move(changed));
  x_loaded = true;
  return {};
}

// The same policy in two files: which of them is meant? The file that changed is at fault, so that
// an edit can never take away what another file holds; of two changed ones, the later by name.
void PolicyStore::put_in_force(std::map<std::string, Version> changed) {
  std::map<DocumentKey, std::string> owners;
  for (const auto& [name, file] : x_files) {
    if (!changed.contains(name)) {
      for (const auto& document : file.in_force) {
        owners.emplace(key_of(document), name);
      }
    }
  }
  for (auto& [name, version] : changed) {
    bool duplicate = false;
    for (auto& document : version.documents) {
      if (document.policy == nullptr) {
        continue;
      }
      const auto [owner, added] = owners.emplace(key_of(document), name);
      if (!added) {
        duplicate = true;
        document.diagnostics.push_back({policy::Severity::kError,
                                        {name, document.line, 1},
                                        document.kind + " `" + document.document_namespace + "/" +
                                            document.name + "` is defined in " +
                                            (owner->second == name ? "this file" : owner->second) +
                                            " already",
                                        "give it another name or remove one of the two",
                                        "duplicate-policy"});
      }
    }
    File& file = x_files[name];
    if (duplicate) {
      file.refused = std::move(version.documents);
    } else {
      file.in_force = std::move(version.documents);
      file.good_text = std::move(version.text);
      ++x_changes;
    }
  }
}

std::vector<std::shared_ptr<const policy::Policy>> PolicyStore::policies() const {
  std::vector<std::shared_ptr<const policy::Policy>> policies;
  for (const auto& [name, file] : x_files) {
    for (const auto& document : file.in_force) {
      if (document.policy != nullptr) {
        policies.push_back(document.policy);
      }
    }
  }
  return policies;
}

std::vector<admin::PolicyRow> PolicyStore::rows() const {
  std::vector<admin::PolicyRow> rows;
  for (const auto& [name, file] : x_files) {
    std::set<DocumentKey> refused;
    for (const auto& document : file.refused) {
      refused.insert(key_of(document));
      std::string message = has_error(document)
                                ? message_of(document)
                                : "not taken: another document of this file has an error";
      if (!file.in_force.empty()) {
        message += "\nthe last good version of " + name + " stays in force";
      }
      rows.push_back({document.kind, document.document_namespace, document.name, name, "rejected",
                      std::move(message)});
    }
    if (!file.read_error.empty()) {
      rows.push_back({"", "", "", name, "rejected", file.read_error});
    }
    for (const auto& document : file.in_force) {
      if (!refused.contains(key_of(document))) {
        rows.push_back({document.kind, document.document_namespace, document.name, name,
                        status_of(document), message_of(document)});
      }
    }
  }
  return rows;
}

std::size_t PolicyStore::rejected() const {
  std::size_t count = 0;
  for (const auto& [name, file] : x_files) {
    count += file.refused.size() + (file.read_error.empty() ? 0 : 1);
  }
  return count;
}

std::string PolicyStore::serialize() const {
  json::object files;
  for (const auto& [name, file] : x_files) {
    if (!file.good_text.empty()) {
      files[name] = file.good_text;
    }
  }
  return json::serialize(json::object{{"version", kVersion}, {"files", std::move(files)}});
}

Result<void> PolicyStore::restore(const std::string& serialized) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(serialized, failed);
  const json::object* root = failed ? nullptr : parsed.if_object();
  const json::value* version = root != nullptr ? root->if_contains("version") : nullptr;
  const json::value* files = root != nullptr ? root->if_contains("files") : nullptr;
  if (version == nullptr || *version != kVersion || files == nullptr || !files->is_object()) {
    return invalid_error("policies: the last good set is not readable");
  }
  std::map<std::string, Version> good;
  for (const auto& [name, content] : files->get_object()) {
    if (content.is_string()) {
      std::string text(content.get_string());
      auto documents = policy::parse_policies(std::string(name), text);
      good.emplace(name, Version{std::move(documents), std::move(text)});
    }
  }
  x_loaded = !good.empty();
  put_in_force(std::move(good));
  return {};
}

} // namespace weir::control
