// What a running weir needs in memory: bodies of any size, readers that do not read, connections
// that do nothing, clients that never finish. On loopback, without root.
#include "test/support/lab.h"
#include "test/support/process_memory.h"
#include "test/support/tcp_peer.h"

#include <catch2/catch_test_macros.hpp>

#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <thread>
#include <vector>

namespace weir::test {
namespace {

constexpr std::size_t kMiB = 1024 * 1024;
constexpr std::string_view kGet = "GET /bulk HTTP/1.1\r\nHost: shop\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// WEIR_BODY_MIB in the environment makes the bodies longer.
std::size_t body_size() {
  const char* wanted = std::getenv("WEIR_BODY_MIB");
  return (wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 64) * kMiB;
}

struct Weir {
  TempFolder folder;
  PolicyFolder policies{folder.path() / "policies"};
  TcpPeer server = TcpPeer::listening("127.0.0.1");
  std::uint16_t admin_port = free_port(), port = free_port();
  std::optional<Process> process;

  explicit Weir(const std::string& http = "{}") {
    policies.publish({{"web.yaml", R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: bulk, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{path: "/bulk"}]}
)"}});
    write_file(
        folder.path() / "endpoints.yaml",
        "endpoints:\n  - {name: web, namespace: shop, labels: {app: web}, ips: [10.0.1.11]}\n"
        "  - {name: client, namespace: shop, ips: [10.0.1.12]}\n");
    const auto at = [](std::uint16_t number) { return "127.0.0.1:" + std::to_string(number); };
    write_file(folder.path() / "weir.yaml",
               "policies: {directory: " + (folder.path() / "policies").string() +
                   "}\nendpoints: {file: " + (folder.path() / "endpoints.yaml").string() +
                   "}\nstate: {directory: " + (folder.path() / "state").string() +
                   "}\nworkers: 1\nredirect: {mode: none}\naccessLog: {path: " +
                   (folder.path() / "access.log").string() + "}\nhttp: " + http +
                   "\nadmin: {address: \"" + at(admin_port) + "\"}\nmetrics: {address: \"" +
                   at(free_port()) +
                   "\"}\nlisteners:\n  - {name: shop, type: static, protocol: http, direction: "
                   "ingress, endpoint: shop/web, peer: shop/client, port: 80, address: \"0.0.0.0:" +
                   std::to_string(port) + "\", upstream: \"" + at(server.address().port) + "\"}\n");
    process = Process::start({.argv = {weir_proxy_path(), "--config", folder.path() / "weir.yaml"},
                              .output = folder.path() / "weir.log"});
    const bool ready = eventually([&] { return is_ready(admin_port); });
    INFO(read_file(folder.path() / "weir.log"));
    REQUIRE(ready);
  }

  // Of 127.0.0.0/8, so that one test can be several clients.
  [[nodiscard]] TcpPeer connect(std::string_view ip = "127.0.0.1") const {
    return TcpPeer::connect_to({*IpAddress::parse(ip), port}, *IpAddress::parse(ip));
  }

  // In bytes, without what is mapped from files.
  [[nodiscard]] std::size_t memory() const { return process_memory(process->pid(), "RssAnon:"); }
  [[nodiscard]] std::size_t peak() const { return process_memory(process->pid(), "VmHWM:"); }
  void forget_peak() const {
    write_file("/proc/" + std::to_string(process->pid()) + "/clear_refs", "5");
  }
};

void send_zeros(TcpPeer& to, std::size_t size) {
  const std::string block(kMiB / 4, '\0');
  for (std::size_t sent = 0; sent < size; sent += block.size()) {
    to.send(std::string_view(block).substr(0, size - sent));
  }
}

void take_zeros(TcpPeer& from, std::size_t size) {
  for (std::size_t taken = 0; taken < size;) {
    const std::string block = from.read(std::min(size - taken, kMiB / 4));
    REQUIRE_FALSE(block.empty());
    REQUIRE(block.find_first_not_of('\0') == std::string::npos);
    taken += block.size();
  }
}

void answer_one(TcpPeer& client, TcpPeer& server) {
  server.read_until("\r\n\r\n");
  server.send(kOk);
  REQUIRE(client.read(kOk.size()) == kOk);
}

// The head, on its way to the client, of an answer with so long a body.
std::string begin_answer(TcpPeer& client, TcpPeer& server, std::size_t size) {
  client.send(kGet);
  server.read_until("\r\n\r\n");
  std::string head = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  server.send(head);
  return head;
}

} // namespace

TEST_CASE("a body of any size streams through in the same memory, both ways") {
  Weir weir;
  TcpPeer client = weir.connect();
  client.send(kGet);
  TcpPeer server = weir.server.accept();
  answer_one(client, server);
  const auto download = [&](std::size_t size) {
    REQUIRE(client.read_until("\r\n\r\n") == begin_answer(client, server, size));
    std::jthread sender([&] { send_zeros(server, size); });
    take_zeros(client, size);
  };
  const auto upload = [&](std::size_t size) {
    client.send("POST /bulk HTTP/1.1\r\nHost: shop\r\nContent-Length: " + std::to_string(size) +
                "\r\n\r\n");
    server.read_until("\r\n\r\n");
    std::jthread sender([&] { send_zeros(client, size); });
    take_zeros(server, size);
    server.send(kOk);
    REQUIRE(client.read(kOk.size()) == kOk);
  };
  download(kMiB);
  upload(kMiB);
  weir.forget_peak();
  const std::size_t before = weir.peak();
  download(body_size());
  upload(body_size());
  CHECK(weir.peak() < before + 4 * kMiB);
}

TEST_CASE("R3: a client that does not read is not read ahead for") {
  Weir weir;
  TcpPeer client = weir.connect();
  client.send(kGet);
  TcpPeer server = weir.server.accept();
  answer_one(client, server);
  weir.forget_peak();
  const std::size_t before = weir.peak();
  const std::string head = begin_answer(client, server, body_size());
  // Until the kernel takes no more on the whole way to the client.
  const std::string block(kMiB / 4, '\0');
  std::size_t sent = 0;
  const auto push = [&] {
    const ssize_t wrote =
        ::send(server.fd(), block.data(), std::min(block.size(), body_size() - sent), MSG_DONTWAIT);
    sent += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
    return wrote > 0;
  };
  const auto full = [&] {
    pollfd writable{server.fd(), POLLOUT, 0};
    while (::poll(&writable, 1, 500) == 1) {
      if (!push()) {
        break;
      }
    }
    return sent;
  };
  REQUIRE(full() < body_size());
  CHECK(weir.peak() < before + 4 * kMiB);
  REQUIRE(client.read_until("\r\n\r\n") == head);
  std::jthread sender([&] { send_zeros(server, body_size() - sent); });
  take_zeros(client, body_size());
}

// WEIR_IDLE_CONNECTIONS=25000 is what the ports of one address suffice for.
std::size_t idle_connections() {
  const char* const wanted = std::getenv("WEIR_IDLE_CONNECTIONS");
  return wanted != nullptr ? std::stoul(wanted) : 5000;
}

TEST_CASE("R4: thousands of idle connections cost little each, and always the same") {
  const std::size_t connections = idle_connections();
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  if (files.rlim_cur < 2 * connections + 100) {
    FAIL("needs " << 2 * connections + 100 << " open files, the limit is " << files.rlim_cur);
  }
  Weir weir;
  {
    TcpPeer client = weir.connect();
    client.send(kGet);
    TcpPeer server = weir.server.accept();
    answer_one(client, server);
  }
  const std::size_t before = weir.memory();
  std::vector<std::size_t> rounds;
  for (int round = 0; round < 4; ++round) {
    std::vector<TcpPeer> clients, servers;
    for (std::size_t i = 0; i < connections; ++i) {
      clients.push_back(weir.connect());
      clients.back().send(kGet);
      servers.push_back(weir.server.accept());
      answer_one(clients.back(), servers.back());
    }
    // Both legs are open and at rest.
    rounds.push_back(weir.memory());
    clients.clear();
    for (TcpPeer& server : servers) {
      REQUIRE(server.ending() != "timeout");
    }
  }
  const std::size_t each = (rounds[0] - before) / connections;
  WARN("an idle connection with its upstream takes " << each << " bytes");
  CHECK(each < 16 * 1024);
  // The second round still finds gaps of the first too small for itself.
  CHECK(rounds[3] < rounds[1] + kMiB);
}

TEST_CASE("R6: paths without end leave no trace in metrics or memory") {
  Weir weir;
  const auto metrics = [&] {
    auto connection = HttpConnection::open("127.0.0.1", weir.admin_port);
    const auto reply = connection->request({.target = "/stats/prometheus", .host = "127.0.0.1"});
    return std::count(reply->body.begin(), reply->body.end(), '\n');
  };
  TcpPeer client = weir.connect();
  std::size_t number = 0, answer = 0;
  const auto ask = [&](std::size_t count) {
    for (std::size_t sent = 0; sent < count; sent += 100) {
      std::string requests;
      for (int i = 0; i < 100; ++i) {
        const std::string own = std::to_string(number++);
        requests += "GET /" + own + "?q=" + own + " HTTP/1.1\r\nHost: h" + own + "\r\n\r\n";
      }
      client.send(requests);
      if (answer == 0) {
        answer = client.read_until("Access denied\r\n").size();
        client.read(99 * answer);
      } else {
        REQUIRE(client.read(100 * answer).ends_with("Access denied\r\n"));
      }
    }
  };
  ask(1000);
  const auto lines = metrics();
  const std::size_t before = weir.memory();
  ask(100'000);
  CHECK(metrics() == lines);
  CHECK(weir.memory() < before + 4 * kMiB);
}

TEST_CASE("A5: greedy and slow readers of metrics hold up no request") {
  Weir weir;
  std::vector<TcpPeer> greedy;
  std::string pages;
  for (int i = 0; i < 100; ++i) {
    pages += "GET /stats/prometheus HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  }
  for (int i = 0; i < 30; ++i) { // some 300 MB of answers that nobody reads
    greedy.push_back(TcpPeer::connect_to({*IpAddress::parse("127.0.0.1"), weir.admin_port}));
    greedy.back().send(pages);
  }
  TcpPeer client = weir.connect();
  client.send(kGet);
  TcpPeer server = weir.server.accept();
  answer_one(client, server);
  for (int i = 0; i < 1000; ++i) {
    client.send(kGet);
    answer_one(client, server);
  }
  for (const TcpPeer& one : greedy) { // still there: they were not simply turned away
    char byte = 0;
    CHECK(::recv(one.fd(), &byte, 1, MSG_PEEK) == 1);
  }
  CHECK(weir.memory() < 64 * kMiB);
}

TEST_CASE("R1 and R5: clients that never finish are ended, and others are served meanwhile") {
  Weir weir("{headTimeout: 2s, maxConnectionsPerPod: 400}");
  std::vector<TcpPeer> slow;
  for (int i = 0; i < 400; ++i) {
    slow.push_back(weir.connect("127.0.0.2"));
  }
  CHECK(weir.connect("127.0.0.2").ending() == "reset");
  for (TcpPeer& one : slow) { // only now does their time run
    one.send("GET /bulk HTTP/1.1\r\nX: ");
  }
  TcpPeer client = weir.connect("127.0.0.3");
  client.send(kGet);
  TcpPeer server = weir.server.accept();
  answer_one(client, server);
  // A byte now and then does not help them.
  for (TcpPeer& one : slow) {
    ::send(one.fd(), "a", 1, MSG_NOSIGNAL);
  }
  for (TcpPeer& one : slow) {
    REQUIRE(one.read_until("\r\n").starts_with("HTTP/1.1 408 "));
    one.close();
    client.send(kGet);
    answer_one(client, server);
  }
  REQUIRE(eventually([&] {
    TcpPeer again = weir.connect("127.0.0.2");
    again.send("GET /none HTTP/1.1\r\nHost: shop\r\n\r\n");
    return again.read(12) == "HTTP/1.1 403";
  }));
}

} // namespace weir::test
