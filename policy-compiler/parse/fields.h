// Which fields each map of a policy may have, and of what type: the tables that the parser refuses
// unknown fields by, and that `weirctl policy schema` is made from.
#pragma once

#include <span>
#include <string_view>

namespace weir::policy {

struct ObjectFields;

struct Field {
  enum class Type {
    kText,
    kWhole,       // a whole number
    kTextOrWhole, // either is read
    kBoolean,
    kTextMap, // any keys, texts behind them
    kObject,  // `object`
    kAny,     // not looked at
  };

  std::string_view name;
  Type type = Type::kText;
  bool list = false; // of these
  const ObjectFields* object = nullptr;
  std::span<const std::string_view> choices = {}; // of a text; empty: any
  std::string_view description = {};              // for editors
};

struct ObjectFields {
  std::string_view name; // of its definition in the schema
  std::span<const Field> fields;
  bool or_text = false; // a text may stand in its place
};

namespace fields {

// The kinds
extern const ObjectFields kCiliumPolicy, kCidrGroup, kNetworkPolicy;
extern const ObjectFields kMetadata, kSelector, kExpression;
// CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy
extern const ObjectFields kSpec, kDefaultDeny, kLog, kLabel, kAuthentication;
extern const ObjectFields kIngress, kIngressDeny, kEgress, kEgressDeny;
extern const ObjectFields kCidrRule, kService, kServiceName, kServiceSelector, kGroup, kName;
extern const ObjectFields kPortRule, kPort, kIcmp, kIcmpEntry;
extern const ObjectFields kRules, kHttp, kHeaderMatch, kSecret, kKafka, kTls, kListener,
    kEnvoyConfig;
// CiliumCIDRGroup
extern const ObjectFields kCidrGroupSpec;
// NetworkPolicy
extern const ObjectFields kNetworkSpec, kNetworkIngress, kNetworkEgress, kNetworkPeer,
    kNetworkBlock, kNetworkPort;

} // namespace fields
} // namespace weir::policy
