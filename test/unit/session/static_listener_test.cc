// The whole TCP side of a worker over real sockets: a static listener, compiled policy, the
// worker's own thread, a server that records raw bytes.
#include "proxy/session/listeners.h"

#include "policy-compiler/compile.h"
#include "proxy/endpoint/cluster.h"
#include "test/support/recording_log.h"
#include "test/support/tcp_peer.h"
#include "test/unit/dns/fakes.h"

#include <catch2/catch_test_macros.hpp>

#include <netinet/in.h>
#include <poll.h>

#include <future>
#include <memory>
#include <string>
#include <string_view>

using namespace weir;

namespace {

constexpr std::string_view kHttpPolicy = R"(
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET, path: "/discount"}]}
)";

constexpr std::string_view kL4Policy = R"(
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
)";

// The same as kHttpPolicy, told instead of enforced.
constexpr std::string_view kAuditPolicy = R"(
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop, annotations: {weir.io/enforcement: audit}}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: client}}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET, path: "/discount"}]}
)";

class NoPrefixes final : public policy::PrefixIdentities {
public:
  policy::IdentityId identity_of(const IpPrefix& /*prefix*/) override { return 1u << 24; }
};
class NoBits final : public policy::FqdnGroupBits {
public:
  std::optional<unsigned> bit_of(policy::EndpointId /*endpoint*/,
                                 const std::string& /*group*/) override {
    return std::nullopt;
  }
};

std::shared_ptr<const endpoint::Snapshot> snapshot(std::string_view policy_text) {
  policy::CompileInput input;
  input.revision = 1;
  for (auto& document : policy::parse_policies("policy.yaml", policy_text)) {
    REQUIRE(document.policy != nullptr);
    input.policies.push_back(document.policy);
  }
  std::vector<endpoint::Endpoint> pods;
  policy::IdentityId identity = 300;
  for (const std::string name : {"web", "client", "stranger"}) {
    endpoint::Endpoint pod;
    pod.id = identity - 299;
    pod.identity = identity++;
    pod.endpoint_namespace = "shop";
    pod.name = name;
    endpoint::PodSpec spec;
    spec.pod_namespace = "shop";
    spec.name = name;
    spec.labels = {{"app", name}};
    pod.labels = std::make_shared<const policy::Labels>(endpoint::identity_labels(spec, {}));
    input.identities.push_back({pod.identity, pod.labels});
    input.endpoints.push_back({pod.id, pod.identity, "shop", name, {}});
    pods.push_back(pod);
  }
  NoPrefixes prefixes;
  NoBits bits;
  auto made = std::make_shared<endpoint::Snapshot>();
  made->program = policy::compile(input, prefixes, bits).program;
  made->registry =
      std::make_shared<endpoint::Registry>(std::move(pods), std::vector<policy::Program::Prefix>{});
  return made;
}

class Fixture {
public:
  explicit Fixture(std::string_view policy_text, std::string peer = "shop/client",
                   config::ListenerProtocol protocol = config::ListenerProtocol::kHttp,
                   std::uint32_t max_connections = 1000) {
    x_http.max_connections_per_pod = max_connections;
    x_options.address = {*IpAddress::parse("127.0.0.1"), 0};
    x_options.upstream = server.address();
    x_options.protocol = protocol;
    x_options.endpoint = "shop/web";
    x_options.peer = std::move(peer);
    x_options.port = 80;
    auto opened = session::StaticListener::open(x_service, x_options);
    REQUIRE(opened.has_value());
    x_listener = std::move(*opened);
    x_worker.start();
    publish(policy_text);
    on_worker([this] {
      x_service.start();
      x_listener->start();
    });
  }
  ~Fixture() { x_worker.stop(); }

  void publish(std::string_view policy_text) {
    std::promise<void> done;
    x_worker.publish(snapshot(policy_text), [&] { done.set_value(); });
    done.get_future().get();
  }
  void on_worker(const std::function<void()>& work) {
    std::promise<void> done;
    x_worker.post([&] {
      work();
      done.set_value();
    });
    done.get_future().get();
  }
  test::TcpPeer connect() { return test::TcpPeer::connect_to(x_listener->address().value); }
  void drain() {
    on_worker([this] {
      x_listener->stop();
      x_service.drain();
    });
  }
  std::vector<test::RecordingLog::Line> log_lines() {
    std::vector<test::RecordingLog::Line> lines;
    on_worker([&] { lines = x_log.lines; });
    return lines;
  }

  test::TcpPeer server = test::TcpPeer::listening("127.0.0.1");

private:
  config::Http x_http;
  config::StaticListener x_options;
  test::RecordingRedirector x_redirector;
  dns::FqdnCache x_cache{x_redirector, {}};
  test::RecordingLog x_log;
  runtime::Worker x_worker{0};
  session::SessionContext x_context{x_worker, x_http, x_cache, x_log};
  session::TcpService x_service{x_context, {}};
  std::unique_ptr<session::StaticListener> x_listener;
};

constexpr std::string_view kGet = "GET /discount HTTP/1.1\r\nHost: shop\r\n\r\n";
constexpr std::string_view kPost =
    "POST /discount HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::string denial(std::string_view label) {
  return "HTTP/1.1 403 Forbidden\r\nServer: weir\r\nContent-Type: text/plain\r\n"
         "x-weir-denied-by: " +
         std::string(label) + "\r\nContent-Length: 15\r\n\r\nAccess denied\r\n";
}

void expect(test::TcpPeer& peer, std::string_view bytes) {
  CHECK(peer.read(bytes.size()) == bytes);
}

} // namespace

TEST_CASE("a static listener forwards what policy allows and answers the rest itself") {
  Fixture f(kHttpPolicy);
  test::TcpPeer client = f.connect();
  client.send(kPost);
  expect(client, denial("shop/api"));
  CHECK_FALSE([&] {
    pollfd waiting{f.server.fd(), POLLIN, 0};
    return ::poll(&waiting, 1, 0) > 0;
  }());
  client.send(kGet);
  test::TcpPeer server = f.server.accept();
  expect(server, kGet);
  server.send(kOk);
  expect(client, kOk);
  client.send(kGet);
  expect(server, kGet);
  server.send(kOk);
  expect(client, kOk);
}

TEST_CASE("a static HTTP listener answers 403 to a flow that is denied at L4") {
  Fixture f(kHttpPolicy, "shop/stranger");
  test::TcpPeer client = f.connect();
  client.send(kGet);
  expect(client, denial("default-deny"));
}

TEST_CASE("a policy change is felt on an open connection, one that still allows drops nothing") {
  Fixture f(kHttpPolicy);
  test::TcpPeer client = f.connect();
  client.send(kGet);
  test::TcpPeer server = f.server.accept();
  expect(server, kGet);
  server.send(kOk);
  expect(client, kOk);
  f.publish(kL4Policy);
  client.send(kPost);
  expect(server, kPost);
  server.send(kOk);
  expect(client, kOk);
  f.publish(kHttpPolicy);
  client.send(kPost);
  expect(client, denial("shop/api"));
}

TEST_CASE("a static TCP listener passes on what L4 policy allows, both ends included") {
  Fixture f(kL4Policy, "shop/client", config::ListenerProtocol::kTcp);
  test::TcpPeer client = f.connect();
  client.send("hello");
  test::TcpPeer server = f.server.accept();
  expect(server, "hello");
  server.send("there");
  expect(client, "there");
  client.end();
  CHECK(server.ending() == "end");
  server.send("last");
  server.close();
  expect(client, "last");
  CHECK(client.ending() == "end");
}

TEST_CASE("a static TCP listener resets what policy denies or wants judged at L7") {
  for (const auto& [policy, peer] :
       {std::pair{kL4Policy, "shop/stranger"}, std::pair{kHttpPolicy, "shop/client"}}) {
    Fixture f(policy, peer, config::ListenerProtocol::kTcp);
    test::TcpPeer client = f.connect();
    CHECK(client.ending() == "reset");
    CHECK(f.log_lines().at(0).verdict == AccessVerdict::kDenied);
  }
}

TEST_CASE("draining stops accepting, ends idle connections and lets a request finish") {
  Fixture f(kHttpPolicy);
  test::TcpPeer idle = f.connect();
  idle.send(kPost);
  expect(idle, denial("shop/api"));
  test::TcpPeer busy = f.connect();
  busy.send(kGet);
  test::TcpPeer server = f.server.accept();
  expect(server, kGet);
  f.drain();
  CHECK(idle.ending() == "end");
  server.send(kOk);
  expect(busy, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  CHECK(busy.ending() == "end");
}

TEST_CASE("the end of a worker resets a message that is under way") {
  // Both outlive the worker: the reset is its doing.
  test::TcpPeer client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  test::TcpPeer server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  {
    Fixture f(kHttpPolicy);
    client = f.connect();
    client.send(kGet);
    server = f.server.accept();
    expect(server, kGet);
    server.send("HTTP/1.1 200 OK\r\n\r\nhalf");
    client.read_until("half");
  }
  CHECK(client.ending() == "reset");
}

TEST_CASE("an audited policy lets pass at L7 and at L4, and tells what it would refuse") {
  for (const auto& [peer, by] :
       {std::pair{"shop/client", "shop/api"}, std::pair{"shop/stranger", "default-deny"}}) {
    Fixture f(kAuditPolicy, peer);
    test::TcpPeer client = f.connect();
    client.send(kPost);
    test::TcpPeer server = f.server.accept();
    expect(server, kPost);
    server.send(kOk);
    expect(client, kOk);
    const auto lines = f.log_lines();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].verdict == AccessVerdict::kAudit);
    CHECK(lines[0].denied_by == by);
    CHECK(lines[0].status == 200);
  }
}

TEST_CASE("R5: one client has so many connections, and room again when one has ended") {
  Fixture f(kHttpPolicy, "shop/client", config::ListenerProtocol::kHttp, 2);
  test::TcpPeer first = f.connect(), second = f.connect();
  for (test::TcpPeer* one : {&first, &second}) {
    one->send(kPost);
    expect(*one, denial("shop/api"));
  }
  test::TcpPeer third = f.connect();
  CHECK(third.ending() == "reset");
  CHECK(f.log_lines().back().reason == "too-many-connections");
  first.end();
  CHECK(first.ending() == "end");
  test::TcpPeer fourth = f.connect();
  fourth.send(kPost);
  expect(fourth, denial("shop/api"));
}
