// Interfaces that appear while weir has not heard of them: here it is late as long as the test
// likes, because nobody reads its news.
#include "test/bpf/data_path.h"
#include "test/bpf/policy_rows.h"
#include "test/bpf/small_node.h"
#include "test/support/netns.h"

#include <bpf/bpf.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <string_view>

using namespace weir;
using namespace weir::test;

namespace {

constexpr std::uint32_t kHeld = WEIR_BIRTHS_HELD, kVeths = WEIR_BIRTHS_HELD | WEIR_BIRTHS_VETHS;
constexpr std::uint16_t kPort = 9;
constexpr std::uint32_t kLate = 23;

constexpr Addresses kNew[] = {{"10.1.0.3", "10.1.0.2", "192.0.2.9", false},
                              {"fd00:1::3", "fd00:1::2", "2001:db8::9", true}};

std::uint32_t index_of(const NetNs& where, const std::string& name) {
  return where.on_thread([&] { return ::if_nametoindex(name.c_str()); });
}

void set_births(const DataPath& path, std::uint32_t flags) {
  const std::uint32_t zero = 0;
  const weir_births births{.netns = 0, .flags = flags, .pad = 0};
  REQUIRE(bpf_map_update_elem(path.maps().births, &zero, &births, BPF_ANY) == 0);
}

// A datagram from `from` to `to`: did it arrive? If it did not, `lab` must have dropped it: that is
// awaited.
bool arrives(SmallNode& lab, const NetNs& from, std::string_view source, const NetNs& to,
             std::string_view destination) {
  const auto dropped = [&] {
    return lab.drops(WEIR_DROP_NO_PROGRAM, WEIR_EGRESS) +
           lab.drops(WEIR_DROP_NO_POLICY, WEIR_EGRESS) + lab.drops(WEIR_DROP_SPOOFED, WEIR_EGRESS);
  };
  const UniqueFd receiver = bound_socket(to, SOCK_DGRAM, at(destination, kPort));
  const UniqueFd sender = bound_socket(from, SOCK_DGRAM, at(source, 0));
  start_connect(sender.get(), at(destination, kPort));
  const std::uint64_t before = dropped();
  send_text(sender.get(), "first");
  for (int tries = 0; tries < 500; ++tries) {
    pollfd entry{.fd = receiver.get(), .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, 10) > 0) {
      return true;
    }
    if (dropped() > before) {
      return false;
    }
  }
  FAIL("neither arrived nor dropped");
  return false;
}

std::string_view node_address(const Addresses& addresses) {
  return addresses.v6 ? "2001:db8::1" : "192.0.2.1";
}

// Is a TCP connection made, or refused?
bool connects(const NetNs& from, std::string_view source, const NetNs& to,
              std::string_view destination) {
  const UniqueFd listener = tcp_listener(to, at(destination, kPort));
  const UniqueFd client = bound_socket(from, SOCK_STREAM, at(source, 0));
  start_connect(client.get(), at(destination, kPort));
  REQUIRE(wait_for(client.get(), POLLOUT));
  int failed = 0;
  socklen_t length = sizeof failed;
  REQUIRE(::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &failed, &length) == 0);
  return failed == 0;
}

std::uint64_t held(SmallNode& lab) { return lab.drops(WEIR_DROP_NO_PROGRAM, WEIR_EGRESS); }

// The lab's two pods; `bridge`: as ports of it, with 10.1.0.254 and fd00:1::254 as their gateway.
void make_bridge(SmallNode& lab) {
  lab.node.ip({"link add cni0 type bridge", "addr add 10.1.0.254/24 dev cni0",
               "addr add fd00:1::254/64 dev cni0 nodad", "link set cni0 up", "link del pa",
               "link del pb"});
}

void add_port(SmallNode& lab, const NetNs& pod, const std::string& interface, const std::string& v4,
              const std::string& v6) {
  connect({lab.node, interface, {}}, {pod, "eth0", {}});
  lab.node.ip({"link set " + interface + " master cni0"});
  pod.ip({"addr add " + v4 + "/24 dev eth0", "addr add " + v6 + "/64 dev eth0 nodad",
          "route add default via 10.1.0.254", "route add default via fd00:1::254"});
}

} // namespace

TEST_CASE("an interface without programs is known by its kind and name, in its own namespace") {
  require_root();
  const NetNs node, pod;
  connect({node, "lxc1", {}}, {pod, "eth0", {}});
  connect({node, "docker7", {}}, {pod, "eth1", {}});
  node.ip({"link add br7 type bridge", "link add vx7 type vxlan id 7 dstport 4789"});
  const std::uint32_t veth = index_of(node, "lxc1"), docker = index_of(node, "docker7"),
                      bridge = index_of(node, "br7"), tunnel = index_of(node, "vx7");
  REQUIRE(veth != 0);
  node.on_thread([&] {
    DataPath path;
    weir_name_key others{.prefix_length = 6 * 8, .name = "docker"};
    const std::uint32_t no_pods = WEIR_NAME_OTHERS;
    REQUIRE(bpf_map_update_elem(path.maps().names, &others, &no_pods, BPF_ANY) == 0);
    for (const Family& family : kFamilies) {
      INFO(family.world);
      const std::string unknown = family.v6 ? "fd00:1::9" : "10.1.0.9";
      const auto leaves = [&](std::uint32_t by) {
        return path.to_net(udp(unknown, family.world, 1, 2), 0, by).action == kNext;
      };
      const auto reaches = [&](std::uint32_t by) {
        return path.to_pod(udp(unknown, family.a, 1, 2), 0, by).action == kNext;
      };
      for (const std::uint32_t flags : {0u, kHeld, kVeths}) {
        INFO("flags " << flags);
        set_births(path, flags);
        const bool passes = flags != kVeths;
        CHECK(leaves(veth) == passes);
        CHECK(reaches(veth) == passes);
        // What the node itself sends, what is no veth, what is named as no pod's, and what is none
        // of this namespace is let alone.
        for (const std::uint32_t by : {0u, docker, bridge, tunnel, 4'000'000u}) {
          INFO("came by " << by);
          CHECK(leaves(by));
          CHECK(reaches(by));
        }
      }
      // Neighbours find each other all the same; frames that would hide a packet do not pass.
      if (family.v6) {
        const auto solicitation =
            PacketBuilder("fe80::9", "ff02::1:ff00:1").icmp(135).hop_limit(255);
        CHECK(path.to_net(solicitation, 0, veth).action == kNext);
        CHECK(path.to_pod(solicitation, 0, veth).action == kNext);
      }
      const auto arp = udp(unknown, family.world, 1, 2).ether_type(0x0806);
      CHECK(path.to_net(arp, 0, veth).action == kNext);
      const auto tagged = udp(unknown, family.world, 1, 2).ether_type(0x88a8);
      CHECK(path.to_net(tagged, 0, veth).action == kShot);
      CHECK(path.to_net(tagged, 0, tunnel).action == kNext);
      // A mark does not help, nor headers cut short.
      CHECK(path.to_net(udp(unknown, family.world, 1, 2), WEIR_MARK_FROM_PROXY, veth).action ==
            kShot);
      CHECK(path.to_net(udp(unknown, family.world, 1, 2).fragment(0, true), 0, veth).action ==
            kShot);

      // An address of a pod of this node: held whatever it came by, also where veths are not.
      for (const std::uint32_t flags : {kHeld, kVeths}) {
        set_births(path, flags);
        for (const std::uint32_t by : {veth, docker, tunnel}) {
          path.events();
          CHECK(path.to_net(udp(family.a, family.world, 1, 2), 0, by).action == kShot);
          CHECK(path.to_pod(udp(family.b, family.a, 1, 2), 0, by).action == kShot);
          const auto events = path.events();
          REQUIRE(events.size() == 2);
          CHECK(events[0].reason == WEIR_DROP_NO_PROGRAM);
          CHECK(events[0].direction == WEIR_EGRESS);
        }
      }
      // Once it has its programs, these have had their say.
      set_births(path, kVeths);
      REQUIRE(bpf_map_update_elem(path.maps().interfaces, &veth, &veth, BPF_ANY) == 0);
      CHECK(leaves(veth));
      CHECK(reaches(veth));
      CHECK(path.to_net(udp(family.a, family.world, 1, 2), 0, veth).action == kNext);
      REQUIRE(bpf_map_delete_elem(path.maps().interfaces, &veth) == 0);
    }
  });
}

TEST_CASE("a bridge of pods lets up only what has come by a pod's port") {
  require_root();
  DataPath path;
  const std::uint32_t bridge = 1, other = 7; // the pods' ports have the number 1, too
  for (const Family& family : kFamilies) {
    const std::string unknown = family.v6 ? "fd00:1::9" : "10.1.0.9";
    const auto known = udp(family.a, family.world, 1, 2), fresh = udp(unknown, family.world, 1, 2);
    for (const std::uint32_t flags : {0u, kHeld, kVeths}) {
      INFO("flags " << flags);
      set_births(path, flags);
      REQUIRE(bpf_map_update_elem(path.maps().bridges, &bridge, &bridge, BPF_ANY) == 0);
      CHECK(path.from_ports(known).action == kNext);
      CHECK(path.from_ports(fresh).action == (flags == kVeths ? kShot : kNext));
      // The pod's port is another bridge's, or no port.
      REQUIRE(bpf_map_update_elem(path.maps().bridges, &bridge, &other, BPF_ANY) == 0);
      CHECK(path.from_ports(known).action == (flags != 0 ? kShot : kNext));
      REQUIRE(bpf_map_delete_elem(path.maps().bridges, &bridge) == 0);
      CHECK(path.from_ports(known).action == (flags != 0 ? kShot : kNext));
      // As at every other interface: there is nothing to be told by.
      CHECK(path.from_net(known).action == kNext);
      CHECK(path.from_net(fresh).action == kNext);
    }
    CHECK(path.from_ports(udp(unknown, family.world, 1, 2).ether_type(0x0806)).action == kNext);
    CHECK(path.from_ports(udp(unknown, family.world, 1, 2).ether_type(0x88a8)).action == kShot);
    if (family.v6) {
      CHECK(
          path.from_ports(PacketBuilder("::", "ff02::1:ff00:9").icmp(135).hop_limit(255)).action ==
          kNext);
    }
  }
}

TEST_CASE("S2: nothing of a new pod's leaves the node before its interface is looked at") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  REQUIRE(lab.redirector->hold_new_pods({.uplinks = {"uplink"}, .names = {"docker*", "podman1"}})
              .has_value());
  REQUIRE(lab.apply(pods({})).has_value());
  const bool process_gone = GENERATE(false, true);
  if (process_gone) {
    lab.close(); // its programs stay
  }
  // The counters can be asked by another process, which changes nothing.
  const NetNs c;
  lab.add_pod(c, "pc", "10.1.0.3", "fd00:1::3");
  if (process_gone) {
    lab.open();
  }
  for (const Addresses& addresses : kNew) {
    INFO(addresses.a);
    const std::uint64_t before = held(lab);
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.world, addresses.world));
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.b, addresses.b));
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.node, node_address(addresses)));
    CHECK(held(lab) == before + 3);
    CHECK_FALSE(connects(c, addresses.a, lab.node, node_address(addresses)));
    CHECK(held(lab) == before + 4);
    CHECK(connects(lab.node, node_address(addresses), lab.node, node_address(addresses)));
    // What others and the node itself send goes its way.
    CHECK(arrives(lab, lab.b, addresses.b, lab.world, addresses.world));
    CHECK(arrives(lab, lab.world, addresses.world, lab.b, addresses.b));
    CHECK(arrives(lab, lab.node, node_address(addresses), c, addresses.a));
    CHECK(arrives(lab, lab.world, addresses.world, lab.node, node_address(addresses)));
    CHECK(connects(lab.world, addresses.world, lab.node, node_address(addresses)));
    CHECK(held(lab) == before + 4);
  }
  if (process_gone) {
    return;
  }
  // Its news read, it is held by its own programs, until the pod is known.
  const std::uint64_t before = held(lab);
  lab.until([&] { return lab.redirector->attached("pc"); });
  for (const Addresses& addresses : kNew) {
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.world, addresses.world));
  }
  CHECK(held(lab) == before);
  auto endpoints = pods({});
  endpoints.resize(3);
  endpoints[2].id = kLate;
  endpoints[2].interface = "pc";
  endpoints[2].addresses = {at("10.1.0.3", 0).ip, at("fd00:1::3", 0).ip};
  REQUIRE(lab.apply(endpoints).has_value());
  for (const Addresses& addresses : kNew) {
    CHECK(arrives(lab, c, addresses.a, lab.world, addresses.world));
    CHECK(arrives(lab, c, addresses.a, lab.b, addresses.b));
  }
}

TEST_CASE("what is no pod's is not held while weir has not heard of it") {
  require_root();
  SmallNode lab;
  lab.open();
  REQUIRE(lab.redirector
              ->hold_new_pods({.uplinks = {"uplink"},
                               .names = {"docker*", "podman1", "podman-has-names-too-long"}})
              .has_value());
  REQUIRE(lab.apply(pods({})).has_value());

  SECTION("a container beside the cluster, by its name") {
    const std::string name = GENERATE("docker0", "podman1");
    const NetNs c;
    lab.add_pod(c, name, "10.1.0.3", "fd00:1::3");
    for (const Addresses& addresses : kNew) {
      CHECK(arrives(lab, c, addresses.a, lab.world, addresses.world));
      CHECK(arrives(lab, c, addresses.a, lab.b, addresses.b));
      CHECK(arrives(lab, c, addresses.a, lab.node, node_address(addresses)));
    }
    CHECK(held(lab) == 0);
  }
  SECTION("a name that only begins like another's") {
    const NetNs c;
    lab.add_pod(c, "podman11", "10.1.0.3", "fd00:1::3");
    CHECK_FALSE(arrives(lab, c, "10.1.0.3", lab.world, "192.0.2.9"));
  }
  SECTION("a tunnel to another node") {
    lab.node.ip({"link add vx1 type vxlan id 1 remote 192.0.2.9 dstport 4789 dev uplink",
                 "addr add 10.2.0.1/24 dev vx1", "link set vx1 up"});
    lab.world.ip({"link add vx1 type vxlan id 1 remote 192.0.2.1 dstport 4789 dev eth0",
                  "addr add 10.2.0.9/24 dev vx1", "link set vx1 up",
                  "route add 10.1.0.0/24 via 10.2.0.1"});
    CHECK(arrives(lab, lab.world, "10.2.0.9", lab.b, "10.1.0.2"));
    CHECK(arrives(lab, lab.b, "10.1.0.2", lab.world, "10.2.0.9"));
    CHECK(held(lab) == 0);
  }
  SECTION("another uplink, and what was held before its news was read") {
    const NetNs other;
    connect({lab.node, "uplink2", {}}, {other, "eth0", {}});
    lab.node.ip({"addr add 198.51.100.1/24 dev uplink2"});
    other.ip({"addr add 198.51.100.9/24 dev eth0", "route add default via 198.51.100.1"});
    CHECK_FALSE(arrives(lab, other, "198.51.100.9", lab.b, "10.1.0.2")); // a veth here
    REQUIRE(
        lab.redirector->hold_new_pods({.uplinks = {"uplink", "uplink2"}, .names = {}}).has_value());
    lab.until([&] { return lab.redirector->attached("uplink2"); });
    CHECK(arrives(lab, other, "198.51.100.9", lab.b, "10.1.0.2"));
  }
}

TEST_CASE("without the hold only what is of a known pod of this node is held") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  auto endpoints = pods({});
  endpoints.resize(3);
  endpoints[2].id = kLate;
  endpoints[2].interface = "pc";
  endpoints[2].addresses = {at("10.1.0.3", 0).ip, at("fd00:1::3", 0).ip};
  REQUIRE(lab.apply(endpoints).has_value());
  if (GENERATE(false, true)) {
    lab.masquerade();
  }
  const NetNs c, d;
  lab.add_pod(c, "pc", "10.1.0.3", "fd00:1::3");
  lab.add_pod(d, "pd", "10.1.0.4", "fd00:1::4");
  for (const Addresses& addresses : kNew) {
    const std::string unknown = addresses.v6 ? "fd00:1::4" : "10.1.0.4";
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.world, addresses.world));
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.b, addresses.b));
    CHECK(arrives(lab, d, unknown, lab.world, addresses.world));
    CHECK(arrives(lab, d, unknown, lab.b, addresses.b));
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.node, node_address(addresses)));
    CHECK(arrives(lab, d, unknown, lab.node, node_address(addresses)));
  }
  CHECK(held(lab) == 6);
  lab.until([&] { return lab.redirector->attached("pc"); });
  for (const Addresses& addresses : kNew) {
    CHECK(arrives(lab, c, addresses.a, lab.world, addresses.world));
  }
}

TEST_CASE("a hold ends when it is told to, and begins anew when a pod is known no more") {
  require_root();
  SmallNode lab;
  lab.open();
  REQUIRE(lab.redirector->hold_new_pods({.uplinks = {"uplink"}, .names = {}}).has_value());
  REQUIRE(lab.apply(pods({})).has_value());
  const NetNs c;
  lab.add_pod(c, "pc", "10.1.0.3", "fd00:1::3");
  lab.until([&] { return lab.redirector->attached("pc"); });
  const auto passes = [&] { return arrives(lab, c, "10.1.0.3", lab.world, "192.0.2.9"); };
  const auto end_holds = [&](std::chrono::steady_clock::time_point begun) {
    REQUIRE(lab.node.on_thread([&] { return lab.redirector->end_holds(begun); }).has_value());
  };
  const auto now = [] { return std::chrono::steady_clock::now(); };
  CHECK_FALSE(passes());
  end_holds(now() - std::chrono::hours(1));
  CHECK_FALSE(passes());
  end_holds(now());
  CHECK(passes());
  // Of the pods around it each has its own policy, as ever.
  CHECK(arrives(lab, c, "10.1.0.3", lab.b, "10.1.0.2"));

  auto endpoints = pods({});
  endpoints.resize(3);
  endpoints[2].id = kLate;
  endpoints[2].interface = "pc";
  endpoints[2].held = true;
  endpoints[2].addresses = {at("10.1.0.3", 0).ip};
  REQUIRE(lab.apply(endpoints).has_value());
  CHECK_FALSE(passes());
  end_holds(now()); // this is no hold of an unknown pod's
  CHECK_FALSE(passes());
  const auto known_until = now();
  REQUIRE(lab.apply(pods({})).has_value());
  end_holds(known_until);
  CHECK_FALSE(passes());
  end_holds(now());
  CHECK(passes());
}

TEST_CASE("an interface with the number of one that is gone is another one") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  lab.open();
  REQUIRE(lab.redirector->hold_new_pods({.uplinks = {"uplink"}, .names = {}}).has_value());
  REQUIRE(lab.apply(pods({})).has_value());
  const std::string index = std::to_string(index_of(lab.node, "pa"));
  const NetNs c;
  lab.node.ip({"link del pa",
               "link add pc index " + index + " type veth peer name eth0 netns " + c.name(),
               "link set pc up", "addr add 169.254.1.1/32 dev pc",
               "addr add fe80::1/64 dev pc nodad", "route add 10.1.0.3/32 dev pc"});
  c.ip({"link set eth0 up", "addr add 10.1.0.3/32 dev eth0",
        "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1"});
  REQUIRE(std::to_string(index_of(lab.node, "pc")) == index);
  CHECK_FALSE(arrives(lab, c, "10.1.0.3", lab.world, "192.0.2.9"));
  CHECK(held(lab) == 1);
  // Both pieces of news are read at once: it must not pass for the old one, which had programs.
  lab.until([&] { return !lab.redirector->attached("pa"); });
  CHECK_FALSE(arrives(lab, c, "10.1.0.3", lab.world, "192.0.2.9"));
  CHECK(held(lab) == 1);
  auto endpoints = pods({});
  endpoints[0].id = kLate;
  endpoints[0].egress_enforced = false;
  endpoints[0].interface = "pc";
  endpoints[0].addresses = {at("10.1.0.3", 0).ip};
  REQUIRE(lab.apply(endpoints).has_value());
  CHECK(arrives(lab, c, "10.1.0.3", lab.world, "192.0.2.9"));
}

TEST_CASE("S2: nothing of a new pod's at a bridge's port passes before its port is looked at") {
  require_root();
  const auto mode = each_attach_mode();
  INFO(name_of(mode));
  SmallNode lab(mode);
  make_bridge(lab);
  add_port(lab, lab.a, "pa", "10.1.0.1", "fd00:1::1");
  add_port(lab, lab.b, "pb", "10.1.0.2", "fd00:1::2");
  lab.open();
  REQUIRE(lab.redirector->hold_new_pods({.uplinks = {"uplink", "cni0"}, .names = {}}).has_value());
  REQUIRE(lab.apply(pods({})).has_value());
  const NetNs c;
  add_port(lab, c, "pc", "10.1.0.3", "fd00:1::3");
  for (const Addresses& addresses : kNew) {
    INFO(addresses.a);
    const std::uint64_t before = held(lab);
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.world, addresses.world));
    CHECK_FALSE(arrives(lab, c, addresses.a, lab.b, addresses.b));
    // Here the node is safe, too.
    CHECK_FALSE(
        arrives(lab, c, addresses.a, lab.node, addresses.v6 ? "fd00:1::254" : "10.1.0.254"));
    CHECK(held(lab) == before + 3);
    CHECK(arrives(lab, lab.b, addresses.b, lab.world, addresses.world));
    CHECK(arrives(lab, lab.world, addresses.world, lab.b, addresses.b));
    CHECK(arrives(lab, lab.b, addresses.b, lab.node, addresses.v6 ? "fd00:1::254" : "10.1.0.254"));
  }
  auto endpoints = pods({});
  endpoints.resize(3);
  endpoints[2].id = kLate;
  endpoints[2].interface = "pc";
  endpoints[2].addresses = {at("10.1.0.3", 0).ip, at("fd00:1::3", 0).ip};
  REQUIRE(lab.apply(endpoints).has_value());
  lab.until([&] { return lab.redirector->attached("pc"); });
  for (const Addresses& addresses : kNew) {
    CHECK(arrives(lab, c, addresses.a, lab.world, addresses.world));
    CHECK(arrives(lab, c, addresses.a, lab.b, addresses.b));
  }
  // A port that is no pod's: who comes up is no longer told from others.
  const NetNs lan;
  add_port(lab, lan, "lan0", "10.1.0.5", "fd00:1::5");
  REQUIRE(lab.redirector->hold_new_pods({.uplinks = {"uplink", "cni0"}, .names = {"lan0"}})
              .has_value());
  lab.until([&] { return lab.redirector->attached("lan0"); });
  CHECK(arrives(lab, lan, "10.1.0.5", lab.world, "192.0.2.9"));
  CHECK(arrives(lab, lan, "10.1.0.5", lab.b, "10.1.0.2"));
}
