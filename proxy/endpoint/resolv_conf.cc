#include "proxy/endpoint/resolv_conf.h"

#include <algorithm>

namespace weir::endpoint {
namespace {

constexpr std::string_view kBlanks = " \t\r";

// Takes the next word off the text's front; empty when there is none.
std::string_view next_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const auto word = text.substr(0, text.find_first_of(kBlanks));
  text.remove_prefix(word.size());
  return word;
}

} // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = line.substr(0, line.find_first_of("#;"));
    const auto keyword = next_word(line);
    if (keyword == "nameserver") {
      auto server = next_word(line);
      server = server.substr(0, server.find('%')); // of a link-local address: its interface
      if (const auto address = IpAddress::parse(server)) {
        conf.name_servers.push_back(*address);
      }
    } else if (keyword == "search" || keyword == "domain") {
      conf.search.clear();
      for (auto word = next_word(line); !word.empty(); word = next_word(line)) {
        if (auto domain = DnsName::from_text(word); domain && !domain->is_root()) {
          conf.search.push_back(*std::move(domain));
        }
      }
    }
  }
  return conf;
}

} // namespace weir::endpoint
