#include "proxy/endpoint/kubernetes/access.h"

#include "proxy/base/file.h"

#include <yaml-cpp/yaml.h>

#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace weir::endpoint::kubernetes {
namespace {

constexpr std::size_t kMaxFile = 1u << 20;
constexpr std::string_view kAccount = "/var/run/secrets/kubernetes.io/serviceaccount/";

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \r\n\t") + 1);
  return text;
}

Result<Access> in_cluster() {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr) {
    return invalid_error("kubernetes: not in a pod (KUBERNETES_SERVICE_HOST is not set); name a "
                         "`kubeconfig`");
  }
  Access access;
  access.host = host;
  access.port = port;
  auto ca = read_file(std::string(kAccount) + "ca.crt", kMaxFile);
  if (!ca) {
    return ca.error();
  }
  auto token = read_file(std::string(kAccount) + "token", kMaxFile);
  if (!token) {
    return token.error();
  }
  access.ca = std::move(*ca);
  access.token = trimmed(std::move(*token));
  return access;
}

// "https://host:port"; a path behind it is refused: no API server of a cluster has one.
Result<void> read_server(const std::string& url, Access& access) {
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    access.tls = false;
  } else {
    return invalid_error("kubeconfig: `server` is no http(s) address: " + url);
  }
  if (rest.ends_with('/')) {
    rest.remove_suffix(1);
  }
  const auto colon = rest.rfind(':');
  const auto bracket = rest.rfind(']');
  access.port = access.tls ? "443" : "80";
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    access.port = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) {
    rest = rest.substr(1, rest.size() - 2);
  }
  access.host = rest;
  const bool digits = std::all_of(access.port.begin(), access.port.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
  if (access.host.empty() || access.port.empty() || !digits ||
      access.host.find_first_of("/?#@ \r\n") != std::string::npos) {
    return invalid_error("kubeconfig: `server` is not understood: " + url);
  }
  return {};
}

YAML::Node named(const YAML::Node& list, const std::string& name, const char* kind) {
  for (const auto& item : list) {
    if (item["name"].as<std::string>("") == name) {
      return item[kind];
    }
  }
  throw YAML::Exception(YAML::Mark::null_mark(), std::string("no ") + kind + " `" + name + "`");
}

std::string decoded(const std::string& base64) {
  std::string bytes(base64.size() / 4 * 3 + 3, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(base64.data()),
                                     static_cast<int>(base64.size()));
  if (length < 0) {
    throw YAML::Exception(YAML::Mark::null_mark(), "broken base64");
  }
  bytes.resize(static_cast<std::size_t>(length));
  return bytes.substr(0, bytes.find_last_not_of('\0') + 1); // PEM ends with no NUL
}

// FIELD names a file, relative to the kubeconfig; FIELD-data holds the content.
std::string content(const YAML::Node& owner, const std::string& field,
                    const std::filesystem::path& folder) {
  if (owner[field + "-data"]) {
    return decoded(owner[field + "-data"].as<std::string>());
  }
  if (!owner[field]) {
    return "";
  }
  auto text = read_file((folder / owner[field].as<std::string>()).string(), kMaxFile);
  if (!text) {
    throw YAML::Exception(YAML::Mark::null_mark(), text.error().text());
  }
  return std::move(*text);
}

Result<Access> from_kubeconfig(const std::string& path) {
  const auto text = read_file(path, kMaxFile);
  if (!text) {
    return text.error();
  }
  const auto folder = std::filesystem::path(path).parent_path();
  // yaml-cpp reports by throwing; the whole reading is one attempt.
  try {
    const YAML::Node root = YAML::Load(*text);
    const YAML::Node context =
        named(root["contexts"], root["current-context"].as<std::string>(), "context");
    const YAML::Node cluster =
        named(root["clusters"], context["cluster"].as<std::string>(), "cluster");
    const YAML::Node user = named(root["users"], context["user"].as<std::string>(), "user");
    if (cluster["insecure-skip-tls-verify"].as<bool>(false)) {
      return invalid_error(path + ": insecure-skip-tls-verify would let anybody give orders");
    }
    if (user["exec"] || user["auth-provider"]) {
      return invalid_error(path + ": exec and auth-provider are not supported; use a token or a "
                                  "certificate");
    }
    Access access;
    if (auto read = read_server(cluster["server"].as<std::string>(), access); !read) {
      return read.error();
    }
    access.ca = content(cluster, "certificate-authority", folder);
    access.certificate = content(user, "client-certificate", folder);
    access.key = content(user, "client-key", folder);
    access.token = user["token"].as<std::string>("");
    if (user["tokenFile"]) {
      auto token = read_file((folder / user["tokenFile"].as<std::string>()).string(), kMaxFile);
      if (!token) {
        return token.error();
      }
      access.token = trimmed(std::move(*token));
    }
    if (!access.tls && !access.token.empty()) {
      return invalid_error(path + ": a token is not sent over plain http");
    }
    return access;
  } catch (const YAML::Exception& error) {
    return invalid_error(path + ": " + error.what());
  }
}

} // namespace

Result<Access> read_access(const std::string& kubeconfig) {
  auto access = kubeconfig.empty() ? in_cluster() : from_kubeconfig(kubeconfig);
  if (access && access->token.find_first_of("\r\n") != std::string::npos) {
    return invalid_error("kubernetes: the token has more than one line");
  }
  return access;
}

} // namespace weir::endpoint::kubernetes
