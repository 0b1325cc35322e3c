// No address is learned without a chain: each comes from a record whose owner is reached from the
// question through the CNAME and DNAME records of the answer section, judged here by a search that
// shares no code with the learner.
#include "proxy/base/check.h"
#include "proxy/dns/learner.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

using namespace weir;

namespace {

bool ends_with(const std::string& wire, const std::string& suffix) {
  return wire.size() > suffix.size() && wire.ends_with(suffix);
}

// Wire forms that some chain may lead to; more than the learner's single chain, never fewer.
std::set<std::string> reachable(const dns::Response& response) {
  std::set<std::string> names{response.question.name.wire()};
  for (std::size_t round = 0; round <= dns::kMaxChain; ++round) {
    std::set<std::string> next = names;
    for (const auto& record : response.answers) {
      const auto* target = std::get_if<DnsName>(&record.data);
      if (target == nullptr) {
        continue;
      }
      for (const auto& name : names) {
        if (record.type == dns::RecordType::kCname && name == record.owner.wire()) {
          next.insert(target->wire());
        } else if (record.type == dns::RecordType::kDname && ends_with(name, record.owner.wire())) {
          next.insert(name.substr(0, name.size() - record.owner.wire().size()) + target->wire());
        }
      }
    }
    if (next == names || next.size() > 1000) {
      break;
    }
    names = std::move(next);
  }
  return names;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto response = dns::parse_response({data, size});
  if (!response) {
    return 0;
  }
  dns::LearnRules rules;
  rules.is_cluster = [](const IpAddress& address) { return address.bytes()[15] == 13; };
  const auto learned = dns::learn_addresses(*response, rules);
  if (learned.addresses.empty()) {
    return 0;
  }
  WEIR_CHECK(response->rcode == dns::Rcode::kNoError);
  const auto names = reachable(*response);
  for (const auto& address : learned.addresses) {
    WEIR_CHECK(!dns::never_learned(address));
    WEIR_CHECK(address.bytes()[15] != 13);
    WEIR_CHECK(std::any_of(
        response->answers.begin(), response->answers.end(), [&](const dns::Record& record) {
          const auto* data_address = std::get_if<IpAddress>(&record.data);
          return data_address != nullptr && *data_address == address &&
                 static_cast<std::uint16_t>(record.type) == response->question.type &&
                 record.ttl >= learned.ttl && names.contains(record.owner.wire());
        }));
  }
  return 0;
}
