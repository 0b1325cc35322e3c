// Packets of a known connection are judged by one look-up where that is enough (judge.h,
// weir_recall). Which look-up is guessed from the ports; what comes out must not depend on that.
#include "test/bpf/data_path.h"
#include "test/support/netns.h"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <optional>
#include <random>

namespace weir::test {
namespace {

// Two ports: once the one who opens has the higher one, as clients do, once the lower one.
struct Ports {
  std::uint16_t opener, other;
};
constexpr Ports kUsual{50'000, 8080}, kUnusual{8080, 50'000};

TEST_CASE("N12: a pod's flow of old does not hide what the proxy has opened with its ports") {
  require_root();
  for (const Ports& ports : {kUsual, kUnusual}) {
    DataPath path;
    path.set_policy(kA, kEgress, Rows{row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, WEIR_ALLOW)});
    for (const Family& family : kFamilies) {
      const auto from_a = [&](std::uint8_t flags) {
        return path.from_pod(tcp(family.a, family.b, ports.opener, ports.other, flags));
      };
      CHECK(from_a(kSyn).action == kNext);
      CHECK(from_a(kAck).action == kNext);
      CHECK(path.to_pod(tcp(family.b, family.a, ports.other, ports.opener, kSyn),
                        WEIR_MARK_FROM_PROXY)
                .action == kNext);
      for (const std::uint8_t flags : {kSynAck, kAck}) {
        const BpfRun answer = from_a(flags);
        CHECK(answer.action == kPass);
        CHECK(answer.mark == WEIR_MARK_TO_PROXY);
      }
      // Not even after a change, by which the flow of old is judged again.
      path.change_policy(kA, kEgress, Rows{row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, WEIR_ALLOW)});
      CHECK(path.to_pod(tcp(family.b, family.a, ports.other, ports.opener, kAck)).action == kNext);
      CHECK(from_a(kAck).mark == WEIR_MARK_TO_PROXY);
    }
  }
}

enum class Hook { kFromPod, kToPod, kFromNet };

struct Step {
  Hook hook;
  const Family* family;
  bool pod_opens; // of the connection that the packet belongs to: pod A, or the peer
  bool peer_is_b;
  std::uint8_t flags;
  std::uint32_t mark;
};

Step any_step(std::mt19937& random) {
  constexpr std::array<std::uint8_t, 8> kFlags = {kSyn, kSynAck, kAck,        kAck,
                                                  kAck, kAck,    kFin | kAck, kRst};
  Step step{static_cast<Hook>(random() % 3),
            &kFamilies[random() % 2],
            random() % 2 == 0,
            random() % 2 == 0,
            kFlags[random() % kFlags.size()],
            0};
  const bool opens = step.flags == kSyn;
  if (opens && step.pod_opens != (step.hook == Hook::kFromPod)) {
    step.flags = kSynAck; // the others answer
  }
  if (step.hook == Hook::kToPod && random() % 32 == 0) {
    step.mark = WEIR_MARK_FROM_PROXY;
  }
  return step;
}

BpfRun take(DataPath& path, const Step& step, const Ports& ports) {
  const std::string_view pod = step.family->a;
  const std::string_view peer = step.peer_is_b ? step.family->b : step.family->world;
  const std::uint16_t own = step.pod_opens ? ports.opener : ports.other;
  const std::uint16_t other = step.pod_opens ? ports.other : ports.opener;
  switch (step.hook) {
  case Hook::kFromPod:
    return path.from_pod(tcp(pod, peer, own, other, step.flags), step.mark);
  case Hook::kToPod:
    return path.to_pod(tcp(peer, pod, other, own, step.flags), step.mark);
  default:
    return path.from_net(tcp(peer, pod, other, own, step.flags), step.mark);
  }
}

TEST_CASE("what is guessed about a packet changes nothing about its verdict") {
  require_root();
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  constexpr std::array kVerdicts = {WEIR_DENY, WEIR_ALLOW, WEIR_ALLOW, WEIR_ALLOW, WEIR_REDIRECT};
  std::size_t passed = 0, dropped = 0, to_proxy = 0;
  std::optional<DataPath> paths[2];
  for (int round = 0; round < 60; ++round) {
    for (auto& path : paths) {
      if (round % 10 == 0) {
        path.emplace(); // takes the kernel a second
      }
      path->forget_flows();
    }
    DataPath &usual = *paths[0], &unusual = *paths[1];
    for (int i = 0; i < 300; ++i) {
      if (i % 50 == 0) {
        // Each of the four: enforced or not, and what is said then.
        for (const std::uint32_t pod : {kA, kB}) {
          const auto flags = static_cast<std::uint16_t>(random() % 4);
          const Rows rows{
              row_any(WEIR_EGRESS, WEIR_IDENTITY_ANY, kVerdicts[random() % kVerdicts.size()]),
              row_any(WEIR_INGRESS, WEIR_IDENTITY_ANY, kVerdicts[random() % kVerdicts.size()])};
          usual.change_policy(pod, flags, rows);
          unusual.change_policy(pod, flags, rows);
        }
      }
      const Step step = any_step(random);
      const BpfRun one = take(usual, step, kUsual), two = take(unusual, step, kUnusual);
      INFO("round " << round << ", step " << i);
      REQUIRE(one.action == two.action);
      REQUIRE(one.mark == two.mark);
      passed += one.action == kNext ? 1 : 0;
      dropped += one.action == kShot ? 1 : 0;
      to_proxy += one.mark == WEIR_MARK_TO_PROXY ? 1 : 0;
    }
    for (std::uint32_t reason = 0; reason < WEIR_DROP_MAX; ++reason) {
      for (const weir_direction direction : {WEIR_INGRESS, WEIR_EGRESS}) {
        const auto drop = static_cast<weir_drop>(reason);
        CHECK(usual.drops(drop, direction) == unusual.drops(drop, direction));
      }
    }
    for (std::uint32_t counter = 0; counter < WEIR_COUNT_MAX; ++counter) {
      const auto which = static_cast<weir_counter>(counter);
      CHECK(usual.count(which) == unusual.count(which));
    }
  }
  CHECK(passed > 1000);
  CHECK(dropped > 100);
  CHECK(to_proxy > 100);
}

} // namespace
} // namespace weir::test
