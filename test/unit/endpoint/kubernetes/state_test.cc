// What a source knows, kept over a restart.
#include "proxy/endpoint/kubernetes/source.h"

#include "proxy/base/checksum.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::test {
namespace {

using namespace endpoint::kubernetes;

boost::json::object parse(const std::string& text) { return boost::json::parse(text).as_object(); }

const std::string kPod = R"({
  "metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web", "a/b": "\"x\""},
               "creationTimestamp": "2026-01-01T00:00:00Z"},
  "spec": {"nodeName": "node-a", "serviceAccountName": "seller",
           "containers": [{"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]},
  "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}})";
const std::string kService = R"({
  "metadata": {"namespace": "shop", "name": "web", "labels": {"app": "web"}},
  "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
           "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Local",
           "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90}},
           "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"},
                     {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"}]}})";
const std::string kSlice = R"({
  "metadata": {"namespace": "shop", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
  "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
  "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "node-a", "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "topology": {"kubernetes.io/hostname": "node-b"}},
                {"addresses": ["10.0.0.3"],
                 "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.0.0.4"], "conditions": {"ready": false}}]})";

// As it comes out of the file.
boost::json::object written(const boost::json::object& object) {
  return parse(boost::json::serialize(object));
}

TEST_CASE("what is written for the state folder reads as what was read from the server") {
  auto pod = read_pod(parse(kPod));
  for (const bool odd : {false, true}) {
    pod.host_network = pod.ended = pod.terminating = odd;
    CHECK(read_pod(written(write_pod("shop/web-1", pod))) == pod);
  }
  const auto service = read_service(parse(kService));
  CHECK(service.same_node);
  CHECK(service.spec.affinity == std::chrono::seconds(90));
  CHECK(read_service(written(write_service("shop/web", service))) == service);
  const auto slice = read_slice(parse(kSlice));
  CHECK(slice.service == "shop/web");
  CHECK(read_slice(written(write_slice("shop/web-x", slice))) == slice);
  const auto node = read_node(parse(
      R"({"metadata": {"name": "node-a"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}})"));
  CHECK(read_node(written(write_node("node-a", node))) == node);
  const endpoint::PlainLabels labels = {{"team", "blue"}};
  CHECK(labels_of(written(write_labels("shop", labels))) == labels);
}

Source::Options on_node(const std::string& name) {
  Source::Options options;
  options.node = name;
  return options;
}

std::string backends(const std::string& slices, const std::string& service) {
  boost::asio::io_context context;
  Source source(context, on_node("node-a"), [] {});
  const std::string kinds = R"({"/api/v1/pods":[)" + kPod + R"(],"/api/v1/services":[)" + service +
                            R"(],"/apis/discovery.k8s.io/v1/endpointslices":[)" + slices + "]}";
  // As a server's list would, only shorter: through a state file made by hand.
  const std::string body = boost::json::serialize(boost::json::parse(kinds));
  REQUIRE(
      source.restore(R"({"version":1,"checksum":")" + checksum(body) + R"(","kinds":)" + body + "}")
          .has_value());
  std::string text;
  const auto cluster = source.cluster();
  for (const auto& told : endpoint::in_order(cluster.services).at(0)->backends.value()) {
    for (const auto& address : told.addresses) {
      text += told.port + "=" + address.to_string() + " ";
    }
  }
  return text;
}

TEST_CASE("a service leads to what is ready, else to what still answers, and to this node if it "
          "says so") {
  std::string anywhere = kService;
  anywhere.replace(anywhere.find("Local"), 5, "Cluster");
  CHECK(backends(kSlice, anywhere) == "http=10.0.0.1:8080 http=10.0.0.2:8080 ");
  CHECK(backends(kSlice, kService) == "http=10.0.0.1:8080 ");
  const std::string ending = R"({
    "metadata": {"namespace": "shop", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
    "ports": [{"name": "http", "port": 8080}],
    "endpoints": [{"addresses": ["10.0.0.3"],
                   "conditions": {"ready": false, "serving": true, "terminating": true}},
                  {"addresses": ["10.0.0.4"], "conditions": {"ready": false}}]})";
  CHECK(backends(ending, anywhere) == "http=10.0.0.3:8080 ");
}

TEST_CASE("a source goes on with what an earlier process knew, until it is listed anew") {
  boost::asio::io_context context;
  Source source(context, on_node("node-a"), [] {});
  CHECK_FALSE(source.known());
  std::string kinds;
  for (const char* path :
       {"/api/v1/pods", "/api/v1/namespaces", "/api/v1/services",
        "/apis/discovery.k8s.io/v1beta1/endpointslices", "/apis/discovery.k8s.io/v1/endpointslices",
        "/api/v1/nodes", "/apis/networking.k8s.io/v1/networkpolicies",
        "/apis/cilium.io/v2/ciliumnetworkpolicies",
        "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
        "/apis/cilium.io/v2alpha1/ciliumcidrgroups", "/apis/cilium.io/v2/ciliumcidrgroups"}) {
    const std::string items =
        std::string(path) == "/api/v1/pods" ? kPod
        : std::string(path).find("ciliumnetworkpolicies") != std::string::npos
            ? R"({"metadata":{"name":"api","namespace":"shop"},"spec":{"endpointSelector":{}}})"
            : "";
    kinds += (kinds.empty() ? "{\"" : ",\"") + std::string(path) + "\":[" + items + "]";
  }
  const std::string body = boost::json::serialize(boost::json::parse(kinds + "}"));
  const auto file = [&](const std::string& sum) {
    return R"({"version":1,"checksum":")" + sum + R"(","kinds":)" + body + "}";
  };
  CHECK_FALSE(source.restore(file(checksum(body + " "))).has_value());
  CHECK_FALSE(source.known());
  REQUIRE(source.restore(file(checksum(body))).has_value());
  CHECK(source.known());
  CHECK(source.trouble().find("not listed yet") != std::string::npos);
  REQUIRE(source.cluster().pods.size() == 1);
  source.cluster().pods.for_each([](const auto& /*name*/, const auto& pod) { CHECK(pod->local); });
  CHECK(source.policies().contains("CiliumNetworkPolicy/shop/api"));

  Source next(context, on_node("node-b"), [] {});
  REQUIRE(next.restore(source.serializer()()).has_value());
  CHECK(next.policies() == source.policies());
  REQUIRE(next.cluster().pods.size() == 1);
  next.cluster().pods.for_each(
      [](const auto& /*name*/, const auto& pod) { CHECK_FALSE(pod->local); });
}

} // namespace
} // namespace weir::test
