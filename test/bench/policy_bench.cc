// What policies cost: reading, compiling and putting into kernel maps at growing sizes; one policy
// changed; verdicts a second at L7. Prints tables; policy.sh runs it.
#include "policy-compiler/compile.h"
#include "policy-compiler/eval/sequential_numbers.h"
#include "redirect-bpf/user/map_sync.h"

#include <netinet/in.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <string>
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

double milliseconds(const std::function<void()>& work) {
  const double start = seconds_used();
  work();
  return (seconds_used() - start) * 1e3;
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

using Tries = std::map<EndpointId, redirect::TriePtr>;

std::vector<redirect::PolicyRow> rows_of(const EndpointPolicy& policy) {
  std::vector<redirect::PolicyRow> out;
  for (const auto& row : policy.rows()) {
    out.push_back({row.key, row.entry});
  }
  return out;
}

// As BpfRedirector does: tries whose content is the same are kept.
std::size_t sync(const CompileInput& input, const Program& program, Tries& tries) {
  std::size_t built = 0;
  for (const EndpointInput& endpoint : input.endpoints) {
    const auto rows = rows_of(*program.find(endpoint.id));
    redirect::TriePtr& trie = tries[endpoint.id];
    if (trie != nullptr && trie->content == redirect::content_of(rows)) {
      continue;
    }
    auto made = redirect::build_policy_trie(rows);
    if (!made) {
      std::fprintf(stderr, "%s\n", made.error().text().c_str());
      std::exit(1);
    }
    trie = *made;
    ++built;
  }
  return built;
}

void measure(const Size& size, bool maps) {
  CompileInput input = cluster(size);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < size.policies; ++i) {
    texts.push_back(policy_text(i, size.endpoints, "/v"));
  }
  const double before = resident_mib();
  const double parse = milliseconds([&] {
    for (const std::string& text : texts) {
      input.policies.push_back(parse_policies("p.yaml", text).front().policy);
    }
  });
  SequentialPrefixes prefixes;
  SequentialBits bits;
  CompileResult result;
  const double full = milliseconds([&] { result = compile(input, prefixes, bits); });
  Tries tries;
  const double synced = maps ? milliseconds([&] { sync(input, *result.program, tries); }) : 0.0;
  std::size_t rows = 0;
  for (const EndpointInput& endpoint : input.endpoints) {
    rows += result.program->find(endpoint.id)->rows().size();
  }
  const double memory = resident_mib() - before;

  std::size_t built = 0;
  const double changed = milliseconds([&] {
    input.policies.front() = parse_policies("p.yaml", policy_text(0, size.endpoints, "/w") +
                                                          "  egress:\n  - toEntities: [world]\n")
                                 .front()
                                 .policy;
    result = compile(input, prefixes, bits);
    if (maps) {
      built = sync(input, *result.program, tries);
    }
  });
  std::printf(
      "| %5zu | %6zu | %4zu | %5zu | %6zu | %8.1f | %8.1f | %8.1f | %8.1f (%zu maps) | %6.1f |\n",
      size.policies, size.policies * kRulesEach, size.endpoints, size.identities, rows, parse, full,
      synced, changed, built, memory);
}

void verdicts(const char* name, const std::function<std::string(int)>& path,
              const std::function<std::string(int)>& asked) {
  constexpr int kRules = 1000;
  CompileInput input = cluster({1, 1, 2});
  std::string text = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, "
                     "namespace: shop}\nspec:\n  endpointSelector: {}\n  ingress:\n  - toPorts:\n"
                     "    - ports: [{port: \"80\", protocol: TCP}]\n      rules:\n        http:\n";
  std::vector<std::string> paths;
  for (int i = 0; i < kRules; ++i) {
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
  while (seconds_used() - start < 0.7) {
    for (const std::string& one : paths) {
      allowed += judge_http(flow, {"GET", one, "shop", {}}).allowed ? 1 : 0;
    }
    asked_count += paths.size();
  }
  const double seconds = seconds_used() - start;
  std::printf("| %-26s | %12.2f | %s |\n", name, static_cast<double>(asked_count) / seconds / 1e6,
              allowed == asked_count ? "all allowed" : "NOT ALL ALLOWED");
}

} // namespace

int main(int argc, char**) {
  const bool maps = geteuid() == 0;
  std::printf("| policies | rules | endpoints | identities | map rows | parse ms | compile ms | "
              "maps ms | one policy changed, ms | memory MiB "
              "|\n|---|---|---|---|---|---|---|---|---|---|\n");
  measure({10, 11, 50}, maps);
  measure({100, 110, 500}, maps);
  measure({1000, 110, 5000}, maps);
  if (argc > 1) { // any argument: the large one too
    measure({10000, 110, 50000}, maps);
  }
  std::printf("\n| 1,000 HTTP rules | million verdicts/s, one core | |\n|---|---|---|\n");
  const auto number = [](int i) { return std::to_string(i); };
  verdicts(
      "literal", [&](int i) { return "/shop/v1/item-" + number(i); },
      [&](int i) { return "/shop/v1/item-" + number(i); });
  verdicts(
      "prefix", [&](int i) { return "/shop/v1/item-" + number(i) + "/.*"; },
      [&](int i) { return "/shop/v1/item-" + number(i) + "/detail?x=1"; });
  verdicts(
      "expression", [&](int i) { return "/shop/v[0-9]+/item-" + number(i) + "/[a-z]+"; },
      [&](int i) { return "/shop/v12/item-" + number(i) + "/detail"; });
  return 0;
}
