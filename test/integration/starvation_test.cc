// weir with too little CPU or memory: it serves less, and opens nothing.
#include "test/integration/endless_server.h"
#include "test/integration/forbidden.h"
#include "test/integration/policies.h"
#include "test/integration/shop.h"

#include <catch2/catch_test_macros.hpp>

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

namespace weir::test {
namespace {

namespace fs = std::filesystem;

// A control group for one process, in the hierarchy that has the controller (v2, or v1 of it). Gone
// with the object; its process must be gone before.
class Group {
public:
  explicit Group(const std::string& controller) {
    for (const auto& [type, options, folder] : mounts()) {
      const bool v2 =
          type == "cgroup2" && has_word(read_file(folder / "cgroup.controllers"), controller);
      const bool v1 = type == "cgroup" && has_word(options, controller);
      if (v2 || v1) {
        x_v2 = v2;
        x_folder = folder / ("wt-" + std::to_string(::getpid()) + "-" + controller);
        if (v2) {
          std::ofstream(folder / "cgroup.subtree_control") << "+" + controller;
        }
        REQUIRE(::mkdir(x_folder.c_str(), 0755) == 0);
        return;
      }
    }
    FAIL("no control group hierarchy has " << controller);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() { ::rmdir(x_folder.c_str()); }

  [[nodiscard]] bool v2() const { return x_v2; }
  [[nodiscard]] const fs::path& folder() const { return x_folder; }
  void set(const std::string& file, const std::string& value) const {
    std::ofstream stream(x_folder / file);
    stream << value << std::flush;
    INFO((x_folder / file).string());
    REQUIRE(stream.good());
  }
  void put(pid_t process) const { set("cgroup.procs", std::to_string(process)); }
  // "nr_throttled 12" of a file of such lines.
  [[nodiscard]] std::uint64_t number(const std::string& file, const std::string& key) const {
    std::istringstream lines(read_file(x_folder / file));
    std::string name;
    std::uint64_t value = 0;
    while (lines >> name >> value) {
      if (name == key) {
        return value;
      }
    }
    return 0;
  }

private:
  struct Mount {
    std::string type, options;
    fs::path folder;
  };
  static std::vector<Mount> mounts() {
    std::ifstream file("/proc/self/mounts");
    std::vector<Mount> all;
    std::string source, folder, type, options, rest;
    while (file >> source >> folder >> type >> options && std::getline(file, rest)) {
      all.push_back({type, options, folder});
    }
    return all;
  }
  static bool has_word(std::string text, const std::string& word) {
    std::replace(text.begin(), text.end(), ',', ' ');
    std::istringstream words(text);
    for (std::string one; words >> one;) {
      if (one == word) {
        return true;
      }
    }
    return false;
  }

  fs::path x_folder;
  bool x_v2 = false;
};

constexpr auto kPatience = std::chrono::milliseconds(100); // of a starved weir

TEST_CASE("S7: with a tenth of a CPU weir serves less and lets nothing forbidden through") {
  require_root();
  Shop shop;
  auto& [lab, client, stranger, web] = shop;
  HttpServer& server = lab.serve_http(web);
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnAndWebEgress}});
  Group group("cpu");
  if (group.v2()) {
    group.set("cpu.max", "10000 100000");
  } else {
    group.set("cpu.cfs_period_us", "100000");
    group.set("cpu.cfs_quota_us", "10000");
  }
  lab.start_weir();
  group.put(lab.weir().pid());
  {
    const auto sentinels = attempt_forbidden(client, stranger, web, kPatience);
    // More than a tenth of a CPU can serve, of requests and of questions.
    std::atomic<bool> running{true};
    std::atomic<unsigned> answered{0}, wrong{0}, questions{0};
    std::vector<std::thread> load;
    for (int i = 0; i < 8; ++i) {
      load.emplace_back([&, family = i % 2 == 0 ? Family::kV4 : Family::kV6] {
        while (running) {
          auto connection = HttpConnection::open(client.netns(), web.address(family), 80);
          for (int n = 0; running && connection && n < 50; ++n) {
            const auto reply = connection->request({.target = "/discount"});
            if (!reply) {
              break;
            }
            ++answered;
            wrong += reply->status != 200 && reply->status != 503 ? 1 : 0;
          }
        }
      });
    }
    load.emplace_back([&] {
      while (running) {
        const Outcome answer = client.dig({std::string("@") + kDnsV4, "+short", kAllowedName});
        questions += answer.out == std::string(kAllowedV4) + "\n" ? 1 : 0;
      }
    });
    const char* const stat = "cpu.stat";
    CHECK(eventually([&] { return group.number(stat, "nr_throttled") >= 20; },
                     std::chrono::seconds(60)));
    // Still ready, and still reloading: starved is not stuck.
    CHECK(lab.await_ready(std::chrono::seconds(30)));
    CHECK(eventually([&] { return questions > 0; }, std::chrono::seconds(30)));
    running = false;
    for (std::thread& thread : load) {
      thread.join();
    }
    CHECK(answered > 0);
    CHECK(wrong == 0);
    for (const auto& sentinel : sentinels) {
      sentinel->stop();
      CHECK(sentinel->attempts() > 0);
      CHECK(sentinel->passed() == 0);
    }
    WARN(answered << " requests and " << questions << " questions answered by a tenth of a CPU");
  }
  CHECK(lab.weir().running());
  CHECK(web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  for (const std::string& line : server.requests_before("/end")) {
    CHECK(line.ends_with("GET /discount 200"));
  }
  lab.stop_weir();
}

// Asks for an answer without end and reads none of it.
std::optional<UniqueFd> ask_and_never_read(const Pod& pod, const std::string& address) {
  return pod.netns().on_thread([&]() -> std::optional<UniqueFd> {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{5, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(80);
    REQUIRE(::inet_pton(AF_INET, address.c_str(), &to.sin_addr) == 1);
    const std::string request = "GET /discount HTTP/1.1\r\nHost: endless\r\n\r\n";
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 ||
        ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
      return std::nullopt;
    }
    return fd;
  });
}

std::uint64_t refused_connections(Lab& lab) {
  const std::string text = lab.admin("/stats")->body;
  const std::string name = "weir_connections_over_limit_total: ";
  const auto at = text.find(name);
  REQUIRE(at != std::string::npos);
  return std::stoull(text.substr(at + name.size()));
}

TEST_CASE("S7: near its memory limit weir refuses connections, lives on, and opens nothing") {
  require_root();
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  Shop shop;
  auto& [lab, client, stranger, web] = shop;
  lab.policies().publish({{"web.yaml", kHttpIngress}, {"egress.yaml", kFqdnAndWebEgress}});
  // Weir learns of a limit when it starts, and kernel memory counts too: so this is set from
  // within.
  const Group group("memory");
  group.set(group.v2() ? "memory.max" : "memory.limit_in_bytes", "134217728");
  lab.start_in({"sh", "-c",
                "echo $$ > " + (group.folder() / "cgroup.procs").string() + "; exec \"$@\"", "sh"});
  lab.start_weir();
  const EndlessServer server(web.netns(), 80);
  {
    const auto sentinels = attempt_forbidden(client, stranger, web, kPatience);
    std::vector<UniqueFd> readers;
    // Far more than fit.
    for (int i = 0; i < 3000 && refused_connections(lab) < 50; ++i) {
      if (auto reader = ask_and_never_read(client, web.address(Family::kV4))) {
        readers.push_back(std::move(*reader));
      }
    }
    CHECK(refused_connections(lab) >= 50);
    CHECK(lab.weir().running());
    CHECK(lab.await_ready(std::chrono::seconds(10)));
    WARN(readers.size() << " readers that do not read, of which some were refused");
    readers.clear();
    for (const auto& sentinel : sentinels) {
      sentinel->stop();
      CHECK(sentinel->attempts() > 0);
      CHECK(sentinel->passed() == 0);
    }
  }
  // And serves again what it has room for.
  CHECK(eventually(
      [&] {
        auto connection = HttpConnection::open(client.netns(), web.address(Family::kV4), 80);
        const auto reply = connection
                               ? connection->request({.target = "/discount", .host = "small"})
                               : std::optional<HttpReply>{};
        return reply && reply->body == "ok";
      },
      std::chrono::seconds(30)));
  CHECK(lab.weir().running());
  lab.stop_weir();
}

} // namespace
} // namespace weir::test
