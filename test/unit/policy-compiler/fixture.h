// A small cluster to compile policies for, and flows in it by name.
#pragma once

#include "policy-compiler/compile.h"
#include "policy-compiler/eval/sequential_numbers.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>

#include <map>
#include <string>

namespace weir::policy::test {

// Pods: shop/web (the subject, endpoint 1), shop/api (2), shop/client (3), other/client (4).
class Fixture {
public:
  static constexpr IdentityId kWeb = 300, kApi = 301, kClient = 302, kOther = 303;

  Fixture() {
    add(kWeb, "shop", "web", {{"http", 8080, IPPROTO_TCP}});
    add(kApi, "shop", "api", {{"http", 80, IPPROTO_TCP}});
    add(kClient, "shop", "client", {});
    add(kOther, "other", "client", {});
  }

  CompileInput input;
  SequentialPrefixes prefixes;
  SequentialBits bits;
  CompileResult result;

  // A CiliumNetworkPolicy shop/NAME with this spec in flow or block style.
  Fixture& policy(const std::string& name, const std::string& spec) {
    return document("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " +
                    name + ", namespace: shop}\nspec: " + spec + "\n");
  }
  Fixture& document(const std::string& text) {
    for (const ParsedDocument& parsed : parse_policies("test.yaml", text)) {
      for (const Diagnostic& diagnostic : parsed.diagnostics) {
        UNSCOPED_INFO(diagnostic.text());
      }
      REQUIRE(parsed.policy != nullptr);
      input.policies.push_back(parsed.policy);
    }
    return *this;
  }
  Fixture& compile() {
    result = weir::policy::compile(input, prefixes, bits);
    REQUIRE(result.program != nullptr);
    return *this;
  }

  [[nodiscard]] const EndpointPolicy& web() const {
    const EndpointPolicy* found = result.program->find(1);
    REQUIRE(found != nullptr);
    return *found;
  }
  [[nodiscard]] FlowDecision ingress(IdentityId peer, std::uint16_t port,
                                     std::uint8_t protocol = IPPROTO_TCP) const {
    return web().decide({Direction::kIngress, peer, protocol, port, 0});
  }
  [[nodiscard]] FlowDecision egress(IdentityId peer, std::uint16_t port,
                                    std::uint8_t protocol = IPPROTO_TCP,
                                    std::uint64_t groups = 0) const {
    return web().decide({Direction::kEgress, peer, protocol, port, groups});
  }
  // By the longest prefix of the program, as the kernel does.
  [[nodiscard]] IdentityId outside(const std::string& text) const {
    const auto address = IpAddress::parse(text);
    REQUIRE(address);
    IdentityId out = address->is_v4() ? WEIR_IDENTITY_WORLD_IPV4 : WEIR_IDENTITY_WORLD_IPV6;
    int longest = -1;
    for (const Program::Prefix& prefix : result.program->prefixes()) {
      if (prefix.prefix.length() > longest && prefix.prefix.contains(*address)) {
        out = prefix.identity;
        longest = prefix.prefix.length();
      }
    }
    return out;
  }

private:
  void add(IdentityId id, const std::string& pod_namespace, const std::string& app,
           std::vector<NamedPort> ports) {
    input.identities.push_back({id,
                                {{"k8s:app", app},
                                 {"k8s:io.kubernetes.pod.namespace", pod_namespace},
                                 {"k8s:io.cilium.k8s.policy.cluster", "default"},
                                 {"k8s:io.cilium.k8s.policy.serviceaccount", "default"}}});
    for (const NamedPort& port : ports) {
      input.peer_ports.emplace(id, port);
    }
    input.endpoints.push_back({static_cast<EndpointId>(input.endpoints.size() + 1), id,
                               pod_namespace, app, std::move(ports)});
  }
};

} // namespace weir::policy::test
