#include "proxy/control/identity_rows.h"

#include <catch2/catch_test_macros.hpp>

#include <optional>

namespace weir::control {
namespace {

using endpoint::Endpoint;
using endpoint::PrefixTable;

IpPrefix prefix(const char* text) { return *IpPrefix::parse(text); }

endpoint::EndpointsByAddress pods(std::initializer_list<std::pair<const char*, unsigned>> known) {
  endpoint::EndpointsByAddress::Editor editor{{}};
  for (const auto& [address, identity] : known) {
    auto pod = std::make_shared<Endpoint>();
    pod->identity = identity;
    editor.set(*IpAddress::parse(address), std::move(pod));
  }
  return editor.take();
}

std::shared_ptr<const PrefixTable> table(std::vector<policy::Program::Prefix> prefixes) {
  return std::make_shared<const PrefixTable>(std::move(prefixes));
}

std::optional<std::uint32_t> row(const redirect::IdentityRows& rows, const char* text) {
  const std::uint32_t* found = rows.find(prefix(text));
  return found == nullptr ? std::nullopt : std::optional(*found);
}

TEST_CASE("an address is its pod's, then its node's, then its cell's, in the kernel as in the "
          "Registry") {
  IdentityRows rows;
  const auto cells = table({{prefix("10.0.0.9/32"), WEIR_IDENTITY_REMOTE_NODE},
                            {prefix("10.0.0.9/32"), 5000}, // a policy names the node's address
                            {prefix("10.0.0.1/32"), 5001},
                            {prefix("10.0.0.0/8"), 5002}});
  auto now = rows.update(pods({{"10.0.0.1", 300}, {"fd00::1", 300}}), cells);
  CHECK(row(now, "10.0.0.1/32") == 300u);
  CHECK(row(now, "fd00::1/128") == 300u);
  CHECK(row(now, "10.0.0.9/32") == WEIR_IDENTITY_REMOTE_NODE);
  CHECK(row(now, "10.0.0.0/8") == 5002u);
  const endpoint::Registry registry({}, pods({{"10.0.0.1", 300}}), cells);
  CHECK(registry.identity_of(*IpAddress::parse("10.0.0.9")) == WEIR_IDENTITY_REMOTE_NODE);
  CHECK(registry.identity_of(*IpAddress::parse("10.0.0.1")) == 300);

  now = rows.update(pods({{"10.0.0.2", 301}}), cells); // the cell is there again
  CHECK(row(now, "10.0.0.1/32") == 5001u);
  CHECK(row(now, "10.0.0.2/32") == 301u);
  CHECK_FALSE(row(now, "fd00::1/128"));
  now = rows.update(pods({{"10.0.0.2", 301}}), table({{prefix("10.0.0.2/32"), 5003}}));
  CHECK(row(now, "10.0.0.2/32") == 301u);
  CHECK(now.size() == 1);
  now = rows.update({}, table({{prefix("10.0.0.2/32"), 5003}}));
  CHECK(row(now, "10.0.0.2/32") == 5003u);
}

} // namespace
} // namespace weir::control
