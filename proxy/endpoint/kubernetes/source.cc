#include "proxy/endpoint/kubernetes/source.h"

#include "proxy/base/log.h"
#include "proxy/endpoint/pod_interface.h"

#include <boost/asio/post.hpp>

#include <net/if.h>

#include <algorithm>
#include <utility>

namespace weir::endpoint::kubernetes {
namespace {

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

// Two pods with one address: the one on its way out has given it up, else the later one has it.
bool has_better_claim(const PodObject& a, const PodObject& b) {
  return std::pair(!a.terminating, std::string_view(a.created)) >
         std::pair(!b.terminating, std::string_view(b.created));
}

} // namespace

Source::Source(boost::asio::io_context& context, Options options, std::function<void()> changed)
    : x_context(context), x_options(std::move(options)), x_changed(std::move(changed)),
      x_client(context, x_options.kubeconfig), x_pods(read_pod, [this] { note_change(); }),
      x_namespaces(labels_of, [this] { note_change(); }),
      x_services(read_service, [this] { note_change(); }),
      x_nodes(read_node, [this] { note_change(); }), x_gather(context), x_clock(context),
      x_gate(context) {
  follow("/api/v1/pods", x_pods);
  follow("/api/v1/namespaces", x_namespaces);
  follow("/api/v1/services", x_services);
  follow("/api/v1/nodes", x_nodes);
  for (const auto& [api_version, kind, path] : kPolicyKinds) {
    auto texts = std::make_unique<Collection<std::string>>(
        [api = std::string(api_version), name = std::string(kind)](
            const boost::json::object& object) { return policy_text(object, api, name); },
        [this] { note_change(); });
    follow(path, *texts);
    x_policy_kinds.push_back({api_version, kind, path, std::move(texts)});
  }
}

void Source::follow(std::string path, Sink& sink) {
  x_reflectors.push_back(std::make_unique<Reflector>(x_context, x_client, std::move(path), sink));
}

void Source::start() {
  for (const auto& reflector : x_reflectors) {
    x_gate.spawn(reflector->run());
  }
  keep_time();
}

void Source::stop() {
  x_changed = [] {};
  x_gather.cancel();
  x_clock.cancel();
  // From within the loop: cancelled from outside, Asio queues the cancellation, and a coroutine
  // that ends before its turn leaves it pointing at nothing.
  boost::asio::post(x_context, [this] { x_gate.close(); });
  while (!x_gate.closed() || x_gate.running() > 0) {
    x_context.restart();
    x_context.run_one();
  }
}

// The first change waits for those that come with it, never for longer.
void Source::note_change() {
  if (!synced() || std::exchange(x_pending, true)) {
    return;
  }
  x_gather.expires_after(kGather);
  x_gather.async_wait([this](boost::system::error_code failed) {
    x_pending = false;
    if (!failed) {
      x_told = trouble();
      x_changed();
    }
  });
}

void Source::keep_time() {
  x_clock.expires_after(kLookAgain);
  x_clock.async_wait([this](boost::system::error_code failed) {
    if (failed) {
      return;
    }
    if (!x_unplaced.empty() || trouble() != x_told) {
      x_told = trouble();
      x_changed();
    }
    keep_time();
  });
}

bool Source::synced() const {
  return std::all_of(x_reflectors.begin(), x_reflectors.end(),
                     [](const auto& reflector) { return reflector->synced(); });
}

std::string Source::trouble() const {
  for (const auto& reflector : x_reflectors) {
    if (!reflector->trouble().empty()) {
      return "kubernetes: degraded: " + reflector->trouble();
    }
  }
  if (!x_unplaced.empty()) {
    return "kubernetes: degraded: no interface found of " + std::to_string(x_unplaced.size()) +
           " pods, which are not enforced: " + x_unplaced.front() +
           (x_unplaced.size() > 1 ? ", …" : "");
  }
  return synced() ? "" : "kubernetes: not everything is listed yet";
}

std::chrono::seconds Source::staleness() const {
  auto oldest = std::chrono::steady_clock::now();
  for (const auto& reflector : x_reflectors) {
    oldest = std::min(oldest, std::max(x_started, reflector->last_contact()));
  }
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() -
                                                          oldest);
}

ClusterSpec Source::cluster() {
  ClusterSpec cluster;
  add_pods(cluster);
  cluster.namespaces = x_namespaces.items();
  for (const auto& [key, service] : x_services.items()) {
    cluster.services.push_back(service);
  }
  for (const auto& [key, node] : x_nodes.items()) {
    cluster.nodes.push_back(node);
  }
  return cluster;
}

void Source::add_pods(ClusterSpec& cluster) {
  std::map<IpAddress, const PodObject*> owners;
  for (const auto& [key, pod] : x_pods.items()) {
    // A pod in the host's network has the node's address, and is the node to policy.
    if (pod.host_network || pod.ended) {
      continue;
    }
    for (const auto& address : pod.spec.addresses) {
      const auto [owner, added] = owners.emplace(address, &pod);
      if (!added && has_better_claim(pod, *owner->second)) {
        owner->second = &pod;
      }
    }
  }
  x_unplaced.clear();
  std::erase_if(x_places, [&](const auto& entry) { return !x_pods.items().contains(entry.first); });
  for (const auto& [key, pod] : x_pods.items()) {
    if (pod.host_network || pod.ended) {
      continue;
    }
    PodSpec spec = pod.spec;
    std::erase_if(spec.addresses,
                  [&](const auto& address) { return owners.find(address)->second != &pod; });
    if (pod.node == x_options.node && x_options.find_interfaces && !spec.addresses.empty()) {
      spec.interface = place(key, spec);
      if (spec.interface.empty()) {
        x_unplaced.push_back(key);
      }
    }
    cluster.pods.push_back(std::move(spec));
  }
}

std::string Source::place(const std::string& key, const PodSpec& pod) {
  Place& known = x_places[key];
  if (known.address == pod.addresses.front() && !known.interface.empty() &&
      ::if_nametoindex(known.interface.c_str()) != 0) {
    return known.interface;
  }
  known = {pod.addresses.front(), ""};
  for (const auto& address : pod.addresses) {
    auto found = pod_interface(address);
    if (!found) {
      log::error("{}", found.error().text());
    } else if (!found->empty()) {
      known.interface = std::move(*found);
      break;
    }
  }
  return known.interface;
}

std::map<std::string, std::string> Source::policies() const {
  std::map<std::string, std::string> texts;
  for (const auto& kind : x_policy_kinds) {
    for (const auto& [key, text] : kind.texts->items()) {
      texts[kind.kind + "/" + key] = text;
    }
  }
  return texts;
}

} // namespace weir::endpoint::kubernetes
