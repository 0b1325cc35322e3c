#include "proxy/endpoint/pods.h"

#include <catch2/catch_test_macros.hpp>

#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace weir::endpoint {
namespace {

// All that is told of a cluster, in a form that can be compared.
struct Told {
  std::set<std::tuple<std::string, policy::IdentityId, policy::Labels, std::string, bool>> pods;
  std::set<std::pair<IpAddress, std::string>> addresses;
  std::set<std::string> judged;
  std::set<std::pair<policy::IdentityId, policy::Labels>> identities;
  std::set<std::tuple<policy::IdentityId, std::string, std::uint16_t>> ports;
  std::size_t identity_rows = 0;

  bool operator==(const Told&) const = default;
};

Told told_by(const Pods& pods) {
  Told told;
  pods.by_name().for_each([&](const std::string& name, const EndpointPtr& pod) {
    CHECK(pod->full_name() == name);
    told.pods.emplace(name, pod->identity, *pod->labels, pod->interface, pod->id != 0);
  });
  pods.by_address().for_each([&](const IpAddress& address, const EndpointPtr& pod) {
    told.addresses.emplace(address, pod->full_name());
  });
  for (const auto& [name, pod] : pods.judged()) {
    told.judged.insert(name);
  }
  policy::CompileInput input;
  pods.add_to(input);
  for (const auto& identity : input.identities) {
    told.identities.emplace(identity.id, *identity.labels);
  }
  told.identity_rows = input.identities.size();
  for (const auto& [identity, port] : input.peer_ports) {
    told.ports.emplace(identity, port.name, port.port);
  }
  return told;
}

class RandomCluster {
public:
  explicit RandomCluster(unsigned seed) : x_random(seed) {}

  void change() {
    const std::string name = "shop-" + number(3) + "/web-" + number(20);
    switch (x_random() % 4) {
    case 0:
      pods.erase(name);
      break;
    case 1:
      namespaces["shop-" + number(3)] = {{"team", number(2)}};
      break;
    default: {
      PodSpec pod;
      pod.pod_namespace = name.substr(0, name.find('/'));
      pod.name = name.substr(name.find('/') + 1);
      pod.labels = {{"app", number(4)}};
      pod.interface = x_random() % 3 == 0 ? "veth" + number(20) : "";
      if (x_random() % 2 == 0) {
        pod.named_ports = {{"http", static_cast<std::uint16_t>(8000 + x_random() % 2), 6}};
      }
      // Addresses wander from pod to pod, but are never two pods'.
      const auto address = *IpAddress::parse("10.0.0." + number(30));
      std::erase_if(pods, [&](const auto& one) {
        return one.first != name && one.second.addresses == std::vector{address};
      });
      pod.addresses = {address};
      pods[name] = std::move(pod);
    }
    }
  }
  [[nodiscard]] PodMap pod_specs() const {
    std::vector<PodSpec> specs;
    for (const auto& [name, pod] : pods) {
      specs.push_back(pod);
    }
    return pod_map(std::move(specs));
  }

  std::map<std::string, PodSpec> pods;
  std::map<std::string, PlainLabels> namespaces;

private:
  std::string number(unsigned below) { return std::to_string(x_random() % below); }

  std::minstd_rand x_random;
};

TEST_CASE("pods that followed every change are told as those that are read at once") {
  IdentityAllocator numbers(1);
  const auto judged = [](const PodSpec& pod) { return !pod.interface.empty(); };
  for (unsigned seed = 1; seed < 8; ++seed) {
    CAPTURE(seed);
    RandomCluster cluster(seed);
    Pods followed(numbers, judged);
    for (int round = 0; round < 60; ++round) {
      for (int change = 0; change <= round % 4; ++change) {
        cluster.change();
      }
      followed.update(cluster.pod_specs(), namespace_map(cluster.namespaces));
      Pods fresh(numbers, judged);
      fresh.update(cluster.pod_specs(), namespace_map(cluster.namespaces));
      REQUIRE(told_by(followed) == told_by(fresh));
    }
  }
}

TEST_CASE("pods of one identity share their labels, and a change leaves all others as they are") {
  IdentityAllocator numbers(1);
  Pods pods(numbers, [](const PodSpec& /*pod*/) { return false; });
  std::vector<PodSpec> specs(3);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    specs[i].pod_namespace = "shop";
    specs[i].name = std::to_string(i);
    specs[i].labels = {{"app", "web"}};
    specs[i].addresses = {*IpAddress::parse("10.0.0." + std::to_string(i + 1))};
  }
  PodMap::Editor editor(pod_map(specs));
  pods.update(editor.take(), {});
  const EndpointsByName before = pods.by_name();
  CHECK((*before.find("shop/0"))->labels == (*before.find("shop/2"))->labels);
  CHECK((*before.find("shop/0"))->id == 0);
  specs[1].labels = {{"app", "api"}};
  editor.set("shop/1", std::make_shared<const PodSpec>(specs[1]));
  pods.update(editor.take(), {});
  std::set<std::string> changed;
  EndpointsByName::for_each_difference(before, pods.by_name(),
                                       [&](const std::string& name, const auto* /*before*/,
                                           const auto* /*after*/) { changed.insert(name); });
  CHECK(changed == std::set<std::string>{"shop/1"});
}

} // namespace
} // namespace weir::endpoint
