// What policies cost: reading, compiling and putting into the kernel at growing sizes; changes;
// learned addresses; verdicts a second at L7. Prints tables; policy.sh runs it.
#include "policy-compiler/compiler.h"
#include "policy-compiler/eval/sequential_numbers.h"
#include "proxy/base/clocks.h"
#include "redirect-bpf/user/bpf_redirector.h"
#include "redirect-bpf/user/bpffs.h"
#include "redirect-bpf/user/cleanup.h"
#include "test/support/map_writes.h"

#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace weir;
using namespace weir::policy;

namespace {

// Processor time of this thread, system calls included: what else runs on the machine is no cost.
double seconds_used() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Cost {
  double used = 0;   // ms of processor time
  double passed = 0; // ms on the clock
};

Cost cost(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  const double used = seconds_used();
  work();
  return {
      (seconds_used() - used) * 1e3,
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count()};
}

struct Size {
  std::size_t policies, endpoints, identities;
};
constexpr std::size_t kRulesEach = 10;

double resident_mib() {
  std::ifstream in("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  in >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

std::string app(std::size_t number) { return "app-" + std::to_string(number); }

// Ten rules: peers by label, a CIDR, HTTP, a range, a deny; subjects spread over the apps.
std::string policy_text(std::size_t number, std::size_t apps, const std::string& path) {
  const std::string own = app(number % apps);
  std::string out = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p" +
                    std::to_string(number) + ", namespace: shop}\nspec:\n  endpointSelector: " +
                    "{matchLabels: {app: " + own + "}}\n  ingress:\n";
  for (std::size_t i = 0; i < kRulesEach - 3; ++i) {
    out += "  - fromEndpoints: [{matchLabels: {app: " + app((number * 7 + i * 13) % apps) +
           "}}]\n    toPorts: [{ports: [{port: \"" + std::to_string(8000 + i) +
           "\", protocol: TCP}]";
    out += i < 2 ? ", rules: {http: [{method: GET, path: \"" + path + std::to_string(i) +
                       "/.*\"}]}}]\n"
                 : "}]\n";
  }
  out += "  - fromCIDR: [10." + std::to_string(number % 200) +
         ".0.0/16]\n    toPorts: [{ports: "
         "[{port: \"9000\", endPort: 9100, protocol: TCP}]}]\n";
  out += "  - fromEntities: [remote-node]\n";
  out += "  ingressDeny:\n  - fromEndpoints: [{matchLabels: {app: " + app((number * 3 + 1) % apps) +
         "}}]\n    toPorts: [{ports: [{port: \"22\", protocol: TCP}]}]\n";
  return out;
}

CompileInput cluster(const Size& size) {
  CompileInput input;
  for (std::size_t i = 0; i < size.identities; ++i) {
    const auto id = static_cast<IdentityId>(WEIR_IDENTITY_FIRST_POD + i);
    input.identities.push_back({id,
                                {{"k8s:app", app(i)},
                                 {"k8s:io.kubernetes.pod.namespace", "shop"},
                                 {"k8s:io.cilium.k8s.policy.cluster", "default"}}});
    if (i < size.endpoints) {
      input.endpoints.push_back({static_cast<EndpointId>(i + 1), id, "shop", app(i), {}});
    }
  }
  return input;
}

void stop_at(const Result<void>& result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().text().c_str());
    std::exit(1);
  }
}

// The kernel half as weir-proxy runs it, in a network namespace of its own.
class Node {
public:
  Node()
      : x_bpffs(redirect::find_bpffs().value_or("/sys/fs/bpf") + "/policy-bench-" +
                std::to_string(getpid())) {
    auto opened = redirect::BpfRedirector::open({.bpffs = x_bpffs, .mount = true, .sizes = {}});
    if (!opened) {
      stop_at(opened.error());
    }
    redirector = std::move(*opened);
  }
  ~Node() {
    redirector.reset();
    (void)redirect::cleanup(x_bpffs);
    ::rmdir(x_bpffs.c_str());
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void apply(const CompileInput& input, const Program& program) {
    redirect::IdentityRows::Editor identities(std::move(x_identities));
    for (const auto& named : program.prefixes()) {
      identities.set(named.prefix, named.identity);
    }
    for (std::size_t i = 0; i < input.identities.size(); ++i) {
      identities.set(IpPrefix::host(address(i)), input.identities[i].id);
    }
    std::vector<redirect::EndpointState> states;
    for (std::size_t i = 0; i < input.endpoints.size(); ++i) {
      const EndpointInput& endpoint = input.endpoints[i];
      const EndpointPolicy& policy = *program.find(endpoint.id);
      redirect::EndpointState state;
      state.id = endpoint.id;
      state.identity = endpoint.identity;
      state.addresses = {address(i)};
      state.ingress_enforced = policy.enforced(Direction::kIngress);
      state.egress_enforced = policy.enforced(Direction::kEgress);
      state.rows = policy.rows();
      states.push_back(std::move(state));
    }
    x_identities = identities.take();
    stop_at(redirector->apply(x_identities, states));
  }

  std::unique_ptr<redirect::BpfRedirector> redirector;

private:
  static IpAddress address(std::size_t pod) {
    return IpAddress::from_v4({172, static_cast<std::uint8_t>(16 + (pod >> 16)),
                               static_cast<std::uint8_t>(pod >> 8),
                               static_cast<std::uint8_t>(pod)});
  }

  std::string x_bpffs;
  redirect::IdentityRows x_identities; // what the kernel holds
};

// All that a Size needs, so that what one leaves behind is not counted for the next.
class Bench {
public:
  Bench(const Size& size, bool kernel) : x_size(size), x_input(cluster(size)) {
    if (kernel) {
      x_node = std::make_unique<Node>();
    }
  }

  void run() {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < x_size.policies; ++i) {
      texts.push_back(policy_text(i, x_size.endpoints, "/v"));
    }
    const double before = resident_mib();
    const Cost parse = cost([&] {
      for (const std::string& text : texts) {
        x_input.policies.push_back(parsed(text));
      }
    });
    const Cost full = cost([&] { compile(); });
    const Cost first = cost([&] { apply(); });
    const double memory = resident_mib() - before;
    std::size_t rows = 0;
    for (const EndpointInput& endpoint : x_input.endpoints) {
      rows += x_result.program->find(endpoint.id)->rows().size();
    }
    std::printf("| %6zu | %7zu | %4zu | %6zu | %7zu | %8.0f | %7.1f | %7.1f | %6.1f ",
                x_size.policies, x_size.policies * kRulesEach, x_size.endpoints, x_size.identities,
                rows, parse.used, full.used, first.used, memory);
    // The median of a few, each another change.
    change([&](int i) {
      x_input.policies.front() = parsed(policy_text(0, x_size.endpoints, "/w" + std::to_string(i)) +
                                        "  egress:\n  - toEntities: [world]\n");
    });
    change([&](int i) {
      std::string text = policy_text(0, x_size.endpoints, "/w");
      text += "  egress:\n  - toCIDR: [192.0.2." + std::to_string(i) + "/32]\n";
      x_input.policies.front() = parsed(text);
    });
    change([&](int i) {
      x_input.identities.push_back({static_cast<IdentityId>(2'000'000 + i),
                                    {{"k8s:app", app(static_cast<std::size_t>(i))},
                                     {"k8s:io.kubernetes.pod.namespace", "shop"},
                                     {"k8s:io.cilium.k8s.policy.cluster", "default"},
                                     {"k8s:new", "yes"}}});
    });
    change([&](int i) {
      x_input.policies.back() =
          parsed("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: all, "
                 "namespace: shop}\nspec:\n  endpointSelector: {}\n  ingress:\n  - toPorts: "
                 "[{ports: [{port: \"" +
                 std::to_string(100 + i) + "\", protocol: TCP}]}]\n");
    });
    std::printf("|\n");
  }

private:
  static std::shared_ptr<const Policy> parsed(const std::string& text) {
    return parse_policies("p.yaml", text).front().policy;
  }
  void compile() { x_result = x_compiler.compile(x_input, x_prefixes, x_bits); }
  void apply() {
    if (x_node != nullptr) {
      x_node->apply(x_input, *x_result.program);
    }
    x_compiler.settle();
  }
  void change(const std::function<void(int)>& edit) {
    std::vector<double> used, passed;
    for (int i = 0; i < 9; ++i) {
      const Cost one = cost([&] {
        edit(i);
        compile();
        apply();
      });
      used.push_back(one.used);
      passed.push_back(one.passed);
    }
    std::sort(used.begin(), used.end());
    std::sort(passed.begin(), passed.end());
    std::printf("| %6.1f (%5.1f) ", used[used.size() / 2], passed[passed.size() / 2]);
    std::fflush(stdout);
  }

  Size x_size;
  CompileInput x_input;
  SequentialPrefixes x_prefixes;
  SequentialBits x_bits;
  Compiler x_compiler;
  CompileResult x_result;
  std::unique_ptr<Node> x_node;
};

void learned_addresses() {
  constexpr std::uint32_t kAddresses = 10'000;
  Node node;
  const test::MapWrites writes;
  const Cost learning = cost([&] {
    for (std::uint32_t i = 0; i < kAddresses; ++i) {
      stop_at(node.redirector->learn(
          {.endpoint = 1,
           .address = IpAddress::from_v4(
               {192, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)}),
           .groups = 1,
           .expires_ns = boottime_ns() + 60'000'000'000}));
    }
  });
  std::printf("\nLearned addresses: %.2f map writes each, %.1f us\n",
              static_cast<double>(writes.count()) / kAddresses, learning.used * 1e3 / kAddresses);
}

constexpr int kVerdictsATime = 1'000;

// Million verdicts a second, each rule's own path asked in turn.
double verdicts(int rules, const std::function<std::string(int)>& path,
                const std::function<std::string(int)>& asked) {
  CompileInput input = cluster({1, 1, 2});
  std::string text = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, "
                     "namespace: shop}\nspec:\n  endpointSelector: {}\n  ingress:\n  - toPorts:\n"
                     "    - ports: [{port: \"80\", protocol: TCP}]\n      rules:\n        http:\n";
  std::vector<std::string> paths;
  for (int i = 0; i < rules; ++i) {
    text += "        - {method: GET, path: \"" + path(i) + "\"}\n";
    paths.push_back(asked(i));
  }
  input.policies.push_back(parse_policies("p.yaml", text).front().policy);
  SequentialPrefixes prefixes;
  SequentialBits bits;
  const CompileResult result = compile(input, prefixes, bits);
  const FlowDecision flow = result.program->find(1)->decide(
      {Direction::kIngress, WEIR_IDENTITY_FIRST_POD + 1, IPPROTO_TCP, 80, 0});
  std::size_t asked_count = 0, allowed = 0;
  const double start = seconds_used();
  while (seconds_used() - start < 0.5) {
    for (int i = 0; i < kVerdictsATime; i += rules) { // reading the clock costs, too
      for (const std::string& one : paths) {
        allowed += judge_http(flow, {"GET", one, "shop", {}}).allowed ? 1 : 0;
      }
      asked_count += paths.size();
    }
  }
  const double seconds = seconds_used() - start;
  if (allowed != asked_count) {
    std::fprintf(stderr, "a request was refused that a rule allows\n");
    std::exit(1);
  }
  return static_cast<double>(asked_count) / seconds / 1e6;
}

void verdict_table(bool large) {
  const auto number = [](int i) { return std::to_string(i); };
  const struct {
    const char* name;
    std::function<std::string(int)> path, asked;
  } kinds[] = {{"literal", [&](int i) { return "/shop/v1/item-" + number(i); },
                [&](int i) { return "/shop/v1/item-" + number(i); }},
               {"prefix", [&](int i) { return "/shop/v1/item-" + number(i) + "/.*"; },
                [&](int i) { return "/shop/v1/item-" + number(i) + "/detail?x=1"; }},
               {"expression", [&](int i) { return "/shop/v[0-9]+/item-" + number(i) + "/[a-z]+"; },
                [&](int i) { return "/shop/v12/item-" + number(i) + "/detail"; }}};
  std::vector<int> sizes = {10, 100, 1'000};
  if (large) {
    sizes.push_back(10'000);
  }
  std::printf("\nMillion HTTP verdicts a second, one core, by number of rules\n\n|");
  for (const int size : sizes) {
    std::printf(" | %d", size);
  }
  std::printf(" |\n|---");
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::printf("|---");
  }
  std::printf("|\n");
  for (const auto& kind : kinds) {
    std::printf("| %s ", kind.name);
    for (const int size : sizes) {
      std::printf("| %.2f ", verdicts(size, kind.path, kind.asked));
      std::fflush(stdout);
    }
    std::printf("|\n");
  }
}

} // namespace

int main(int argc, char** argv) {
  const bool kernel = geteuid() == 0;
  if (kernel && (::unshare(CLONE_NEWNET) != 0 || std::system("ip link set lo up") != 0)) {
    std::perror("a network namespace");
    return 1;
  }
  const bool large = argc > 1 && std::string_view(argv[1]) == "large";
  std::printf(
      "One change: processor time in ms (time on the clock), reading, compiling and the "
      "kernel's maps together.\n\n"
      "| policies | rules | endpoints | identities | map rows | parse ms | compile ms | maps "
      "ms | memory MiB | one policy | one policy, new CIDR | new pod | a policy of all pods |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const Size& size : {Size{10, 11, 50}, {100, 110, 500}, {1000, 110, 5000}}) {
    Bench(size, kernel).run();
  }
  if (large) {
    Bench({10'000, 110, 50'000}, kernel).run();
  }
  if (kernel) {
    learned_addresses();
  }
  verdict_table(large);
  return 0;
}
