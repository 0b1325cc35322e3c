// A node of a cluster: the lab's node and pods, a real API server on the node's loopback, and the
// objects that say what the pods are.
#pragma once

#include "test/support/kube_api.h"
#include "test/support/lab.h"

#include <boost/json/value_to.hpp>

#include <string>

namespace weir::test {

inline const std::string kPolicies = "/apis/cilium.io/v2/namespaces/shop/ciliumnetworkpolicies";
inline const std::string kPods = "/api/v1/namespaces/shop/pods";

struct Cluster {
  Lab lab;
  KubeApi api{lab.node(), lab.folder() / "kube"};
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);

  // `more`: further keys of weir.yaml's section.
  explicit Cluster(const std::string& more = {}) {
    for (const char* name : {"shop", "kube-system"}) {
      if (api.ask("GET", std::string("/api/v1/namespaces/") + name).status == 404) {
        api.make_namespace(name, {});
      }
    }
    api.must("POST", "/api/v1/nodes", R"({"metadata":{"name":"node-a"}})");
    api.must("PATCH", "/api/v1/nodes/node-a/status",
             R"({"status":{"addresses":[{"type":"InternalIP","address":"172.31.0.1"}]}})");
    add(client);
    add(web);
    lab.use_kubernetes(api.kubeconfig(), more);
  }

  void add(const Pod& pod) {
    api.make_pod(pod.spec().pod_namespace, pod.spec().name, pod.spec().labels, "node-a",
                 {pod.address(Family::kV4), pod.address(Family::kV6)});
  }
  void relabel(const Pod& pod, const std::string& app) {
    api.must("PATCH", kPods + "/" + pod.spec().name,
             R"({"metadata":{"labels":{"app":")" + app + R"("}}})");
  }

  // What the client gets from the web pod: an HTTP status, or 0.
  [[nodiscard]] int get(const std::string& path, const char* limit = "1") const {
    return client.curl({"--max-time", limit, "http://" + web.address(Family::kV4) + path}).status;
  }
  [[nodiscard]] bool becomes(const std::string& path, int status) const {
    return eventually([&] { return get(path) == status; }, std::chrono::seconds(25));
  }
  [[nodiscard]] std::string state_of(const std::string& pod) {
    const boost::json::value rows = lab.admin_json("/endpoints");
    for (const auto& row : rows.as_array()) {
      if (boost::json::value_to<std::string>(row.at("name")) == pod) {
        return boost::json::value_to<std::string>(row.at("state"));
      }
    }
    return "";
  }
  [[nodiscard]] std::string ready() {
    const auto reply = lab.admin("/ready");
    return reply ? std::to_string(reply->status) + " " + reply->body : "";
  }
};

} // namespace weir::test
