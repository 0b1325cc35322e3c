// weirctl bpf dump: what the kernel goes by, decoded. Reads the pinned maps and the state folder;
// needs no running proxy.
#include "policy-compiler/model/protocol.h"
#include "proxy/base/clocks.h"
#include "proxy/ctl/bpf_names.h"
#include "proxy/ctl/command.h"
#include "proxy/ctl/listing.h"
#include "redirect-bpf/user/map_dump.h"
#include "redirect-bpf/user/map_sync.h"
#include "redirect-bpf/user/names.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace weir::ctl {
namespace {

namespace json = boost::json;

struct Options {
  std::string bpffs = "/sys/fs/bpf";
  std::string state = "/var/lib/weir";
};

struct Dump {
  json::array rows;
  std::vector<Column> columns;
};

constexpr std::uint64_t kSecondNs = 1'000'000'000;

std::int64_t seconds_between(std::uint64_t from_ns, std::uint64_t to_ns) {
  return (static_cast<std::int64_t>(to_ns) - static_cast<std::int64_t>(from_ns)) /
         static_cast<std::int64_t>(kSecondNs);
}

std::int64_t idle_seconds(std::uint64_t last_ns, std::uint64_t now_ns) {
  return std::max<std::int64_t>(0, seconds_between(last_ns, now_ns));
}

std::string verdict_text(unsigned verdict) {
  return verdict == WEIR_ALLOW ? "allow" : verdict == WEIR_REDIRECT ? "redirect" : "deny";
}

std::string direction_text(unsigned direction) {
  return (direction & 1U) == WEIR_EGRESS ? "egress" : "ingress";
}

json::array texts_json(const std::vector<std::string>& texts) {
  return json::array(texts.begin(), texts.end());
}

// "any", "80", "8000-8191": a block is a power of two wide.
std::string port_text(const weir_policy_key& key) {
  if (key.prefix_length <= WEIR_POLICY_PREFIX_ANY_PORT) {
    return "any";
  }
  const std::uint32_t open = WEIR_POLICY_PREFIX_FULL - key.prefix_length;
  const std::uint32_t first = ntohs(key.port_be);
  return std::to_string(first) + (open == 0 ? "" : "-" + std::to_string(first + (1U << open) - 1));
}

std::string socket_text(const weir_addr& address, std::uint16_t port_be) {
  return SocketAddress{redirect::from_abi(address), ntohs(port_be)}.to_string();
}

Result<Dump> dump_policy(const redirect::MapDump& maps, const BpfNames& names) {
  const auto config = maps.config();
  if (!config) {
    return config.error();
  }
  const auto policies = maps.policies();
  if (!policies) {
    return policies.error();
  }
  Dump out{{},
           {{"POD", "pod"},
            {"DIRECTION", "direction"},
            {"PEER", "peer"},
            {"PROTOCOL", "protocol"},
            {"PORT", "port"},
            {"VERDICT", "verdict"},
            {"RULE", "rule_name"}}};
  for (const auto& [endpoint, row] : *policies) {
    const auto& [key, entry] = row;
    json::object shown = {{"pod", names.endpoint(endpoint)},
                          {"endpoint", endpoint},
                          {"direction", direction_text(key.direction)},
                          {"without_audited", (key.direction & WEIR_WITHOUT_AUDITED) != 0},
                          {"peer", key.identity == WEIR_IDENTITY_ANY ? "any"
                                   : key.identity == WEIR_IDENTITY_LEARNED
                                       ? "learned names"
                                       : names.identity(key.identity)},
                          {"identity", key.identity},
                          {"protocol", key.prefix_length <= WEIR_POLICY_PREFIX_ANY_PROTOCOL
                                           ? "any"
                                           : policy::protocol_text(key.protocol)},
                          {"port", port_text(key)},
                          {"rule", entry.rule},
                          {"rule_name", names.rule(entry.rule, config->revision)}};
    if (key.identity == WEIR_IDENTITY_LEARNED) {
      shown["verdict"] = "by name";
      shown["deny"] = texts_json(names.groups(endpoint, entry.fqdn_deny));
      shown["redirect"] = texts_json(names.groups(endpoint, entry.fqdn_redirect));
      shown["allow"] = texts_json(names.groups(endpoint, entry.fqdn_allow));
    } else {
      shown["verdict"] = verdict_text(entry.verdict);
    }
    out.rows.push_back(std::move(shown));
  }
  return out;
}

Result<Dump> dump_conntrack(const redirect::MapDump& maps, const BpfNames& names) {
  const auto config = maps.config();
  if (!config) {
    return config.error();
  }
  const auto flows = maps.conntrack();
  if (!flows) {
    return flows.error();
  }
  Dump out{{},
           {{"POD", "pod"},
            {"DIRECTION", "direction"},
            {"PROTOCOL", "protocol"},
            {"SOURCE", "source"},
            {"DESTINATION", "destination"},
            {"VERDICT", "verdict"},
            {"RULE", "rule_name"},
            {"FLAGS", "flags"},
            {"IDLE", "idle_seconds"}}};
  for (const auto& [key, entry] : *flows) {
    json::array flags;
    for (const auto& [flag, name] :
         {std::pair(WEIR_CT_LEARNED, "learned"), std::pair(WEIR_CT_REPLIED, "replied"),
          std::pair(WEIR_CT_CLOSING, "closing"), std::pair(WEIR_CT_SETTLED, "settled"),
          std::pair(WEIR_CT_PLAIN, "plain")}) {
      if ((entry.flags & flag) != 0) {
        flags.emplace_back(name);
      }
    }
    json::object shown = {
        {"pod", names.endpoint(key.endpoint)},
        {"endpoint", key.endpoint},
        {"direction", direction_text(key.direction)},
        {"protocol", policy::protocol_text(key.tuple.protocol)},
        {"source", socket_text(key.tuple.source, key.tuple.source_port_be)},
        {"destination", socket_text(key.tuple.destination, key.tuple.destination_port_be)},
        {"verdict", verdict_text(entry.verdict)},
        {"rule", entry.rule},
        {"flags", std::move(flags)},
        {"idle_seconds", idle_seconds(entry.last_seen_ns, monotonic_ns())},
        // Else it is decided again on its next packet.
        {"decided_by_present_policy", entry.revision == config->revision}};
    if (entry.rule != 0) { // else no policy was asked, as flows that it denies are not here
      shown["rule_name"] = names.rule(entry.rule, entry.revision);
    }
    out.rows.push_back(std::move(shown));
  }
  return out;
}

Result<Dump> dump_identity(const redirect::MapDump& maps, const BpfNames& names) {
  const auto identities = maps.identities();
  if (!identities) {
    return identities.error();
  }
  Dump out{{}, {{"PREFIX", "prefix"}, {"IDENTITY", "identity"}, {"NAME", "name"}}};
  for (const auto& [key, identity] : *identities) {
    const IpAddress address = redirect::from_abi(key.address);
    const std::uint32_t length =
        address.is_v4() && key.prefix_length >= 96 ? key.prefix_length - 96 : key.prefix_length;
    out.rows.push_back({{"prefix", address.to_string() + "/" + std::to_string(length)},
                        {"identity", identity},
                        {"name", names.identity(identity)}});
  }
  return out;
}

Result<Dump> dump_fqdn(const redirect::MapDump& maps, const BpfNames& names) {
  const auto learned = maps.learned();
  if (!learned) {
    return learned.error();
  }
  Dump out{{},
           {{"POD", "pod"},
            {"ADDRESS", "address"},
            {"NAMES", "names"},
            {"SELECTORS", "selectors"},
            {"EXPIRES_IN", "expires_in_seconds"},
            {"UNUSED", "unused_seconds"}}};
  for (const auto& [key, entry] : *learned) {
    const std::string address = redirect::from_abi(key.address).to_string();
    json::object shown = {{"pod", names.endpoint(key.endpoint)},
                          {"endpoint", key.endpoint},
                          {"address", address},
                          {"names", texts_json(names.learned(key.endpoint, address))},
                          {"selectors", texts_json(names.groups(key.endpoint, entry.groups))},
                          {"expires_in_seconds", seconds_between(boottime_ns(), entry.expires_ns)}};
    if (entry.last_used_ns != 0) {
      shown["unused_seconds"] = idle_seconds(entry.last_used_ns, boottime_ns());
    }
    out.rows.push_back(std::move(shown));
  }
  return out;
}

Result<Dump> dump_counters(const redirect::MapDump& maps, const BpfNames& /*names*/) {
  const auto counters = maps.counters();
  if (!counters) {
    return counters.error();
  }
  Dump out{{}, {{"COUNTER", "counter"}, {"DIRECTION", "direction"}, {"PACKETS", "packets"}}};
  const auto add = [&out](const std::string& name, const char* direction, std::uint64_t packets) {
    out.rows.push_back({{"counter", name}, {"direction", direction}, {"packets", packets}});
  };
  for (const auto& [code, name] : redirect::packet_verdict_names()) {
    add(std::string(name), "", counters->packets[code]);
  }
  add("events_lost", "", counters->packets[WEIR_COUNT_EVENTS_LOST]);
  for (unsigned reason = 1; reason <= WEIR_DROP_AUDIT; ++reason) {
    const std::string prefix = reason == WEIR_DROP_AUDIT ? "" : "drop ";
    for (const unsigned direction : {WEIR_INGRESS, WEIR_EGRESS}) {
      add(prefix + std::string(redirect::drop_name(reason)),
          direction == WEIR_EGRESS ? "egress" : "ingress",
          counters->drops[weir_drop_index(reason, direction)]);
    }
  }
  return out;
}

// Byte order of map keys is nobody's order.
void sort_rows(Dump& dump) {
  const auto line = [&](const json::value& row) {
    std::string text;
    for (const auto& column : dump.columns) {
      text += cell(row, column.key) + '\0';
    }
    return text;
  };
  std::vector<std::pair<std::string, json::value>> keyed;
  for (auto& row : dump.rows) {
    keyed.emplace_back(line(row), std::move(row));
  }
  std::stable_sort(keyed.begin(), keyed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  dump.rows.clear();
  for (auto& [text, row] : keyed) {
    dump.rows.push_back(std::move(row));
  }
}

using MakeDump = Result<Dump> (*)(const redirect::MapDump&, const BpfNames&);

struct Kind {
  const char* name;
  const char* help;
  MakeDump make;
  bool sorted; // else in the table's own order
};
constexpr Kind kKinds[] = {
    {"policy", "Rows that packets of each pod are judged by", dump_policy, true},
    {"ct", "Flows that have been decided", dump_conntrack, true},
    {"identity", "Whose an address is", dump_identity, true},
    {"fqdn", "Addresses learned from DNS", dump_fqdn, true},
    {"counters", "Packets by verdict and drops by reason", dump_counters, false},
};

void show(Session& session, const Options& options, const Kind& kind) {
  const BpfNames names(options.state);
  auto dump = kind.make(redirect::MapDump(options.bpffs), names);
  if (!dump) {
    fail(session, dump.error());
    return;
  }
  if (!names.trouble().empty()) {
    std::fprintf(stderr, "weirctl: names are missing: %s\n", names.trouble().c_str());
  }
  if (kind.sorted) {
    sort_rows(*dump);
  }
  show_rows(session, dump->rows, std::string("entries of ") + kind.name, dump->columns);
}

} // namespace

void add_bpf(CLI::App& app, Session& session) {
  auto* bpf = app.add_subcommand("bpf", "The kernel's maps");
  bpf->require_subcommand(1);
  auto* dump = bpf->add_subcommand("dump", "What the kernel goes by; needs no running proxy");
  dump->require_subcommand(1);
  auto options = std::make_shared<Options>();
  dump->add_option("--bpffs", options->bpffs, "redirect.bpffs of the configuration")
      ->capture_default_str();
  dump->add_option("--state", options->state, "state.directory of the configuration: names")
      ->capture_default_str();
  for (const Kind& kind : kKinds) {
    dump->add_subcommand(kind.name, kind.help)->callback([&session, options, &kind] {
      show(session, *options, kind);
    });
  }
}

} // namespace weir::ctl
