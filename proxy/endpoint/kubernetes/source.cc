#include "proxy/endpoint/kubernetes/source.h"

#include "proxy/base/checksum.h"

#include <algorithm>
#include <map>
#include <utility>

namespace weir::endpoint::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::int64_t kVersion = 1; // of the state file

struct KindPath {
  const char *api_version, *kind, *path;
};
// Kinds of which a cluster may lack some. CIDR groups were v2alpha1 before they were v2, with the
// same content: the later line wins where both are served.
constexpr KindPath kPolicyKinds[] = {
    {"networking.k8s.io/v1", "NetworkPolicy", "/apis/networking.k8s.io/v1/networkpolicies"},
    {"cilium.io/v2", "CiliumNetworkPolicy", "/apis/cilium.io/v2/ciliumnetworkpolicies"},
    {"cilium.io/v2", "CiliumClusterwideNetworkPolicy",
     "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"},
    {"cilium.io/v2", "CiliumCIDRGroup", "/apis/cilium.io/v2alpha1/ciliumcidrgroups"},
    {"cilium.io/v2", "CiliumCIDRGroup", "/apis/cilium.io/v2/ciliumcidrgroups"},
};

json::object parsed_object(const std::string& text) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(text, failed);
  const auto* object = failed ? nullptr : parsed.if_object();
  return object == nullptr ? json::object() : *object;
}

} // namespace

Source::Source(boost::asio::io_context& context, Options options, std::function<void()> changed)
    : x_context(context), x_options(std::move(options)), x_changed(std::move(changed)),
      x_client(context, x_options.kubeconfig),
      x_pods(read_pod, write_pod, [this] { note_change(); }),
      x_namespaces(labels_of, write_labels, [this] { note_change(); }),
      x_services(read_service, write_service, [this] { note_change(); }),
      x_old_slices(read_slice, write_slice, [this] { note_change(); }),
      x_slices(read_slice, write_slice, [this] { note_change(); }),
      x_nodes(read_node, write_node, [this] { note_change(); }),
      x_pod_specs({x_options.node, x_options.mark_local, x_options.ignore_labels}),
      x_service_specs(x_options.node), x_gather(context), x_gate(context) {
  follow("/api/v1/pods", x_pods);
  follow("/api/v1/namespaces", x_namespaces);
  follow("/api/v1/services", x_services);
  follow("/apis/discovery.k8s.io/v1beta1/endpointslices", x_old_slices);
  follow("/apis/discovery.k8s.io/v1/endpointslices", x_slices);
  follow("/api/v1/nodes", x_nodes);
  follow_policies();
}

void Source::follow_policies() {
  for (const auto& [api_version, kind, path] : kPolicyKinds) {
    auto texts = std::make_unique<Collection<std::string>>(
        [api = std::string(api_version), name = std::string(kind)](const json::object& object) {
          return policy_text(object, api, name);
        },
        [](const std::string& /*key*/, const std::string& text) { return parsed_object(text); },
        [this] {
          ++x_policy_changes;
          note_change();
        });
    follow(path, *texts);
    x_policy_kinds.push_back({kind, std::move(texts)});
  }
}

template <typename T>
void Source::follow(std::string path, Collection<T>& collection) {
  x_reflectors.push_back(std::make_unique<Reflector>(x_context, x_client, path, collection,
                                                     x_options.absent_for_good));
  x_kinds.push_back(
      {.path = std::move(path),
       .known = [&collection] { return collection.known(); },
       .serializer =
           [&collection] {
             return [items = collection.items(), write = collection.write()] {
               return Collection<T>::serialize(items, write);
             };
           },
       .restore = [&collection](const json::array& items) { collection.restore(items); }});
}

void Source::start() {
  for (const auto& reflector : x_reflectors) {
    x_gate.spawn(reflector->run());
  }
}

void Source::stop() {
  x_changed = [] {};
  x_gather.cancel();
  x_gate.close();
  while (x_gate.running() > 0) {
    x_context.restart();
    x_context.run_one();
  }
}

// The first change waits for those that come with it, never for longer.
void Source::note_change() {
  ++x_changes;
  if (!known() || std::exchange(x_pending, true)) {
    return;
  }
  x_gather.expires_after(kGather);
  x_gather.async_wait([this](boost::system::error_code failed) {
    x_pending = false;
    if (!failed) {
      x_changed();
    }
  });
}

bool Source::known() const {
  return std::all_of(x_kinds.begin(), x_kinds.end(), [](const Kind& kind) { return kind.known(); });
}

std::string Source::trouble() const {
  for (const auto& reflector : x_reflectors) {
    if (!reflector->trouble().empty()) {
      return "kubernetes: " + reflector->trouble();
    }
  }
  for (const auto& reflector : x_reflectors) {
    if (!reflector->synced()) {
      return "kubernetes: " + reflector->path() + " is not listed yet";
    }
  }
  return "";
}

std::chrono::seconds Source::staleness() const {
  const auto now = std::chrono::steady_clock::now();
  auto oldest = now;
  for (const auto& reflector : x_reflectors) {
    oldest = std::min(oldest, std::max(x_started, reflector->last_contact()));
  }
  return std::chrono::duration_cast<std::chrono::seconds>(now - oldest);
}

ClusterSpec Source::cluster() {
  ClusterSpec cluster;
  cluster.pods = x_pod_specs.update(x_pods.items());
  cluster.namespaces = x_namespaces.items();
  cluster.services =
      x_service_specs.update(x_services.items(), x_old_slices.items(), x_slices.items());
  cluster.api_servers = x_service_specs.api_servers();
  std::map<std::string, const NodeSpec*> nodes; // in an order that is always the same
  x_nodes.items().for_each(
      [&](const std::string& name, const auto& node) { nodes.emplace(name, node.get()); });
  for (const auto& [name, node] : nodes) {
    cluster.nodes.push_back(*node);
  }
  return cluster;
}

std::map<std::string, std::string> Source::policies() const {
  std::map<std::string, std::string> texts;
  for (const auto& kind : x_policy_kinds) {
    kind.texts->items().for_each(
        [&](const std::string& key, const auto& text) { texts[kind.kind + "/" + key] = *text; });
  }
  return texts;
}

std::function<std::string()> Source::serializer() const {
  std::vector<std::pair<std::string, std::function<json::array()>>> kinds;
  for (const Kind& kind : x_kinds) {
    if (kind.known()) {
      kinds.emplace_back(kind.path, kind.serializer());
    }
  }
  return [kinds = std::move(kinds)] {
    json::object all;
    for (const auto& [path, serialize] : kinds) {
      all[path] = serialize();
    }
    const std::string body = json::serialize(all);
    return R"({"version":)" + std::to_string(kVersion) + R"(,"checksum":")" + checksum(body) +
           R"(","kinds":)" + body + "}";
  };
}

Result<void> Source::restore(const std::string& text) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(text, failed);
  const auto* root = failed ? nullptr : parsed.if_object();
  const auto* version = root == nullptr ? nullptr : root->if_contains("version");
  const auto* sum = root == nullptr ? nullptr : root->if_contains("checksum");
  const auto* kinds = root == nullptr ? nullptr : root->if_contains("kinds");
  if (version == nullptr || *version != kVersion || kinds == nullptr || !kinds->is_object()) {
    return invalid_error("kubernetes: the last known cluster is not readable");
  }
  if (sum == nullptr || *sum != json::string(checksum(json::serialize(*kinds)))) {
    return invalid_error("kubernetes: the last known cluster's checksum does not match");
  }
  for (const Kind& kind : x_kinds) {
    const auto* items = kinds->get_object().if_contains(kind.path);
    if (const auto* array = items == nullptr ? nullptr : items->if_array()) {
      kind.restore(*array);
    }
  }
  return {};
}

} // namespace weir::endpoint::kubernetes
