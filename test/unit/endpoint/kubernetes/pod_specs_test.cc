#include "proxy/endpoint/kubernetes/pod_specs.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>
#include <string>
#include <utility>

namespace weir::endpoint::kubernetes {
namespace {

using Objects = PodSpecs::Objects;

PodSpecs::Options options() { return {.node = "node-a", .ignore_labels = {"pod-template-hash"}}; }

PodObject pod(const std::string& name, const std::string& address, const std::string& created) {
  PodObject object;
  object.spec.pod_namespace = "shop";
  object.spec.name = name;
  object.spec.labels = {{"app", "web"}, {"pod-template-hash", "1234"}};
  object.spec.addresses = {*IpAddress::parse(address)};
  object.node = "node-a";
  object.created = created;
  return object;
}

void set(Objects::Editor& objects, PodObject object) {
  const std::string name = "shop/" + object.spec.name;
  objects.set(name, std::make_shared<const PodObject>(std::move(object)));
}

std::map<std::string, std::vector<IpAddress>> addresses(const PodMap& pods) {
  std::map<std::string, std::vector<IpAddress>> out;
  pods.for_each([&](const std::string& name, const auto& pod) { out[name] = pod->addresses; });
  return out;
}

const std::vector<IpAddress> kAddress = {*IpAddress::parse("10.0.0.1")};
const std::vector<IpAddress> kNone;

TEST_CASE("an address is the later pod's, and the earlier one's again when that is gone") {
  PodSpecs specs(options());
  Objects::Editor objects{{}};
  set(objects, pod("old", "10.0.0.1", "2026-01-01T00:00:00Z"));
  CHECK(addresses(specs.update(objects.take())).at("shop/old") == kAddress);
  set(objects, pod("new", "10.0.0.1", "2026-01-02T00:00:00Z"));
  auto now = addresses(specs.update(objects.take()));
  CHECK(now.at("shop/new") == kAddress);
  CHECK(now.at("shop/old") == kNone);
  PodObject leaving = pod("new", "10.0.0.1", "2026-01-02T00:00:00Z");
  leaving.terminating = true;
  set(objects, leaving);
  now = addresses(specs.update(objects.take()));
  CHECK(now.at("shop/new") == kNone);
  CHECK(now.at("shop/old") == kAddress);
  objects.erase("shop/old");
  CHECK(addresses(specs.update(objects.take())).at("shop/new") == kAddress);
}

TEST_CASE("pods of the host's network and those that ended have no address and are not told") {
  PodSpecs specs(options());
  Objects::Editor objects{{}};
  PodObject host = pod("host", "10.0.0.1", "3");
  host.host_network = true;
  set(objects, host);
  set(objects, pod("web", "10.0.0.1", "1"));
  PodObject ended = pod("ended", "10.0.0.1", "2");
  ended.ended = true;
  set(objects, ended);
  const PodMap now = specs.update(objects.take());
  CHECK(addresses(now) == std::map<std::string, std::vector<IpAddress>>{{"shop/web", kAddress}});
  CHECK((*now.find("shop/web"))->labels == PlainLabels{{"app", "web"}});
  CHECK((*now.find("shop/web"))->local);
}

TEST_CASE("pods that were followed are told as those that are listed at once") {
  for (unsigned seed = 1; seed < 8; ++seed) {
    CAPTURE(seed);
    std::minstd_rand random(seed);
    const auto number = [&](unsigned below) { return std::to_string(random() % below); };
    PodSpecs followed(options());
    Objects::Editor objects{{}};
    for (int round = 0; round < 200; ++round) {
      const std::string name = number(12);
      if (random() % 4 == 0) {
        objects.erase("shop/" + name);
      } else {
        PodObject object = pod(name, "10.0.0." + number(5), number(4));
        object.spec.addresses.push_back(*IpAddress::parse("fd00::" + number(5)));
        object.ended = random() % 6 == 0;
        object.terminating = random() % 6 == 0;
        set(objects, std::move(object));
      }
      const Objects now = objects.take();
      REQUIRE(addresses(followed.update(now)) == addresses(PodSpecs(options()).update(now)));
    }
  }
}

} // namespace
} // namespace weir::endpoint::kubernetes
