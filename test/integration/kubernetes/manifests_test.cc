// What examples/kubernetes holds, tried at a real API server without storing it: every object is
// taken, and no field of it is one that the server does not know and silently leaves out.
#include "test/support/kube_api.h"
#include "test/support/lab.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>

namespace weir::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

const fs::path kManifests = WEIR_EXAMPLES "/kubernetes";

std::string scalar_text(const json::value& value) {
  return value.is_string() ? json::value_to<std::string>(value) : json::serialize(value);
}

// Paths of what the manifest says and the object does not, or says otherwise.
void add_missing(const YAML::Node& said, const json::value* stored, const std::string& path,
                 std::vector<std::string>& missing) {
  const bool empty = (said.IsMap() || said.IsSequence()) && said.size() == 0;
  if (empty) {
    return; // `data: {}`: left out is the same
  }
  if (said.IsMap() && stored != nullptr && stored->is_object()) {
    for (const auto& member : said) {
      const auto key = member.first.as<std::string>();
      add_missing(member.second, stored->get_object().if_contains(key), path + "/" + key, missing);
    }
  } else if (said.IsSequence() && stored != nullptr && stored->is_array()) {
    for (std::size_t i = 0; i < said.size(); ++i) {
      add_missing(said[i], stored->get_array().if_contains(i), path + "/" + std::to_string(i),
                  missing);
    }
  } else if (!said.IsScalar() || stored == nullptr || scalar_text(*stored) != said.Scalar()) {
    missing.push_back(path);
  }
}

std::string plural_of(const std::string& kind) {
  static const std::map<std::string, std::string> kPlurals = {
      {"Namespace", "namespaces"},
      {"ServiceAccount", "serviceaccounts"},
      {"ConfigMap", "configmaps"},
      {"Service", "services"},
      {"DaemonSet", "daemonsets"},
      {"ClusterRole", "clusterroles"},
      {"ClusterRoleBinding", "clusterrolebindings"},
      {"CustomResourceDefinition", "customresourcedefinitions"}};
  return kPlurals.at(kind);
}

// Where objects like this one are made.
std::string collection_of(const YAML::Node& object) {
  const auto version = object["apiVersion"].as<std::string>();
  const auto space = object["metadata"]["namespace"].as<std::string>("");
  return (version == "v1" ? "/api/v1" : "/apis/" + version) +
         (space.empty() ? "" : "/namespaces/" + space) + "/" +
         plural_of(object["kind"].as<std::string>());
}

struct Manifest {
  std::string text;
  YAML::Node object;
};

std::vector<Manifest> manifests_of(const fs::path& kustomization) {
  std::vector<Manifest> manifests;
  const YAML::Node list = YAML::LoadFile(kustomization / "kustomization.yaml");
  for (const auto& resource : list["resources"]) {
    const std::string text = read_file(kustomization / resource.as<std::string>());
    for (std::size_t begin = 0; begin < text.size();) {
      const auto end = std::min(text.find("\n---\n", begin), text.size());
      const std::string document = text.substr(begin, end - begin) + "\n";
      manifests.push_back({document, YAML::Load(document)});
      begin = end + 5;
    }
  }
  return manifests;
}

json::value as_json(const YAML::Node& node) {
  if (node.IsMap()) {
    json::object object;
    for (const auto& member : node) {
      object[member.first.as<std::string>()] = as_json(member.second);
    }
    return object;
  }
  if (node.IsSequence()) {
    json::array array;
    for (const auto& item : node) {
      array.push_back(as_json(item));
    }
    return array;
  }
  return json::value(json::string(node.Scalar()));
}

TEST_CASE("the manifests are taken by a real API server, with every field they have") {
  require_kube_api();
  const NetNs where;
  const TempFolder folder;
  const KubeApi api(where, folder.path());
  for (const char* name : {"base", "crds"}) {
    for (const auto& [text, object] : manifests_of(kManifests / name)) {
      INFO(text);
      // The lab has made some of them; what is there is checked as what would replace it.
      const std::string where_to = collection_of(object);
      const auto own = where_to + "/" + object["metadata"]["name"].as<std::string>();
      const bool there = api.ask("GET", own).status == 200;
      const auto answer =
          there ? api.ask("PATCH", own + "?dryRun=All&fieldManager=weir-test&force=true", text)
                : api.ask("POST", where_to + "?dryRun=All", text);
      INFO(answer.body);
      REQUIRE(answer.status / 100 == 2);
      std::vector<std::string> missing;
      const auto stored = answer.json();
      add_missing(object, &stored, "", missing);
      CHECK(missing == std::vector<std::string>());
    }
  }

  // The overlays change the DaemonSet by patches.
  for (const auto& [text, object] : manifests_of(kManifests / "base")) {
    if (object["kind"].as<std::string>() == "DaemonSet") {
      api.must("POST", collection_of(object), text);
    }
  }
  for (const char* name : {"kind", "k3s", "cri-o"}) {
    const YAML::Node overlay = YAML::LoadFile(kManifests / name / "kustomization.yaml");
    REQUIRE(overlay["patches"].size() == 1);
    const YAML::Node steps = YAML::Load(overlay["patches"][0]["patch"].as<std::string>());
    const auto answer =
        api.ask("JSON-PATCH", "/apis/apps/v1/namespaces/weir/daemonsets/weir?dryRun=All",
                json::serialize(as_json(steps)));
    INFO(answer.body);
    CHECK(answer.status == 200);
    const auto stored = answer.json();
    for (const auto& step : steps) {
      std::vector<std::string> missing;
      boost::system::error_code none;
      const auto* at = stored.find_pointer(step["path"].as<std::string>(), none);
      add_missing(step["value"], at, step["path"].as<std::string>(), missing);
      CHECK(missing == std::vector<std::string>());
    }
  }
}

} // namespace
} // namespace weir::test
