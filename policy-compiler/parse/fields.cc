#include "policy-compiler/parse/fields.h"

#include "policy-compiler/parse/words.h"

namespace weir::policy::fields {
namespace {

using Type = Field::Type;
using Choices = std::span<const std::string_view>;

constexpr Field text(std::string_view name, std::string_view description = {}) {
  return {.name = name, .description = description};
}
constexpr Field choice(std::string_view name, Choices choices, std::string_view description = {}) {
  return {.name = name, .choices = choices, .description = description};
}
constexpr Field texts(std::string_view name, std::string_view description = {}) {
  return {.name = name, .list = true, .description = description};
}
constexpr Field of(std::string_view name, Type type, std::string_view description = {}) {
  return {.name = name, .type = type, .description = description};
}
constexpr Field object(std::string_view name, const ObjectFields& fields,
                       std::string_view description = {}) {
  return {.name = name, .type = Type::kObject, .object = &fields, .description = description};
}
constexpr Field list(std::string_view name, const ObjectFields& fields,
                     std::string_view description = {}) {
  return {.name = name,
          .type = Type::kObject,
          .list = true,
          .object = &fields,
          .description = description};
}

constexpr std::string_view kPathText =
    "RE2 expression, matched against the whole path with its query";
constexpr std::string_view kPeersText = "Absent: anybody, with ports. []: nobody. [{}]: every pod "
                                        "of the namespace";

constexpr Field kMetadataFields[] = {text("name"),
                                     text("namespace"),
                                     of("labels", Type::kTextMap),
                                     of("annotations", Type::kAny),
                                     of("uid", Type::kAny),
                                     of("generateName", Type::kAny),
                                     of("generation", Type::kAny),
                                     of("resourceVersion", Type::kAny),
                                     of("creationTimestamp", Type::kAny),
                                     of("deletionTimestamp", Type::kAny),
                                     of("deletionGracePeriodSeconds", Type::kAny),
                                     of("finalizers", Type::kAny),
                                     of("ownerReferences", Type::kAny),
                                     of("managedFields", Type::kAny),
                                     of("selfLink", Type::kAny),
                                     of("clusterName", Type::kAny)};
constexpr Field kExpressionFields[] = {text("key"), choice("operator", words::kOperators),
                                       texts("values")};
constexpr Field kSelectorFields[] = {of("matchLabels", Type::kTextMap),
                                     list("matchExpressions", kExpression)};

constexpr Field kCiliumPolicyFields[] = {
    text("apiVersion"),    text("kind"),         object("metadata", kMetadata),
    object("spec", kSpec), list("specs", kSpec), of("status", Type::kAny)};
constexpr Field kSpecFields[] = {
    object("endpointSelector", kSelector, "Pods that the policy is about; {}: all"),
    object("nodeSelector", kSelector, "Host policy: accepted, not enforced"),
    list("ingress", kIngress, "Who may come in; [{}] denies everybody"),
    list("ingressDeny", kIngressDeny, "A deny beats every allow"),
    list("egress", kEgress, "Whom the pods may reach; [{}] denies everybody"),
    list("egressDeny", kEgressDeny, "A deny beats every allow"),
    object("enableDefaultDeny", kDefaultDeny, "false: adds allows without denying the rest"),
    list("labels", kLabel),
    text("description"),
    object("log", kLog)};
constexpr Field kDefaultDenyFields[] = {of("ingress", Type::kBoolean),
                                        of("egress", Type::kBoolean)};
constexpr Field kLogFields[] = {text("value")};
constexpr Field kLabelFields[] = {text("key"), text("source"), text("value")};
constexpr Field kAuthenticationFields[] = {
    text("mode", "`disabled`; with anything else the rule allows nothing")};

constexpr Field kFromEndpoints = list("fromEndpoints", kSelector, kPeersText);
constexpr Field kFromEntities = {.name = "fromEntities", .list = true, .choices = words::kEntities};
constexpr Field kToEntities = {.name = "toEntities", .list = true, .choices = words::kEntities};
constexpr Field kToPorts = list("toPorts", kPortRule, "Absent: every port and protocol");
constexpr Field kIcmps = list("icmps", kIcmp);

constexpr Field kIngressFields[] = {kFromEndpoints,
                                    kFromEntities,
                                    texts("fromCIDR"),
                                    list("fromCIDRSet", kCidrRule),
                                    list("fromGroups", kGroup),
                                    list("fromNodes", kSelector),
                                    of("fromRequires", Type::kAny),
                                    kToPorts,
                                    kIcmps,
                                    object("authentication", kAuthentication)};
constexpr Field kIngressDenyFields[] = {kFromEndpoints,
                                        kFromEntities,
                                        texts("fromCIDR"),
                                        list("fromCIDRSet", kCidrRule),
                                        list("fromGroups", kGroup),
                                        list("fromNodes", kSelector),
                                        of("fromRequires", Type::kAny),
                                        kToPorts,
                                        kIcmps};
constexpr Field kToFqdns = list("toFQDNs", kName, "Addresses learned from DNS; needs a DNS rule");
constexpr Field kEgressFields[] = {list("toEndpoints", kSelector, kPeersText),
                                   kToEntities,
                                   texts("toCIDR"),
                                   list("toCIDRSet", kCidrRule),
                                   list("toGroups", kGroup),
                                   list("toNodes", kSelector),
                                   of("toRequires", Type::kAny),
                                   list("toServices", kService),
                                   kToFqdns,
                                   kToPorts,
                                   kIcmps,
                                   object("authentication", kAuthentication)};
constexpr Field kEgressDenyFields[] = {list("toEndpoints", kSelector, kPeersText),
                                       kToEntities,
                                       texts("toCIDR"),
                                       list("toCIDRSet", kCidrRule),
                                       list("toGroups", kGroup),
                                       list("toNodes", kSelector),
                                       of("toRequires", Type::kAny),
                                       list("toServices", kService),
                                       kToFqdns,
                                       kToPorts,
                                       kIcmps};

constexpr Field kCidrRuleFields[] = {text("cidr"), text("cidrGroupRef"),
                                     object("cidrGroupSelector", kSelector), texts("except")};
constexpr Field kServiceFields[] = {object("k8sService", kServiceName),
                                    object("k8sServiceSelector", kServiceSelector)};
constexpr Field kServiceNameFields[] = {text("serviceName"), text("namespace")};
constexpr Field kServiceSelectorFields[] = {object("selector", kSelector), text("namespace")};
constexpr Field kGroupFields[] = {of("aws", Type::kAny)};
constexpr Field kNameFields[] = {
    text("matchName"),
    text("matchPattern", "`*`: within one label; `**.` at the front: one or more labels")};

constexpr Field kPortRuleFields[] = {list("ports", kPort),
                                     object("rules", kRules),
                                     texts("serverNames", "Of the TLS ClientHello"),
                                     object("terminatingTLS", kTls),
                                     object("originatingTLS", kTls),
                                     object("listener", kListener)};
constexpr Field kPortFields[] = {text("port", "A number in quotes, or a name; \"0\": every port"),
                                 of("endPort", Type::kWhole),
                                 text("protocol", "TCP, UDP, SCTP or ANY, which is the default")};
constexpr Field kIcmpFields[] = {list("fields", kIcmpEntry)};
constexpr Field kIcmpEntryFields[] = {choice("family", words::kFamilies),
                                      of("type", Type::kTextOrWhole)};

constexpr Field kRulesFields[] = {list("http", kHttp), list("dns", kName),
                                  list("kafka", kKafka, "Read, but the port stays closed"),
                                  of("l7proto", Type::kAny), of("l7", Type::kAny)};
constexpr Field kHttpFields[] = {text("path", kPathText), text("method", "RE2 expression"),
                                 text("host", "RE2 expression; the host may end in `:PORT`"),
                                 texts("headers", "`Name: value`, or `Name` for its presence"),
                                 list("headerMatches", kHeaderMatch)};
constexpr Field kHeaderMatchFields[] = {text("name"), text("value"), object("secret", kSecret),
                                        choice("mismatch", words::kMismatches)};
constexpr Field kSecretFields[] = {text("namespace"), text("name")};
constexpr Field kKafkaFields[] = {choice("role", words::kKafkaRoles), text("apiKey"),
                                  text("apiVersion"), text("clientID"), text("topic")};
constexpr Field kTlsFields[] = {object("secret", kSecret), text("trustedCA"), text("certificate"),
                                text("privateKey")};
constexpr Field kListenerFields[] = {object("envoyConfig", kEnvoyConfig), text("name"),
                                     of("priority", Type::kWhole)};
constexpr Field kEnvoyConfigFields[] = {text("kind"), text("name")};

constexpr Field kCidrGroupFields[] = {text("apiVersion"), text("kind"),
                                      object("metadata", kMetadata),
                                      object("spec", kCidrGroupSpec)};
constexpr Field kCidrGroupSpecFields[] = {texts("externalCIDRs")};

constexpr Field kNetworkPolicyFields[] = {text("apiVersion"), text("kind"),
                                          object("metadata", kMetadata),
                                          object("spec", kNetworkSpec), of("status", Type::kAny)};
constexpr Field kNetworkSpecFields[] = {
    object("podSelector", kSelector),
    {.name = "policyTypes", .list = true, .choices = words::kPolicyTypes},
    list("ingress", kNetworkIngress),
    list("egress", kNetworkEgress)};
constexpr Field kNetworkIngressFields[] = {list("from", kNetworkPeer), list("ports", kNetworkPort)};
constexpr Field kNetworkEgressFields[] = {list("to", kNetworkPeer), list("ports", kNetworkPort)};
constexpr Field kNetworkPeerFields[] = {object("podSelector", kSelector),
                                        object("namespaceSelector", kSelector),
                                        object("ipBlock", kNetworkBlock)};
constexpr Field kNetworkBlockFields[] = {text("cidr"), texts("except")};
constexpr Field kNetworkPortFields[] = {of("port", Type::kTextOrWhole), of("endPort", Type::kWhole),
                                        text("protocol")};

} // namespace

const ObjectFields kMetadata{"metadata", kMetadataFields};
const ObjectFields kExpression{"matchExpression", kExpressionFields};
const ObjectFields kSelector{"selector", kSelectorFields};

const ObjectFields kCiliumPolicy{"ciliumPolicy", kCiliumPolicyFields};
const ObjectFields kSpec{"spec", kSpecFields};
const ObjectFields kDefaultDeny{"enableDefaultDeny", kDefaultDenyFields};
const ObjectFields kLog{"log", kLogFields};
const ObjectFields kLabel{"label", kLabelFields, true};
const ObjectFields kAuthentication{"authentication", kAuthenticationFields};
const ObjectFields kIngress{"ingress", kIngressFields};
const ObjectFields kIngressDeny{"ingressDeny", kIngressDenyFields};
const ObjectFields kEgress{"egress", kEgressFields};
const ObjectFields kEgressDeny{"egressDeny", kEgressDenyFields};
const ObjectFields kCidrRule{"cidrRule", kCidrRuleFields};
const ObjectFields kService{"service", kServiceFields};
const ObjectFields kServiceName{"k8sService", kServiceNameFields};
const ObjectFields kServiceSelector{"k8sServiceSelector", kServiceSelectorFields};
const ObjectFields kGroup{"group", kGroupFields};
const ObjectFields kName{"name", kNameFields};
const ObjectFields kPortRule{"portRule", kPortRuleFields};
const ObjectFields kPort{"port", kPortFields};
const ObjectFields kIcmp{"icmp", kIcmpFields};
const ObjectFields kIcmpEntry{"icmpField", kIcmpEntryFields};
const ObjectFields kRules{"rules", kRulesFields};
const ObjectFields kHttp{"http", kHttpFields};
const ObjectFields kHeaderMatch{"headerMatch", kHeaderMatchFields};
const ObjectFields kSecret{"secret", kSecretFields};
const ObjectFields kKafka{"kafka", kKafkaFields};
const ObjectFields kTls{"tls", kTlsFields};
const ObjectFields kListener{"listener", kListenerFields};
const ObjectFields kEnvoyConfig{"envoyConfig", kEnvoyConfigFields};

const ObjectFields kCidrGroup{"cidrGroup", kCidrGroupFields};
const ObjectFields kCidrGroupSpec{"cidrGroupSpec", kCidrGroupSpecFields};

const ObjectFields kNetworkPolicy{"networkPolicy", kNetworkPolicyFields};
const ObjectFields kNetworkSpec{"networkSpec", kNetworkSpecFields};
const ObjectFields kNetworkIngress{"networkIngress", kNetworkIngressFields};
const ObjectFields kNetworkEgress{"networkEgress", kNetworkEgressFields};
const ObjectFields kNetworkPeer{"networkPeer", kNetworkPeerFields};
const ObjectFields kNetworkBlock{"ipBlock", kNetworkBlockFields};
const ObjectFields kNetworkPort{"networkPort", kNetworkPortFields};

} // namespace weir::policy::fields
