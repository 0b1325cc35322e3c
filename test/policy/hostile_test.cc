// Hostile policy files within bounds that the kernel keeps: each is read in a child that may take
// so much memory and processor time and no more, so that a reader that runs away is killed, not
// waited for.
#include "policy-compiler/compile.h"

#include <catch2/catch_test_macros.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIR_SHADOW_MEMORY 1
#else
#define WEIR_SHADOW_MEMORY 0
#endif

namespace {

using namespace weir::policy;

constexpr rlim_t kMemory = rlim_t{2} << 30;
constexpr rlim_t kSeconds = WEIR_SHADOW_MEMORY ? 120 : 20;

enum Fate : int { kAccepted = 0, kRefused = 1 };

// What becomes of the file; -1 where the child did not come to an end by itself.
int fate_of(const std::string& text) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const rlimit memory{kMemory, kMemory};
    const rlimit seconds{kSeconds, kSeconds};
    if ((!WEIR_SHADOW_MEMORY && setrlimit(RLIMIT_AS, &memory) != 0) ||
        setrlimit(RLIMIT_CPU, &seconds) != 0) {
      _exit(2);
    }
    const auto documents = parse_policies("hostile.yaml", text);
    const bool refused = std::none_of(documents.begin(), documents.end(),
                                      [](const auto& one) { return one.policy != nullptr; });
    _exit(refused ? kRefused : kAccepted);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

const std::string kHead = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
                          "metadata: {name: a, namespace: b}\nspec:\n  endpointSelector: {}\n";

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) {
    out += text;
  }
  return out;
}

} // namespace

TEST_CASE("hostile files are refused within bounds of memory and time", "[policy]") {
  CHECK(fate_of(kHead + "  ingress: [{}]\n") == kAccepted); // the bounds leave room

  SECTION("an alias bomb") {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 30; ++i) {
      const std::string name = "a" + std::to_string(i);
      bomb +=
          name + ": &" + name + " [" + repeated("*a" + std::to_string(i - 1) + ", ", 10) + "]\n";
    }
    CHECK(fate_of(bomb) == kRefused);
  }
  SECTION("nesting of 100,000") {
    for (const std::string_view open : {"[", "{a: ", "- ", "? "}) {
      CHECK(fate_of(kHead + "  ingress: " + repeated(open, 100'000)) == kRefused);
    }
    CHECK(fate_of(repeated("[", 100'000) + repeated("]", 100'000)) == kRefused);
  }
  SECTION("lines of nearly 10 MB") {
    constexpr std::size_t kLong = 9u << 20;
    CHECK(fate_of(kHead + "  ingress: [{}]\n  " + std::string(kLong, 'x') + ": 1\n") == kRefused);
    CHECK(fate_of(kHead + "  ingress: [{fromCIDR: [\"" + std::string(kLong, '1') + "\"]}]\n") ==
          kRefused);
    CHECK(fate_of(kHead + "  description: \"" + std::string(kLong, 'x')) == kRefused);
    CHECK(fate_of(kHead + "  ingress: [" + repeated("{}, ", kLong / 4) + "]\n") == kRefused);
    CHECK(fate_of(std::string(kLong, '-')) == kRefused);
    CHECK(fate_of(repeated(" ", kLong) + "a: 1\n") == kRefused);
  }
  SECTION("documents without end") {
    CHECK(fate_of(repeated("---\n", 2'000'000)) == kRefused);
    CHECK(fate_of(repeated("---\na: 1\n", 1'000'000)) == kRefused);
    CHECK(fate_of(repeated("a\n...\n", 100'000)) == kRefused);
  }
  SECTION("tokens that begin nothing") {
    for (const std::string_view token : {",", "]", "}", ",\n", "%\n", "@", "`", "\t"}) {
      CHECK(fate_of(repeated(token, 10'000)) == kRefused);
    }
  }
  SECTION("expressions that are too large") {
    const auto path = [](const std::string& text) {
      return kHead +
             "  ingress: [{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: "
             "[{path: \"" +
             text + "\"}]}}]}]\n";
    };
    CHECK(fate_of(path(repeated("(", 4'000))) == kRefused);
    CHECK(fate_of(path("((a{1,100}){1,100}){1,100}")) != -1);
    CHECK(fate_of(path(repeated("(x+x+)+", 500))) != -1);
  }
}
