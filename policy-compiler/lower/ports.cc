#include "policy-compiler/lower/ports.h"

#include "policy-compiler/sema/port_text.h"

#include <algorithm>
#include <cctype>

namespace weir::policy {
namespace {

std::string lowered(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

void add_named(const PortMatch& match, std::uint8_t protocol, const PortFilter& form,
               const Rule& rule, const std::vector<NamedPort>& own_ports,
               const PeerPorts& peer_ports, std::vector<PortFilter>& out) {
  PortFilter filter = form;
  if (rule.direction == WEIR_EGRESS) {
    const PeerPorts::Numbers* numbers = peer_ports.find(match.name, protocol);
    if (numbers == nullptr) {
      return;
    }
    for (const auto& [number, who] : *numbers) {
      filter.first = filter.last = number; // `endPort` is not applied at egress
      filter.only = who;
      out.push_back(filter);
    }
    return;
  }
  for (const NamedPort& port : own_ports) {
    if (port.protocol == protocol && lowered(port.name) == match.name) {
      filter.first = port.port;
      filter.last = std::max(port.port, match.last);
      out.push_back(filter);
    }
  }
}

} // namespace

PeerPorts::PeerPorts(const CompileInput& input, const Universe& universe) {
  std::map<std::pair<std::string, std::uint8_t>, std::map<std::uint16_t, IdentitySet>> collected;
  const auto table = universe.table();
  for (const auto& [identity, port] : input.peer_ports) {
    const auto place = table->find(identity);
    if (place == table->end()) {
      continue;
    }
    auto& numbers = collected[{lowered(port.name), port.protocol}];
    numbers.try_emplace(port.port, universe.nobody()).first->second.set(place->second);
  }
  for (auto& [key, numbers] : collected) {
    for (auto& [number, who] : numbers) {
      x_ports[key].emplace(number, std::make_shared<const IdentitySet>(std::move(who)));
    }
  }
}

const PeerPorts::Numbers* PeerPorts::find(const std::string& name, std::uint8_t protocol) const {
  const auto found = x_ports.find({name, protocol});
  return found == x_ports.end() ? nullptr : &found->second;
}

std::vector<PortFilter> lower_ports(const Rule& rule, const std::vector<NamedPort>& own_ports,
                                    const PeerPorts& peer_ports) {
  std::vector<PortFilter> out;
  if (rule.every_port) {
    PortFilter everything;
    everything.text = "*";
    out.push_back(std::move(everything));
    return out;
  }
  for (const PortRule& ports : rule.ports) {
    for (const PortMatch& match : ports.ports) {
      for_each_protocol(match, [&](std::uint8_t protocol) {
        PortFilter filter;
        filter.protocol = protocol;
        filter.first = match.first;
        filter.last = match.last;
        filter.exact = match.name.empty() && match.first == match.last;
        filter.rule = &ports;
        filter.text = port_text(match, protocol);
        if (match.name.empty()) {
          out.push_back(std::move(filter));
        } else {
          add_named(match, protocol, filter, rule, own_ports, peer_ports, out);
        }
      });
    }
  }
  for (const IcmpMatch& icmp : rule.icmps) {
    PortFilter filter;
    filter.protocol = icmp.protocol;
    filter.first = filter.last = icmp.type;
    filter.text = std::to_string(icmp.protocol) + '/' + std::to_string(icmp.type);
    out.push_back(std::move(filter));
  }
  return out;
}

std::vector<std::pair<std::uint16_t, unsigned>> port_blocks(std::uint16_t first,
                                                            std::uint16_t last) {
  std::vector<std::pair<std::uint16_t, unsigned>> out;
  std::uint32_t at = first;
  const std::uint32_t end = std::uint32_t{last} + 1;
  while (at < end) {
    unsigned free_bits = at == 0 ? 16 : static_cast<unsigned>(__builtin_ctz(at));
    while (at + (1u << free_bits) > end) {
      --free_bits;
    }
    out.emplace_back(static_cast<std::uint16_t>(at), 16 - free_bits);
    at += 1u << free_bits;
  }
  return out;
}

} // namespace weir::policy
