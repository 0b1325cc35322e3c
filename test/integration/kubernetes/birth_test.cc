// From the first instruction of a pod's first process on, nothing leaves it before its policy is
// there.
#include "test/integration/kubernetes/cluster.h"
#include "test/integration/policies.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <utility>

namespace weir::test {
namespace {

constexpr std::uint16_t kPort = 9999;

sockaddr_in world_address() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  ::inet_pton(AF_INET, kOtherV4, &address.sin_addr);
  return address;
}

// Sends one datagram after the other, from before there is an interface until the object ends.
class EagerPod {
public:
  EagerPod(const NetNs& where, char mark)
      : x_socket(where.on_thread(
            [] { return UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); })),
        x_thread([this, mark] {
          const sockaddr_in address = world_address();
          while (!x_stop) {
            const auto sent = ::sendto(x_socket.get(), &mark, 1, MSG_DONTWAIT,
                                       reinterpret_cast<const sockaddr*>(&address), sizeof address);
            x_sent += sent == 1 ? 1 : 0;
            std::this_thread::sleep_for(std::chrono::microseconds(200));
          }
        }) {}
  EagerPod(const EagerPod&) = delete;
  EagerPod& operator=(const EagerPod&) = delete;
  ~EagerPod() {
    x_stop = true;
    x_thread.join();
  }
  [[nodiscard]] unsigned sent() const { return x_sent; }

private:
  UniqueFd x_socket;
  std::atomic<bool> x_stop{false};
  std::atomic<unsigned> x_sent{0};
  std::thread x_thread; // last: it uses the others
};

class WorldPort {
public:
  explicit WorldPort(const NetNs& world)
      : x_socket(world.on_thread([] {
          UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
          const sockaddr_in address = world_address();
          if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
              0) {
            throw std::runtime_error("cannot bind in the world");
          }
          return socket;
        })) {}
  // How many of this mark have arrived since the last call.
  unsigned take(char mark) {
    char got = 0;
    while (::recv(x_socket.get(), &got, 1, MSG_DONTWAIT) == 1) {
      ++x_arrived[static_cast<unsigned char>(got)];
    }
    return std::exchange(x_arrived[static_cast<unsigned char>(mark)], 0);
  }

private:
  UniqueFd x_socket;
  unsigned x_arrived[256] = {};
};

unsigned pods() {
  const char* wanted = std::getenv("WEIR_BIRTHS");
  return wanted == nullptr ? 10 : static_cast<unsigned>(std::atoi(wanted));
}

TEST_CASE("no packet of a new pod passes before its object is known, and its policy holds then") {
  require_kube_api();
  Cluster cluster("otherInterfaces: [\"lxcdocker*\"]");
  cluster.api.install_kinds();
  cluster.api.must("POST", kPolicies, kFqdnEgress); // no way to the world for app=client
  cluster.lab.start_weir();
  WorldPort world(cluster.lab.world());
  CHECK(cluster.becomes("/", 0));
  unsigned early = 0, denied = 0, attempts = 0;
  Pod& born = cluster.lab.add_pod({"shop", "born", {{"app", "client"}}}, false);
  for (unsigned i = 0; i < pods(); ++i) {
    {
      const EagerPod eager(born.netns(), 'e');
      cluster.lab.connect_pod(born);
      CHECK(eventually([&] { return eager.sent() >= 50; }));
      attempts += eager.sent();
    }
    early += world.take('e');
    {
      const EagerPod eager(born.netns(), 'd');
      cluster.add(born);
      CHECK(eventually([&] { return cluster.state_of("born") == "enforced"; }));
      const unsigned before = eager.sent();
      CHECK(eventually([&] { return eager.sent() >= before + 50; }));
      attempts += eager.sent();
    }
    denied += world.take('d');
    cluster.lab.node().ip({"link delete " + born.interface()});
    cluster.api.delete_pod("shop", "born");
    CHECK(eventually([&] { return cluster.state_of("born").empty(); }));
  }
  CHECK(early == 0);
  CHECK(denied == 0);
  CHECK(attempts >= 100 * pods());

  // The way is there: a pod that may does reach the world.
  Pod& free = cluster.lab.add_pod({"shop", "free", {{"app", "free"}}});
  const EagerPod eager(free.netns(), 'f');
  CHECK(eventually([&] { return eager.sent() >= 50; }));
  CHECK(world.take('f') == 0);
  cluster.add(free);
  CHECK(eventually([&] { return world.take('f') > 0; }));

  // Nor is what is no pod's held, where that is said.
  Pod& other = cluster.lab.add_pod({"beside", "docker1", {}});
  const EagerPod beside(other.netns(), 'o');
  CHECK(eventually([&] { return world.take('o') > 0; }));
}

TEST_CASE("no packet of a new pod passes while weir cannot look at all") {
  require_kube_api();
  Cluster cluster("otherInterfaces: [\"lxcdocker*\"]");
  const bool bridged = GENERATE(false, true);
  cluster.api.install_kinds();
  cluster.lab.start_weir();
  WorldPort world(cluster.lab.world());
  CHECK(cluster.becomes("/", 200));
  if (bridged) {
    cluster.lab.use_bridge(true);
    Pod& neighbour = cluster.lab.add_pod({"shop", "neighbour", {}});
    cluster.add(neighbour);
    CHECK(eventually([&] { return cluster.state_of("neighbour") == "untouched"; }));
  }
  Pod& born = cluster.lab.add_pod({"shop", "born", {{"app", "free"}}}, false);
  Pod& other = cluster.lab.add_pod({"beside", "docker1", {}}, false);
  cluster.lab.weir().send_signal(SIGSTOP);
  {
    const EagerPod eager(born.netns(), 'e');
    cluster.lab.connect_pod(born);
    CHECK(eventually([&] { return eager.sent() >= 200; }));
    if (!bridged) { // a bridge of pods is one of pods alone
      const EagerPod beside(other.netns(), 'o');
      cluster.lab.connect_pod(other);
      CHECK(eventually([&] { return world.take('o') > 0; }));
    }
    CHECK(world.take('e') == 0);
    cluster.lab.weir().send_signal(SIGCONT);
    CHECK(eventually([&] { return cluster.lab.admin("/ready").has_value(); }));
    CHECK(world.take('e') == 0);
    cluster.add(born);
    CHECK(eventually([&] { return world.take('e') > 0; }));
  }
}

TEST_CASE("a hold that has an end lets a pod pass that nobody tells of") {
  require_kube_api();
  Cluster cluster("holdNewPodsFor: 3s");
  cluster.api.install_kinds();
  cluster.lab.start_weir();
  WorldPort world(cluster.lab.world());
  CHECK(cluster.becomes("/", 200));
  Pod& born = cluster.lab.add_pod({"shop", "born", {{"app", "free"}}}, false);
  const EagerPod eager(born.netns(), 'e');
  cluster.lab.connect_pod(born);
  CHECK(eventually([&] { return eager.sent() >= 50; }));
  CHECK(eventually([&] { return world.take('e') > 0; }));
  CHECK(cluster.lab.weir_log().find("lxcborn: nobody has said") != std::string::npos);
}

} // namespace
} // namespace weir::test
