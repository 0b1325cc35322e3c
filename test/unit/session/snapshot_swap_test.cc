// Policies change while workers judge: whatever a worker asks between two refreshes is answered by
// one policy and the cluster that goes with it. Also what the thread sanitizer looks at: workers
// read endpoints that the Compiler goes on using for the next Program.
#include "policy-compiler/compiler.h"
#include "policy-compiler/eval/sequential_numbers.h"
#include "proxy/dns/fqdn_cache.h"
#include "proxy/endpoint/snapshot.h"
#include "proxy/runtime/worker.h"
#include "proxy/session/policy_gate.h"
#include "redirect-bpf/user/null_redirector.h"

#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <vector>

namespace weir::session {
namespace {

constexpr policy::IdentityId kWeb = 300, kClient[] = {301, 302};
constexpr policy::EndpointId kWebEndpoint = 1;
constexpr int kOthers = 40;

std::shared_ptr<const policy::Policy> parsed(const std::string& name, const std::string& subject,
                                             const std::string& from, const std::string& path) {
  const std::string text =
      "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
      ", namespace: shop}\nspec: {endpointSelector: {matchLabels: {app: " + subject +
      "}}, ingress: [{fromEndpoints: [{matchLabels: {app: " + from +
      "}}], toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: " + path +
      "}]}}]}]}\n";
  return policy::parse_policies("p.yaml", text).front().policy;
}

// In even revisions the client is of app `even` and that app may ask for /even; in odd ones the
// same with `odd`. So an old policy with a new cluster, or the other way round, allows nothing, and
// a mixture of two policies allows both.
class Changes {
public:
  Changes() {
    add(kWeb, "web");
    add(kClient[0], "even");
    add(kClient[1], "odd");
    for (int i = 0; i < kOthers; ++i) {
      const std::string app = "other" + std::to_string(i);
      const auto id = static_cast<policy::IdentityId>(400 + i);
      add(id, app);
      x_input.endpoints.push_back({static_cast<policy::EndpointId>(100 + i), id, "shop", app, {}});
      x_input.policies.push_back(parsed(app, app, "web", "/" + app));
    }
    x_input.endpoints.push_back({kWebEndpoint, kWeb, "shop", "web", {}});
    x_input.policies.push_back(nullptr);
  }

  std::shared_ptr<const endpoint::Snapshot> next() {
    const bool odd = (++x_input.revision & 1) != 0;
    const std::string name = odd ? "odd" : "even";
    x_input.policies.back() = parsed(name, "web", name, "/" + name);
    auto compiled = x_compiler.compile(x_input, x_prefixes, x_bits);
    x_compiler.settle();
    std::vector<endpoint::Endpoint> pods(2);
    pods[0].id = kWebEndpoint;
    pods[0].identity = kWeb;
    pods[0].endpoint_namespace = pods[1].endpoint_namespace = "shop";
    pods[0].name = "web";
    pods[1].id = 2;
    pods[1].identity = kClient[odd ? 1 : 0];
    pods[1].name = "client";
    return std::make_shared<const endpoint::Snapshot>(
        endpoint::Snapshot{.program = compiled.program,
                           .registry = std::make_shared<endpoint::Registry>(
                               std::move(pods), std::vector<policy::Program::Prefix>{}),
                           .secrets = nullptr,
                           .dns = nullptr});
  }

private:
  void add(policy::IdentityId id, const std::string& app) {
    x_input.identities.push_back({id,
                                  {{"k8s:app", app},
                                   {"k8s:io.kubernetes.pod.namespace", "shop"},
                                   {"k8s:io.cilium.k8s.policy.cluster", "default"}}});
  }

  policy::CompileInput x_input;
  policy::SequentialPrefixes x_prefixes;
  policy::SequentialBits x_bits;
  policy::Compiler x_compiler;
};

// Asks again and again on its worker's thread, between two snapshots as often as it gets to.
class Reader {
public:
  Reader(runtime::Worker& worker, const dns::FqdnCache& cache) : x_worker(worker), x_cache(cache) {}

  void ask_on() {
    x_worker.post([this] {
      if (x_ended) {
        return;
      }
      if (!x_kept) {
        x_kept.emplace(x_worker, x_cache, flow(), IPPROTO_TCP);
      }
      x_kept->refresh();
      look(*x_kept);
      look(PolicyGate(x_worker, x_cache, flow(), IPPROTO_TCP));
      ask_on();
    });
  }
  void end() {
    x_ended = true;
    x_kept.reset();
  }

  std::atomic<std::uint64_t> asked{0}, mixed{0}, went_back{0}, even{0}, odd{0};

private:
  static FixedFlow flow() { return {policy::Direction::kIngress, "shop/web", "shop/client", 80}; }

  void look(const PolicyGate& gate) {
    const policy::L7Decision to_even = gate.judge_http({"GET", "/even", "shop", {}});
    const policy::L7Decision to_odd = gate.judge_http({"GET", "/odd", "shop", {}});
    const std::uint64_t revision = gate.snapshot().program->revision();
    const bool is_odd = (revision & 1) != 0;
    ++asked;
    ++(is_odd ? odd : even);
    const std::string_view label = is_odd ? "shop/odd" : "shop/even";
    mixed += to_even.allowed == is_odd || to_odd.allowed != is_odd ||
                     to_even.rule->label != label || to_odd.rule->label != label
                 ? 1
                 : 0;
    went_back += revision < x_revision ? 1 : 0;
    x_revision = revision;
  }

  runtime::Worker& x_worker;
  const dns::FqdnCache& x_cache;
  std::optional<PolicyGate> x_kept; // of a connection that outlives snapshots
  std::uint64_t x_revision = 0;
  bool x_ended = false;
};

} // namespace

TEST_CASE("a worker judges by one policy and the cluster that goes with it, whenever they change") {
  constexpr int kChanges = 300;
  constexpr std::size_t kWorkers = 2;
  redirect::NullRedirector redirector;
  const dns::FqdnCache cache(redirector, {});
  std::vector<std::unique_ptr<runtime::Worker>> workers;
  std::vector<std::unique_ptr<Reader>> readers;
  for (unsigned i = 0; i < kWorkers; ++i) {
    workers.push_back(std::make_unique<runtime::Worker>(i));
    workers.back()->start();
    readers.push_back(std::make_unique<Reader>(*workers.back(), cache));
  }
  Changes changes;
  for (int change = 0; change < kChanges; ++change) {
    const auto snapshot = changes.next();
    std::latch taken(kWorkers);
    for (const auto& worker : workers) {
      worker->publish(snapshot, [&taken] { taken.count_down(); });
    }
    taken.wait();
    if (change == 0) {
      for (const auto& reader : readers) {
        reader->ask_on();
      }
    }
  }
  for (std::size_t i = 0; i < kWorkers; ++i) {
    workers[i]->post([&, i] { readers[i]->end(); });
    workers[i]->stop();
    CHECK(readers[i]->mixed == 0);
    CHECK(readers[i]->went_back == 0);
    CHECK(readers[i]->asked > kChanges);
    CHECK(readers[i]->even > 0);
    CHECK(readers[i]->odd > 0);
  }
}

} // namespace weir::session
