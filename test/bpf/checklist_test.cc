// What a node must withstand from its network, row by row: the part of it that single packets can
// say. Each name begins with its row (N: network path, S: start, stop and upgrade); further rows
// are in program_test.cc, redirect_test.cc, service_test.cc and test/integration.
#include "redirect-bpf/abi/weir_abi.h"
#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/cleanup.h"
#include "redirect-bpf/user/loader.h"
#include "test/bpf/data_path.h"
#include "test/bpf/small_node.h"
#include "test/support/netns.h"
#include "test/support/temp_folder.h"

#include <bpf/bpf.h>
#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <sched.h>

using namespace weir;
using namespace weir::test;

namespace {

// Keeps this thread where it is. In an LRU map each processor has entries of its own that are not
// old to the others: what was put in last by one stays as long as only others put something in.
class OneProcessor {
public:
  OneProcessor() {
    REQUIRE(::sched_getaffinity(0, sizeof x_before, &x_before) == 0);
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &here);
    REQUIRE(::sched_setaffinity(0, sizeof here, &here) == 0);
  }
  ~OneProcessor() { ::sched_setaffinity(0, sizeof x_before, &x_before); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

private:
  cpu_set_t x_before{};
};

} // namespace

TEST_CASE("N2: IPv4 source routes are dropped, wherever they stand among the options") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress | kIngress,
                  Rows{row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, WEIR_ALLOW),
                       row_any(WEIR_INGRESS, WEIR_IDENTITY_ANY, WEIR_ALLOW)});
  const Bytes loose{131, 7, 4, 10, 1, 0, 2}, strict{1, 1, 1, 137, 7, 4, 192, 0, 2, 9, 0, 0};
  const Bytes behind_timestamp{68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 131, 3, 4};
  for (const Bytes& options : {loose, strict, behind_timestamp}) {
    CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 53).ipv4_options(options)).action == kShot);
    CHECK(path.to_pod(udp("192.0.2.9", "10.1.0.1", 1, 53).ipv4_options(options)).action == kShot);
  }
  CHECK(path.drops(WEIR_DROP_EXTENSION, WEIR_EGRESS) == 3);
  CHECK(path.drops(WEIR_DROP_EXTENSION, WEIR_INGRESS) == 3);
  // Options that only look like one: behind the end of the list, and within another option.
  const Bytes ended{0, 131, 3, 4}, within{68, 8, 5, 0, 131, 3, 4, 0};
  for (const Bytes& options : {ended, within}) {
    CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 53).ipv4_options(options)).action == kNext);
  }
}

TEST_CASE("N2: the other extension headers never hide ports") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW)});
  // Mobility (135), HIP (139), Shim6 (140), experiments (253): judged as a protocol of their own.
  for (const std::uint8_t type : std::initializer_list<std::uint8_t>{135, 139, 140, 253}) {
    CHECK(path.from_pod(udp("fd00:1::1", "2001:db8::9", 1, 53).extension(type)).action == kShot);
  }
  CHECK(path.drops(WEIR_DROP_POLICY, WEIR_EGRESS) == 4);
}

TEST_CASE("N3: no order and no overlap of fragments gets a byte past a policy") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW),
                       row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_REDIRECT)});
  for (const Family& family : kFamilies) {
    // Last first; one that overlaps the header; a first one that is cut within the header; and an
    // "atomic" one, complete in itself (RFC 6946).
    CHECK(path.from_pod(udp(family.a, family.world, 1, 53).fragment(3, false)).action == kShot);
    CHECK(path.from_pod(udp(family.a, family.world, 1, 53).fragment(1, true)).action == kShot);
    CHECK(
        path.from_pod(
                PacketBuilder(family.a, family.world).raw(IPPROTO_TCP, Bytes(8)).fragment(0, true))
            .action == kShot);
    if (family.v6) {
      CHECK(path.from_pod(udp(family.a, family.world, 1, 53).fragment(0, false)).action == kShot);
    }
  }
}

TEST_CASE("N4: an ICMP redirect is no error, and policy decides about it") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress | kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW)});
  CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 5, 53)).action == kNext);
  CHECK(path.to_pod(PacketBuilder("192.0.2.9", "10.1.0.1").icmp(5)).action == kShot);
  CHECK(path.to_pod(PacketBuilder("192.0.2.9", "10.1.0.1").icmp(4)).action == kShot);
  // In IPv6 it is neighbour discovery, and passes on the link only.
  CHECK(path.to_pod(PacketBuilder("2001:db8::9", "fd00:1::1").icmp(137)).action == kShot);
}

TEST_CASE("N5: a rule for one protocol opens and redirects no other") {
  require_root();
  DataPath path;
  path.set_policy(kA, kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 443, WEIR_REDIRECT)});
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(udp(family.a, family.world, 1, 443)).action == kShot); // QUIC
    CHECK(path.from_pod(PacketBuilder(family.a, family.world).sctp(1, 443)).action == kShot);
    // GRE, ESP, IGMP, IPIP and 6in4 (whose inner packet nobody sees), UDP-Lite, DCCP.
    for (const std::uint8_t protocol :
         std::initializer_list<std::uint8_t>{47, 50, 2, 4, 41, 136, 33}) {
      CHECK(path.from_pod(PacketBuilder(family.a, family.world).raw(protocol, Bytes(40))).action ==
            kShot);
    }
  }
  CHECK(path.drops(WEIR_DROP_POLICY, WEIR_EGRESS) == 18);
}

TEST_CASE("N7: a pod never reaches the node's loopback, whatever policy says") {
  require_root();
  DataPath path;
  auto all_dropped = [&] {
    CHECK(path.from_pod(tcp("10.1.0.1", "127.0.0.1", 1, 9931, kSyn)).action == kShot);
    CHECK(path.from_pod(tcp("10.1.0.1", "127.255.0.9", 1, 9931, kSyn)).action == kShot);
    CHECK(path.from_pod(udp("10.1.0.1", "127.0.0.1", 1, 53)).action == kShot);
    CHECK(path.from_pod(tcp("fd00:1::1", "::1", 1, 9931, kSyn)).action == kShot);
  };
  all_dropped(); // no policy at all
  path.set_policy(kA, kEgress, Rows{row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, WEIR_ALLOW)});
  all_dropped();
  path.set_policy(kA, kEgress, Rows{row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, WEIR_REDIRECT)});
  all_dropped();
  CHECK(path.drops(WEIR_DROP_TO_LOOPBACK, WEIR_EGRESS) == 12);
  // A loopback address as the source is nobody's.
  CHECK(path.from_pod(udp("127.0.0.1", "10.1.0.2", 1, 2)).action == kShot);
}

TEST_CASE("N8: frames with tags that hide an IP packet do not leave a pod") {
  require_root();
  DataPath path;
  for (const std::uint16_t type :
       std::initializer_list<std::uint16_t>{0x8100, 0x88a8, 0x8847, 0x8848, 0x8864}) {
    CHECK(path.from_pod(udp("10.1.0.1", "192.0.2.9", 1, 2).ether_type(type)).action == kShot);
  }
  CHECK(path.drops(WEIR_DROP_MALFORMED, WEIR_EGRESS) == 5);
}

TEST_CASE("N10: only a SYN opens a flow of its own, whatever else is set") {
  require_root();
  DataPath path;
  path.set_policy(kA, kIngress | kEgress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_ALLOW)});
  for (const Family& family : kFamilies) {
    const auto in = [&](std::uint16_t port, std::uint8_t flags) {
      return path.to_pod(tcp(family.world, family.a, 80, port, flags)).action;
    };
    // Data in the SYN (TFO), urgent data, a lone RST: judged like any packet to that port.
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kSyn)).action == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kAck | kUrg)).action == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 81, kRst)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 81, 0)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 81, 0xff)).action == kShot);
    // Simultaneous open: the peer's SYN is a flow of its own, and its policy says no.
    CHECK(in(1, kSyn) == kShot);
    CHECK(in(1, kSyn | kAck) == kNext);
    // Half-close: what comes after a FIN of either side is still the flow.
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kFin | kAck)).action == kNext);
    CHECK(in(1, kAck) == kNext);
    CHECK(in(1, kFin | kAck) == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kAck)).action == kNext);
    // The end of one connection opens nothing for the next of the peer's.
    CHECK(in(1, kSyn) == kShot);
  }
}

TEST_CASE("N11: an address that is another pod's now inherits nothing") {
  require_root();
  DataPath path;
  redirect::PolicyRow learned =
      row(WEIR_EGRESS, WEIR_IDENTITY_LEARNED, IPPROTO_TCP, 443, WEIR_DENY);
  learned.entry.fqdn_allow = 1;
  const Rows rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_TCP, 80, WEIR_ALLOW), learned};
  path.set_policy(kA, kEgress | kIngress, rows);
  for (const Family& family : kFamilies) {
    path.learn(kA, family.world, 1, ~0ull);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kSyn)).action == kNext);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 443, kSyn)).action == kNext);
  }
  path.replace(kA, 13, kEgress | kIngress, Rows{learned});
  for (const Family& family : kFamilies) {
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 80, kAck)).action == kShot);
    CHECK(path.to_pod(tcp(family.world, family.a, 80, 1, kAck)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 1, 443, kAck)).action == kShot);
    CHECK(path.from_pod(tcp(family.a, family.world, 2, 443, kSyn)).action == kShot);
  }
}

TEST_CASE("S5: maps of another layout are not adopted, and the reason is said") {
  require_root();
  const TempFolder temporary;
  const std::string bpffs = temporary.file("bpffs");
  REQUIRE(redirect::ensure_bpffs(bpffs).has_value());
  REQUIRE(redirect::make_pin_folders(bpffs).has_value());
  const std::string folder = redirect::pin_folder(bpffs);
  const UniqueFd other(bpf_map_create(BPF_MAP_TYPE_HASH, "weir_endpoints", 16, 24, 8, nullptr));
  REQUIRE(other.valid());
  REQUIRE(bpf_obj_pin(other.get(), (folder + "/maps/weir_endpoints").c_str()) == 0);
  const auto loaded = redirect::BpfObject::load(folder, {});
  REQUIRE_FALSE(loaded.has_value());
  CHECK(loaded.error().text().find("another layout") != std::string::npos);
  const NetNs node;
  CHECK(node.on_thread([&] { return redirect::cleanup(bpffs); }).has_value());
}

TEST_CASE("S6: where the map of addresses is full, apply says so and the rest is locked") {
  require_root();
  SmallNode lab;
  lab.open({.addresses = 2,
            .endpoints = 16,
            .learned = 1,
            .flows = 64,
            .returns = 64,
            .event_bytes = 1u << 16});
  auto endpoints = pods({});
  endpoints[0].egress_enforced = false;
  const auto applied = lab.apply(endpoints);
  REQUIRE_FALSE(applied.has_value());
  CHECK(applied.error().text().find("weir_endpoints") != std::string::npos);
  // Pod B found no room: it can neither send nor receive.
  const UniqueFd client = bound_socket(lab.b, SOCK_DGRAM, at("10.1.0.2", 0));
  start_connect(client.get(), at("192.0.2.9", 9));
  send_text(client.get(), "x");
  lab.until([&] { return lab.drops(WEIR_DROP_SPOOFED, WEIR_EGRESS) > 0; });
  // The learned addresses: an error of learn(), so the DNS answer is not released.
  const auto learn = [&](const char* address) {
    return lab.redirector->learn(
        {.endpoint = kPodA, .address = at(address, 0).ip, .groups = 1, .expires_ns = ~0ull});
  };
  CHECK(learn("203.0.113.1").has_value());
  CHECK_FALSE(learn("203.0.113.2").has_value());
}

TEST_CASE("S6: a flood of flows evicts the oldest, which are then decided again") {
  require_root();
  const OneProcessor here;
  DataPath path(64);
  path.set_policy(kA, kEgress | kIngress,
                  Rows{row(WEIR_EGRESS, WEIR_IDENTITY_ANY, IPPROTO_UDP, 53, WEIR_ALLOW)});
  const Family& family = kFamilies[0];
  CHECK(path.from_pod(udp(family.a, family.world, 1, 53)).action == kNext);
  for (std::uint16_t port = 1000; port < 9000; ++port) {
    CHECK(path.from_pod(udp(family.a, family.world, port, 53)).action == kNext);
  }
  // Forgotten: its answer is nobody's, and its next packet is judged as the first was.
  CHECK(path.to_pod(udp(family.world, family.a, 53, 1)).action == kShot);
  CHECK(path.from_pod(udp(family.a, family.world, 1, 53)).action == kNext);
  CHECK(path.to_pod(udp(family.world, family.a, 53, 1)).action == kNext);
}
