#include "proxy/control/secret_store.h"

#include "proxy/base/file.h"
#include "proxy/http/ascii.h"
#include "proxy/tls/secret_context.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace weir::control {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMaxItem = 1u << 20; // as much as Kubernetes lets a secret hold

// Names of Kubernetes objects (RFC 1123 subdomains): also what keeps a policy from naming a path.
bool is_object_name(const std::string& name) {
  return !name.empty() && name.size() <= 253 && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](char byte) {
           return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
                  byte == '.';
         });
}

// Items are files; a mount's own bookkeeping ("..data", "..2026_…") begins with a dot.
std::vector<std::string> items_in(const std::string& folder, std::error_code& failed) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename().string();
    std::error_code ignored;
    if (!name.starts_with('.') && entry.is_regular_file(ignored)) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What the folder's files look like from outside: another text means another content.
std::string signature_of(const std::string& folder) {
  std::error_code failed;
  std::string text;
  for (const std::string& name : items_in(folder, failed)) {
    struct stat status{};
    if (::stat((folder + "/" + name).c_str(), &status) == 0) {
      for (const auto number :
           {static_cast<std::int64_t>(status.st_dev), static_cast<std::int64_t>(status.st_ino),
            static_cast<std::int64_t>(status.st_size),
            static_cast<std::int64_t>(status.st_mtim.tv_sec),
            static_cast<std::int64_t>(status.st_mtim.tv_nsec),
            static_cast<std::int64_t>(status.st_ctim.tv_nsec)}) {
        text += std::to_string(number) + ' ';
      }
    }
    text += name + '\n';
  }
  return failed ? std::string("unreadable") : text;
}

std::string_view purpose_name(policy::SecretUse::Purpose purpose) {
  switch (purpose) {
  case policy::SecretUse::Purpose::kTerminating:
    return "terminatingTLS";
  case policy::SecretUse::Purpose::kOriginating:
    return "originatingTLS";
  case policy::SecretUse::Purpose::kHeader:
    break;
  }
  return "headerMatches";
}

// The only item's text, where it can be a field's value (RFC 9110 §5.5).
Result<std::string> header_value(const Secret& secret) {
  if (secret.items.size() != 1) {
    return invalid_error("must have exactly one item, has " + std::to_string(secret.items.size()));
  }
  const std::string& text = secret.items.begin()->second;
  if (text.empty()) {
    return invalid_error("is empty");
  }
  if (!http::all(http::kValueByte, text) || http::trim(text).size() != text.size()) {
    return invalid_error("is no header's value: it has a line end, a control character, or a "
                         "space at an end");
  }
  return text;
}

} // namespace

SecretStore::SecretStore(std::string directory) : x_directory(std::move(directory)) {}

std::string SecretStore::folder_of(const policy::SecretRef& secret) const {
  return x_directory + "/" + secret.secret_namespace + "/" + secret.name;
}

Result<Secret> SecretStore::read(const policy::SecretRef& secret) const {
  if (!is_object_name(secret.secret_namespace) || !is_object_name(secret.name)) {
    return invalid_error("no name of a secret");
  }
  const std::string folder = folder_of(secret);
  std::error_code failed;
  const std::vector<std::string> names = items_in(folder, failed);
  if (failed) {
    return Error{failed, "read folder " + folder};
  }
  Secret out;
  for (const std::string& name : names) {
    auto text = read_file(folder + "/" + name, kMaxItem);
    if (!text) {
      return text.error();
    }
    out.items.emplace(name, std::move(*text));
  }
  return out;
}

void SecretStore::load(const std::vector<std::shared_ptr<const policy::Policy>>& policies) {
  x_wanted.clear();
  for (const auto& policy : policies) {
    for (const policy::SecretUse& use : policy::secrets_of(*policy)) {
      x_wanted.insert(use.context.secret);
    }
  }
  x_failures.clear();
  x_signature.clear();
  auto next = std::make_shared<SecretSet>();
  for (const policy::SecretRef& wanted : x_wanted) {
    const std::string name = wanted.full_name();
    // Taken first: a change while it is read shows at the next look.
    x_signature.emplace(folder_of(wanted), signature_of(folder_of(wanted)));
    auto secret = read(wanted);
    if (!secret) {
      x_failures.emplace(name, secret.error().text());
      continue;
    }
    const auto before = x_secrets->find(name);
    const bool same = before != x_secrets->end() && before->second->items == secret->items;
    next->emplace(name, same ? before->second : std::make_shared<const Secret>(std::move(*secret)));
  }
  if (*next != *x_secrets) {
    x_secrets = std::move(next);
  }
}

bool SecretStore::changed() const {
  return std::any_of(x_signature.begin(), x_signature.end(),
                     [](const auto& one) { return signature_of(one.first) != one.second; });
}

std::map<std::string, std::string> SecretStore::header_values() const {
  std::map<std::string, std::string> values;
  for (const auto& [name, secret] : *x_secrets) {
    if (auto value = header_value(*secret)) {
      values.emplace(name, std::move(*value));
    }
  }
  return values;
}

Result<void> SecretStore::check(const policy::SecretUse& use) const {
  const auto failure = x_failures.find(use.context.secret.full_name());
  if (failure != x_failures.end()) {
    return invalid_error(failure->second);
  }
  const auto found = x_secrets->find(use.context.secret.full_name());
  if (found == x_secrets->end()) {
    return invalid_error("not read yet");
  }
  const Secret& secret = *found->second;
  if (use.purpose == policy::SecretUse::Purpose::kHeader) {
    const auto value = header_value(secret);
    return value ? Result<void>() : Result<void>(value.error());
  }
  const auto made = use.purpose == policy::SecretUse::Purpose::kTerminating
                        ? tls::terminating_context(use.context, secret)
                        : tls::originating_context(use.context, secret);
  return made ? Result<void>() : Result<void>(made.error());
}

std::string SecretStore::problems_of(const policy::Policy& policy) const {
  std::string text;
  for (const policy::SecretUse& use : policy::secrets_of(policy)) {
    if (const auto good = check(use); !good) {
      text += (text.empty() ? "" : "\n") + std::string(purpose_name(use.purpose)) + ": secret " +
              use.context.secret.full_name() + ": " + good.error().text() +
              "; what needs it allows nothing";
    }
  }
  return text;
}

} // namespace weir::control
