// Random policies, as text, and a small cluster that they meet: pods, reserved identities and
// outside addresses with learned names. What nobody writes is not worth testing, so policies are
// put together from what people write. The same seed gives the same policies.
#pragma once

#include "policy-compiler/compile.h"
#include "test/policy/reference.h"

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace weir::policy::test {

// From the top, so that the high bits are used too.
class Bits : public FqdnGroupBits {
public:
  std::optional<unsigned> bit_of(EndpointId endpoint, const std::string& group) override {
    auto& bits = x_bits[endpoint];
    return bits.try_emplace(group, static_cast<unsigned>(63 - bits.size())).first->second;
  }

private:
  std::map<EndpointId, std::map<std::string, unsigned>> x_bits;
};

class Generator {
public:
  explicit Generator(std::uint32_t seed) : x_random(seed) {}

  std::size_t below(std::size_t count) { return x_random() % count; }
  bool chance(unsigned percent) { return below(100) < percent; }
  // One document, named p<number>.
  std::string policy(int number);

private:
  template <std::size_t N>
  const char* one_of(const char* const (&choices)[N]) {
    return choices[below(N)];
  }
  std::string selector(bool peer);
  std::string peers(bool ingress, bool deny);
  std::string ports(bool l7);
  std::string rule(bool ingress, bool deny);
  std::string bound_rule();
  std::string network_policy(int number);

  std::mt19937 x_random;
};

struct Somebody {
  IdentityId identity = 0; // 0: outside, found by prefix
  ReferencePeer reference;
  std::vector<DnsName> names;
};

struct World {
  CompileInput input; // without policies
  std::vector<Somebody> peers;

  World();

private:
  void outside(const char* text, std::vector<std::string> names);
};

// Whose address is it, by the prefixes that the Program names? As the kernel's tree says, which
// holds both families: only the 16-byte form counts.
IdentityId kernel_identity(const Program& program, const IpAddress& address);

struct Asked {
  std::uint8_t protocol;
  std::uint16_t port;
};
extern const std::vector<Asked> kFlows;

// A World with the policies of a seed, compiled. Nothing when two policies are in conflict about
// L7: the reference does not know what becomes of those. Throws when a policy is refused.
struct RandomProgram {
  World world;
  std::string text; // of the policies
  CompileResult compiled;
};
std::optional<RandomProgram> random_program(std::uint32_t seed);

} // namespace weir::policy::test
