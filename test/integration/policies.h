// Policies that more than one integration test uses, as files of the policy folder.
#pragma once

#include <string>

namespace weir::test {

// Pods with app=web take GET /discount from pods with app=client on port 80, and nothing else.
inline const std::string kHttpIngress = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: web-ingress
  namespace: shop
spec:
  endpointSelector:
    matchLabels:
      app: web
  ingress:
    - fromEndpoints:
        - matchLabels:
            app: client
      toPorts:
        - ports:
            - port: "80"
              protocol: TCP
          rules:
            http:
              - method: GET
                path: "/discount"
)";

// Pods with app=client may ask the cluster's DNS server for anything, and reach api.example.test.
inline const std::string kFqdnEgress = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: client-egress
  namespace: shop
spec:
  endpointSelector:
    matchLabels:
      app: client
  egress:
    - toEndpoints:
        - matchLabels:
            k8s:io.kubernetes.pod.namespace: kube-system
            k8s:k8s-app: kube-dns
      toPorts:
        - ports:
            - port: "53"
              protocol: ANY
          rules:
            dns:
              - matchPattern: "*"
    - toFQDNs:
        - matchName: api.example.test
)";

// And reach the web pods.
inline const std::string kFqdnAndWebEgress =
    kFqdnEgress + "    - toEndpoints:\n        - matchLabels:\n            app: web\n";

// Pods with app=web take GET of these paths (regular expressions) from everybody in the namespace.
inline std::string http_paths(const std::string& name, const std::string& paths) {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
         ", namespace: shop}\nspec:\n  endpointSelector: {matchLabels: {app: web}}\n  ingress:\n"
         "    - fromEndpoints: [{}]\n      toPorts:\n        - ports: [{port: \"80\", protocol: "
         "TCP}]\n          rules:\n            http: [{method: GET, path: \"" +
         paths + "\"}]\n";
}

} // namespace weir::test
