// A pod that plays a DNS server towards its neighbour, and knows all that there is to be guessed:
// the test is the real server and tells it id and port of the question that is under way.
#include "proxy/session/dns_reply_socket.h"
#include "test/support/lab.h"
#include "test/unit/dns/session_fixture.h"
#include "test/unit/dns/wire.h"

#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <sstream>

namespace weir::test {
namespace {

constexpr const char* kAsked = "n1.example.test";

struct Servers {
  std::string address, forged, real; // addresses of the server, of the lie and of the answer
  std::uint16_t type;
  Wire answer(std::uint16_t id, bool lie) const {
    Wire out = Wire::response(id, kAsked, type);
    const std::string& text = lie ? forged : real;
    if (type == 28) {
      return out.aaaa(kAsked, text);
    }
    const IpAddress ip = *IpAddress::parse(text);
    const auto& bytes = ip.bytes();
    return out.a(kAsked, {bytes[12], bytes[13], bytes[14], bytes[15]});
  }
};
const Servers kServers[] = {{"10.0.2.54", "198.18.66.6", "198.18.0.1", 1},
                            {"fd00:10:2::54", "2001:db8:5::666", "2001:db8:5::1", 28}};

constexpr const char* kPolicy = R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - toCIDR: [10.0.2.54/32, "fd00:10:2::54/128"]
    toPorts:
    - ports: [{port: "53", protocol: UDP}]
      rules: {dns: [{matchPattern: "*.example.test"}]}
  - toFQDNs: [{matchPattern: "*.example.test"}]
)";

double spoofed(Lab& lab) {
  const auto reply = lab.admin("/stats/prometheus");
  REQUIRE(reply);
  std::istringstream text(reply->body);
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("weir_drops_total") && line.find("spoofed") != std::string::npos &&
        line.find("egress") != std::string::npos) {
      return std::stod(line.substr(line.rfind(' ') + 1));
    }
  }
  FAIL("no counter of spoofed packets");
  return 0;
}

TEST_CASE("D12: an answer that another pod forges teaches nothing, though it guesses everything") {
  require_root();
  Lab lab;
  const Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  // One that may send whatever it likes, and one under the same policy.
  const Pod& stranger = lab.add_pod({"shop", "stranger", {{"app", "stranger"}}});
  const Pod& twin = lab.add_pod({"shop", "twin", {{"app", "client"}}});
  lab.policies().publish({{"names.yaml", kPolicy}});
  // Weir waits for its answer as long as the forgers take.
  lab.set_dns("{resolvers: [10.0.2.54/32, \"fd00:10:2::54/128\"], upstreamTimeout: 20s}");
  for (const Servers& one : kServers) {
    lab.world().ip({"addr add " + one.address + " dev lo"});
  }
  lab.start_weir();

  for (const Servers& one : kServers) {
    INFO(one.address);
    const SocketAddress server_address{*IpAddress::parse(one.address), 53};
    const bool v6 = !server_address.ip.is_v4();
    TestSocket server =
        lab.world().on_thread([&] { return TestSocket(SOCK_DGRAM, server_address); });
    const std::string any = v6 ? "[::]:0" : "0.0.0.0:0";
    TestSocket asking = client.netns().on_thread([&] { return TestSocket(SOCK_DGRAM, any); });
    asking.send_to(server_address, Wire::query(7, kAsked, one.type));
    const auto [seen, weir] = server.receive();
    REQUIRE(weir.ip.to_string() == client.address(v6 ? Family::kV6 : Family::kV4));
    const dns::Bytes lie = one.answer(dns::message_id(seen), true);

    const double before = spoofed(lab);
    for (const Pod* pod : {&stranger, &twin}) {
      // In its own name, from the port of DNS …
      pod->netns().on_thread([&, weir_address = weir] {
        TestSocket own(SOCK_DGRAM, v6 ? "[::]:53" : "0.0.0.0:53");
        own.send_to(weir_address, lie);
        own.send_to({*IpAddress::parse(client.address(v6 ? Family::kV6 : Family::kV4)),
                     asking.address().port},
                    lie);
        own.send_to(server_address, lie);
      });
      // … and in the server's.
      const std::vector<session::DnsReply> replies{{server_address, weir, lie}};
      const std::size_t sent = pod->netns().on_thread(
          [&] { return session::DnsReplySocket::open(v6).value().send(replies); });
      CHECK(sent == 1);
    }
    // And the client itself sends an answer where it should ask.
    asking.send_to(server_address, lie);
    CHECK(spoofed(lab) == before + 2); // programs count before send() returns

    server.send_to(weir, one.answer(dns::message_id(seen), false));
    std::pair<dns::Bytes, SocketAddress> got = asking.receive();
    while (got.second.ip != server_address.ip) { // a neighbour's, which any resolver leaves aside
      got = asking.receive();
    }
    CHECK(got.first == dns::Bytes(one.answer(7, false)));
    std::vector<std::string> learned;
    const auto cache = lab.admin_json("/fqdn/cache");
    for (const auto& row : cache.as_array()) {
      learned.push_back(boost::json::value_to<std::string>(row.at("address")));
    }
    CHECK(std::find(learned.begin(), learned.end(), one.real) != learned.end());
    CHECK(std::find(learned.begin(), learned.end(), one.forged) == learned.end());
  }
}

TEST_CASE("D13: what is no question finds no way out of port 53, and questions are judged on other "
          "ports that a rule names") {
  require_root();
  Lab lab;
  const Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  std::string policy = kPolicy;
  policy.replace(policy.find("- ports: [{port: \"53\", protocol: UDP}]"), 38,
                 "- ports: [{port: \"53\", protocol: UDP}, {port: \"5353\", protocol: UDP}]");
  lab.policies().publish({{"names.yaml", policy}});
  lab.set_dns("{resolvers: [10.0.2.54/32]}");
  const Servers& one = kServers[0];
  lab.world().ip({"addr add " + one.address + " dev lo"});
  lab.start_weir();
  for (const std::uint16_t port : {std::uint16_t{53}, std::uint16_t{5353}}) {
    INFO("port " << port);
    const SocketAddress at{*IpAddress::parse(one.address), port};
    TestSocket server = lab.world().on_thread([&] { return TestSocket(SOCK_DGRAM, at); });
    TestSocket asking =
        client.netns().on_thread([&] { return TestSocket(SOCK_DGRAM, "0.0.0.0:0"); });
    const std::string http = "GET / HTTP/1.1\r\nHost: evil\r\n\r\n";
    for (const std::string& text :
         {std::string(), std::string("x"), http, std::string(4000, 'y')}) {
      asking.send_to(at, dns::Bytes(text.begin(), text.end()));
    }
    asking.send_to(at, Wire::query(6, "n1.example.org", one.type));
    const auto refused =
        asking.receive().first; // the first answer: HTTP's bytes are a bad question
    asking.send_to(at, Wire::query(7, kAsked, one.type));
    const auto [seen, weir] = server.receive();
    CHECK(dns::BytesView(seen).size() > dns::kHeaderSize);
    server.send_to(weir, one.answer(dns::message_id(seen), false));
    dns::Bytes got = refused;
    while (dns::message_id(got) != 7) {
      CHECK(dns::message_rcode(got) != dns::Rcode::kNoError);
      got = asking.receive().first;
    }
    CHECK(got == dns::Bytes(one.answer(7, false)));
    CHECK_FALSE(server.has_something());
  }
}

} // namespace
} // namespace weir::test
