// What people are told of the mistakes that they really make.
#include "policy-compiler/compile.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace weir::policy;

namespace {

// All diagnostics of a file, a line each.
std::string told(const std::string& text) {
  std::string out;
  for (const ParsedDocument& document : parse_policies("p.yaml", text)) {
    for (const Diagnostic& diagnostic : document.diagnostics) {
      out += diagnostic.text() + '\n';
    }
  }
  return out;
}

// A CiliumNetworkPolicy with this spec, whose first line is line 4.
std::string policy(const std::string& spec) {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
         "spec: " +
         spec + "\n";
}
std::string ingress(const std::string& rule) {
  return policy("{endpointSelector: {}, ingress: [" + rule + "]}");
}
std::string egress(const std::string& rule) {
  return policy("{endpointSelector: {}, egress: [" + rule + "]}");
}

struct Mistake {
  std::string text;
  std::string message; // what the diagnostics contain
};

bool refused(const std::string& text) {
  const auto documents = parse_policies("p.yaml", text);
  return std::all_of(documents.begin(), documents.end(),
                     [](const ParsedDocument& one) { return one.policy == nullptr; });
}

} // namespace

TEST_CASE("mistakes are told with place, reason and what to do") {
  CHECK(told(policy("\n  endpointSelector: {}\n  ingress:\n  - fromEndpoint:\n    - {}\n")) ==
        "p.yaml:7:5: error: unknown field `fromEndpoint` in an ingress rule, did you mean "
        "`fromEndpoints`?\n");
  CHECK(told(policy("\n  endpointselector: {}\n  ingress: [{}]\n")) ==
        "p.yaml:5:3: error: unknown field `endpointselector` in `spec`, did you mean "
        "`endpointSelector`?\n"
        "p.yaml:5:3: error: a spec needs an `endpointSelector`, write `endpointSelector: {}` for "
        "every pod of the namespace\n");
}

TEST_CASE("mistakes that refuse a policy") {
  const Mistake mistakes[] = {
      {ingress("{toPorts: [{ports: [{port: 80}]}]}"),
       "`port` must be a text, here stands a number, "
       "put it in quotes: \"80\""},
      {ingress("{toPorts: [{ports: [{port: \"8000-9000\"}]}]}"),
       "write `port: \"8000\"` and `endPort: 9000`"},
      {ingress("{toPorts: [{ports: [{port: \"010\"}]}]}"), "begins with 0"},
      {ingress("{toPorts: [{ports: [{port: \"8_0\"}]}]}"), "is no port"},
      {ingress("{toPorts: [{ports: [{port: \"70000\"}]}]}"), "larger than 65535"},
      {ingress("{toPorts: [{ports: [{port: \"80\", endPort: 70000}]}]}"), "from 0 to 65535"},
      {ingress("{toPorts: [{ports: [{protocol: TCP}]}]}"), "needs a `port`"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: HTTP}]}]}"),
       "unknown protocol `HTTP`"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: ICMP}]}]}"), "use `icmps`"},
      {ingress("{toPorts: [{port: \"80\"}]}"), "unknown field `port` in a `toPorts` entry, did you "
                                               "mean `ports`?"},
      {ingress("{toPorts: {ports: [{port: \"80\"}]}}"),
       "must be a list, here stands a map, put `- ` "
       "before its first field"},
      {ingress("{fromEndpoints: [{app: web}]}"), "unknown field `app` in an endpoint selector"},
      {ingress("{fromEndpoints: [{matchLabels: {app: yes}}]}"),
       "the value of label `app` must be a text, here stands a boolean, put it in quotes: \"yes\""},
      {ingress("{fromEndpoints: [{matchLabels: {version: 1.2}}]}"), "here stands a number"},
      {ingress("{fromEndpoints: [{matchLabels: {app: \"a b\"}}]}"), "is no label value"},
      {ingress("{fromEndpoints: [{matchLabels: {\"a b\": x}}]}"), "is no label key"},
      {ingress("{fromEndpoints: [{matchExpressions: [{key: app, operator: in, values: [a]}]}]}"),
       "did you mean `In`?"},
      {ingress("{fromEndpoints: [{matchExpressions: [{key: app, operator: In}]}]}"),
       "needs `values`"},
      {ingress(
           "{fromEndpoints: [{matchExpressions: [{key: app, operator: Exists, values: [a]}]}]}"),
       "takes no `values`"},
      {ingress("{fromEntities: [World]}"), "unknown entity `World`, did you mean `world`?"},
      {ingress("{fromEntities: world}"), "must be a list"},
      {ingress("{fromCIDR: [10.0.0.1]}"), "write `10.0.0.1/32`"},
      {ingress("{fromCIDR: [10.0.0.0/33]}"), "is no CIDR"},
      {ingress("{fromCIDR: [\"2001:db8::1\"]}"), "write `2001:db8::1/128`"},
      {ingress("{fromCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}"),
       "does not lie inside"},
      {ingress("{fromCIDRSet: [10.0.0.0/8]}"), "must be a map"},
      {ingress("{fromCIDRSet: [{}]}"), "one of `cidr`, `cidrGroupRef` or `cidrGroupSelector`"},
      {ingress("{fromEndpoints: [{}], fromEntities: [world]}"), "make two rules of it"},
      {ingress("{fromRequires: [{}]}"), "was removed"},
      {ingress("{fromNodes: [{}]}"), "use the entities `host` and `remote-node`"},
      {ingress("{toEndpoints: [{}]}"), "unknown field `toEndpoints` in an ingress rule"},
      {ingress("{toFQDNs: [{matchName: a.b}]}"), "unknown field `toFQDNs`"},
      {egress("{toFQDNs: [{matchName: \"*.a.b\"}]}"), "use `matchPattern` for wildcards"},
      {egress("{toFQDNs: [{matchName: \"https://a.b\"}]}"), "is no name"},
      {egress("{toFQDNs: [{matchPattern: \"a?.b\"}]}"), "is no pattern"},
      {egress("{toFQDNs: [{matchName: a, matchPattern: b}]}"), "make two entries"},
      {egress("{toFQDNs: [a.b]}"), "must be a map, here stands a text"},
      {egress("{toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchPatern: \"*\"}]}}]}"),
       "did you mean `matchPattern`?"},
      {egress("{toPorts: [{ports: [{port: \"53\", endPort: 60}], rules: {dns: [{}]}}]}"),
       "cannot be used with port ranges"},
      {egress("{toPorts: [{rules: {dns: [{}]}}]}"), "DNS rules need ports"},
      {ingress("{toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{}]}}]}"), "egress only"},
      {ingress("{toPorts: [{ports: [{port: \"80\"}], rules: {http: [{}]}}]}"),
       "write `protocol: TCP`"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: UDP}], rules: {http: [{}]}}]}"),
       "needs protocol TCP"},
      {ingress("{toPorts: [{ports: [{port: \"0\", protocol: TCP}], rules: {http: [{}]}}]}"),
       "cannot be used with port 0"},
      {ingress(
           "{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: \"(\"}]}}]}"),
       "is no regular expression: missing )"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{method: "
               "\"*\"}]}}]}"),
       "is no regular expression"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: "
               "\"/(?=a)\"}]}}]}"),
       "is no regular expression"},
      {ingress(
           "{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{paths: /a}]}}]}"),
       "unknown field `paths` in an HTTP rule, did you mean `path`?"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: {path: /a}}}]}"),
       "`http` must be a list"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], http: [{path: /a}]}]}"),
       "unknown field `http` in a `toPorts` entry"},
      {egress(
           "{toPorts: [{ports: [{port: \"53\", protocol: TCP}], rules: {dns: [{}], http: [{}]}}]}"),
       "more than one L7 protocol"},
      {egress("{toPorts: [{ports: [{port: \"443\", protocol: TCP}], serverNames: [\"\"]}]}"),
       "an empty server name"},
      {egress(
           "{toPorts: [{ports: [{port: \"443\", protocol: TCP}], serverNames: [a.b], rules: {http: "
           "[{}]}}]}"),
       "without `terminatingTLS`"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{headerMatches: "
               "[{value: x}]}]}}]}"),
       "a header match needs a `name`"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{headerMatches: "
               "[{name: x, mismatch: DROP}]}]}}]}"),
       "one of LOG, ADD, DELETE, REPLACE"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {l7proto: x}}]}"),
       "were removed"},
      {ingress("{icmps: [{fields: [{type: Nope}]}]}"), "unknown ICMP type"},
      {ingress("{icmps: [{fields: [{type: 8, family: ipv4}]}]}"), "write IPv4 or IPv6"},
      {ingress("{icmps: [{fields: [{type: 8}]}], toPorts: [{ports: [{port: \"80\"}]}]}"),
       "make two rules of it"},
      {policy("{endpointSelector: {}}"), "at least one rule"},
      {policy("{endpointSelector: {}, ingress: []}"), "`ingress: [{}]` denies everything"},
      {policy("{ingress: [{}]}"), "needs an `endpointSelector`"},
      {policy("{nodeSelector: {}, ingress: [{}]}"), "CiliumClusterwideNetworkPolicy only"},
      {policy("{endpointSelector: {}, enableDefaultDeny: {ingress: maybe}, ingress: [{}]}"),
       "must be true or false"},
      {"kind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec: {endpointSelector: {}, ingress: "
       "[{}]}\n",
       "needs an `apiVersion`, write `cilium.io/v2`"},
      {"apiVersion: cilium.io/v1\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec: "
       "{endpointSelector: {}, ingress: [{}]}\n",
       "unknown apiVersion `cilium.io/v1`"},
      {"apiVersion: cilium.io/v2\nkind: CiliumNetworkpolicy\nmetadata: {name: p}\n",
       "did you mean `CiliumNetworkPolicy`?"},
      {"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {namespace: n}\nspec: "
       "{endpointSelector: {}, ingress: [{}]}\n",
       "needs a name"},
      {"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespce: "
       "n}\nspec: "
       "{endpointSelector: {}, ingress: [{}]}\n",
       "did you mean `namespace`?"},
      {"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: "
       "{podSelector: {}, ingress: [{from: [{podSelectr: {}}]}]}\n",
       "did you mean `podSelector`?"},
      {"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: "
       "{podSelector: {}, policyTypes: [ingress]}\n",
       "write Ingress or Egress"},
      {"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: "
       "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: nope}}]}]}\n",
       "is no CIDR"},
      {"apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {}\n",
       "write `networking.k8s.io/v1`"},
      {"just a text\n", "a policy is a map"},
      {"a: 1\n", "a document needs a `kind`"}};
  for (const Mistake& mistake : mistakes) {
    const std::string said = told(mistake.text);
    INFO(mistake.text << "\nsays\n" << said);
    CHECK(said.find(mistake.message) != std::string::npos);
    CHECK(said.find("p.yaml:") == 0);
    CHECK(refused(mistake.text));
  }
  CHECK(std::size(mistakes) >= 60);
}

TEST_CASE("what is accepted with a warning") {
  const Mistake accidents[] = {
      {ingress("{toPorts: [{}]}"), "this entry opens nothing"},
      {ingress("{fromEndpoints: null, toPorts: [{ports: [{port: \"80\"}]}]}"), "counts as absent"},
      {ingress("{toPorts: [{ports: [{port: \"80\", endPort: 79}]}]}"), "only port 80 is meant"},
      {ingress("{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{headers: "
               "[\"X-Token:abc\"]}]}}]}"),
       "put a space after the colon"},
      {ingress(
           "{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{host: \"(\"}]}}]}"),
       "its rule allows nothing"},
      {ingress("{fromEndpoints: [{}], authentication: {mode: required}}"), "cannot be proved"},
      {ingress("{toPorts: [{ports: [{port: \"9092\", protocol: TCP}], rules: {kafka: [{topic: "
               "t}]}}]}"),
       "this entry allows nothing"},
      {ingress("{icmps: [{fields: [{type: 256}]}]}"), "there is no ICMP type 256"},
      {egress("{toFQDNs: [{}]}"), "selects nobody"},
      {egress("{toGroups: [{aws: {region: x}}]}"), "needs a cloud provider"},
      {ingress("{fromCIDR: [\"::ffff:10.0.0.0/104\"]}"), "write 10.0.0.0/8"},
      {"apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: "
       "p}\nspec: {nodeSelector: {}, ingress: [{}]}\n",
       "selects no pod"}};
  for (const Mistake& accident : accidents) {
    const std::string said = told(accident.text);
    INFO(accident.text << "\nsays\n" << said);
    CHECK(said.find("warning: ") != std::string::npos);
    CHECK(said.find(accident.message) != std::string::npos);
    CHECK_FALSE(refused(accident.text));
  }
}

TEST_CASE("all mistakes of a document are told, not the first alone") {
  const std::string said = told(policy(
      "{endpointSelector: {matchLabels: {a: 1}}, ingress: [{fromEntity: [x]}, {toPorts: [{ports: "
      "[{port: 80}, {port: \"99999\"}]}]}], egres: []}"));
  CHECK(std::count(said.begin(), said.end(), '\n') == 5);
}

TEST_CASE("one bad document takes no other down") {
  const auto documents = parse_policies("p.yaml", policy("{endpointSelector: {}, ingress: [{}]}") +
                                                      "---\n" + policy("{endpointSelector: {}}") +
                                                      "---\napiVersion: v1\nkind: Pod\nmetadata: "
                                                      "{name: x}\n");
  REQUIRE(documents.size() == 3);
  CHECK(documents[0].policy != nullptr);
  CHECK(documents[1].policy == nullptr);
  CHECK(documents[1].line == 6);
  CHECK(documents[2].policy == nullptr);
  CHECK(documents[2].diagnostics.at(0).severity == Severity::kNote);
  CHECK(documents[2].diagnostics.at(0).code == "skipped");
}

TEST_CASE("a List is read as its items") {
  const auto documents = parse_policies(
      "p.yaml", "apiVersion: v1\nkind: List\nitems:\n"
                "- apiVersion: cilium.io/v2\n  kind: CiliumNetworkPolicy\n  metadata: {name: a}\n"
                "  spec: {endpointSelector: {}, ingress: [{}]}\n"
                "- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {name: b}\n"
                "  spec: {podSelector: {}}\n");
  REQUIRE(documents.size() == 2);
  CHECK(documents[0].name == "a");
  CHECK(documents[0].document_namespace == "default");
  CHECK(documents[1].kind == "NetworkPolicy");
  CHECK((documents[0].policy != nullptr && documents[1].policy != nullptr));
}
