// The TLS session between real OpenSSL peers over loopback, with a policy from a table.
#include "proxy/session/tls_session.h"

#include "proxy/base/unique_fd.h"
#include "proxy/net/socket_stream.h"
#include "test/unit/tls/openssl_peer.h"

#include <catch2/catch_test_macros.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <cerrno>
#include <future>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace session = weir::session;
namespace test = weir::test;
using Need = session::TlsJudge::Need;
using test::ByteVector;
using weir::UniqueFd;

namespace {

// Nobody waits longer than this for an event; a test that gets there has failed.
constexpr int kPatienceSeconds = 30;

void be_patient(int fd) {
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

class Origin { // a listening socket on loopback
public:
  Origin() : x_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(x_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(x_fd.get(), 16) == 0);
    be_patient(x_fd.get());
  }
  [[nodiscard]] weir::SocketAddress address() const {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    ::getsockname(x_fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    return weir::SocketAddress::from_sockaddr(storage);
  }
  [[nodiscard]] UniqueFd accept() const {
    UniqueFd fd(::accept4(x_fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    be_patient(fd.get());
    return fd;
  }
  // Whether somebody is waiting to be accepted.
  [[nodiscard]] bool untouched() const {
    const timeval now{0, 1000};
    ::setsockopt(x_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &now, sizeof now);
    const UniqueFd fd(::accept4(x_fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return !fd.valid();
  }
  void close() { x_fd.reset(); }

private:
  UniqueFd x_fd;
};

UniqueFd connect_to(const weir::SocketAddress& address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const socklen_t length = address.to_sockaddr(storage);
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0);
  be_patient(fd.get());
  return fd;
}

bool write_all(int fd, const ByteVector& bytes) {
  return ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

struct Policy { // shared by the test and the worker's thread
  std::mutex mutex;
  Need need = Need::kServerName;
  std::set<std::string> names;

  void set(Need new_need, std::set<std::string> new_names) {
    const std::lock_guard lock(mutex);
    need = new_need;
    names = std::move(new_names);
  }
};

class TableJudge final : public session::TlsJudge {
public:
  explicit TableJudge(Policy& policy) : x_policy(policy) { x_rule.label = "shop/sni"; }
  Need refresh() override {
    const std::lock_guard lock(x_policy.mutex);
    x_need = x_policy.need;
    x_names = x_policy.names;
    return x_need;
  }
  [[nodiscard]] weir::policy::L7Decision
  judge(std::optional<std::string_view> name) const override {
    switch (x_need) {
    case Need::kDeny:
      return {false, &x_rule, "policy"};
    case Need::kNothing:
      return {true, &x_rule, ""};
    case Need::kServerName:
      break;
    }
    const bool allowed = name && x_names.contains(std::string(*name));
    if (!allowed && name == "audited.example") {
      return {true, &x_rule, "sni", true};
    }
    return {allowed, &x_rule, allowed ? "" : "sni"};
  }
  void describe(weir::AccessRecord& record) const override { record.direction = "egress"; }

private:
  Policy& x_policy;
  weir::policy::RuleRef x_rule;
  Need x_need = Need::kDeny;
  std::set<std::string> x_names;
};

// Keeps what a test asks of a record.
struct Logged {
  weir::AccessVerdict verdict;
  std::string protocol, host, denied_by, reason;
  std::uint64_t bytes_in, bytes_out;
};

class PromisingLog final : public weir::AccessLog {
public:
  bool write(unsigned /*writer*/, const weir::AccessRecord& record) override {
    x_promise.set_value({record.verdict, std::string(record.protocol), std::string(record.host),
                         std::string(record.denied_by), std::string(record.reason),
                         record.bytes_in.value_or(0), record.bytes_out.value_or(0)});
    return true;
  }
  void flush() override {}
  weir::Result<void> reopen() override { return {}; }

  Logged wait() {
    auto future = x_promise.get_future();
    REQUIRE(future.wait_for(std::chrono::seconds(kPatienceSeconds)) == std::future_status::ready);
    return future.get();
  }

private:
  std::promise<Logged> x_promise;
};

// A worker with one session between `client` and whoever listens at `origin`.
class Rig {
public:
  explicit Rig(session::TlsLimits limits = {}) : x_service(x_worker, log, limits) {
    x_worker.start();
    x_worker.post([this] { x_service.start(); });
  }
  ~Rig() { x_worker.stop(); }

  // The client has sent `first` by then.
  UniqueFd open(const ByteVector& first = {}) {
    const Origin front;
    UniqueFd client = connect_to(front.address());
    REQUIRE(write_all(client.get(), first));
    UniqueFd accepted = front.accept();
    boost::asio::ip::tcp::socket socket(x_worker.context());
    socket.assign(boost::asio::ip::tcp::v4(), accepted.release());
    auto stream = std::make_unique<weir::net::SocketStream>(std::move(socket));
    const weir::SocketAddress upstream = origin.address();
    x_worker.post([this, upstream, held = stream.release()] {
      x_worker.gate().spawn(session::TlsSession::serve(std::make_unique<session::TlsSession>(
          x_service, std::unique_ptr<weir::net::Stream>(held), std::make_unique<TableJudge>(policy),
          std::make_unique<weir::net::TcpConnector>(upstream, std::nullopt,
                                                    std::chrono::seconds(5)))));
    });
    return client;
  }
  // As the control plane does; the sessions are to notice.
  void publish() {
    x_worker.publish(std::make_shared<weir::endpoint::Snapshot>(), [] {});
  }
  weir::WorkerMetrics& metrics() { return x_worker.metrics(); }

  Policy policy;
  PromisingLog log;
  Origin origin;

private:
  weir::runtime::Worker x_worker{0};
  session::TlsService x_service;
};

test::Ssl ssl_on(SSL_CTX* context, int fd) {
  test::Ssl ssl(SSL_new(context));
  SSL_set_fd(ssl.get(), fd);
  return ssl;
}

// All that comes until the end of the stream or until it breaks.
struct Received {
  ByteVector bytes;
  bool reset = false;
};
Received receive_all(int fd) {
  Received received;
  std::uint8_t block[4096];
  for (;;) {
    const ssize_t got = ::recv(fd, block, sizeof block, 0);
    if (got <= 0) {
      received.reset = got < 0 && errno == ECONNRESET;
      return received;
    }
    received.bytes.insert(received.bytes.end(), block, block + got);
  }
}

ByteVector receive_exactly(int fd, std::size_t size) {
  ByteVector bytes(size);
  const ssize_t got = ::recv(fd, bytes.data(), size, MSG_WAITALL);
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

ByteVector receive_record(int fd) {
  ByteVector record = receive_exactly(fd, 5);
  REQUIRE(record.size() == 5);
  const ByteVector payload =
      receive_exactly(fd, static_cast<std::size_t>(record[3]) << 8 | record[4]);
  record.insert(record.end(), payload.begin(), payload.end());
  return record;
}

ByteVector alert(std::uint8_t code) { return {21, 3, 3, 0, 2, 2, code}; }

// Handshakes with the origin's server as `name`; the reason of OpenSSL's failure, or 0.
struct Handshake {
  bool client_ok = false, server_ok = false;
  int client_reason = 0;
  std::string echoed;
};
Handshake handshake(Rig& rig, test::OpensslServer& server, const test::ClientOptions& options) {
  Handshake result;
  const UniqueFd socket = rig.open();
  std::thread origin([&] {
    const UniqueFd accepted = rig.origin.accept();
    if (!accepted.valid()) {
      return;
    }
    const test::Ssl ssl = ssl_on(server.context(), accepted.get());
    result.server_ok = SSL_accept(ssl.get()) == 1;
    char block[64];
    const int got = SSL_read(ssl.get(), block, sizeof block);
    if (got > 0) {
      SSL_write(ssl.get(), block, got);
    }
    SSL_shutdown(ssl.get());
  });
  const test::SslContext context = test::openssl_client(options);
  const test::Ssl ssl = ssl_on(context.get(), socket.get());
  test::set_client_options(ssl.get(), options);
  ERR_clear_error();
  result.client_ok = SSL_connect(ssl.get()) == 1;
  if (result.client_ok) {
    SSL_write(ssl.get(), "ping", 4);
    char block[64];
    const int got = SSL_read(ssl.get(), block, sizeof block);
    result.echoed.assign(block, static_cast<std::size_t>(std::max(got, 0)));
    SSL_shutdown(ssl.get());
    ::shutdown(socket.get(), SHUT_WR);
    receive_all(socket.get());
  } else {
    result.client_reason = ERR_GET_REASON(ERR_peek_error());
  }
  if (!result.client_ok) {
    // Let the origin's thread go, if nobody came to it.
    connect_to(rig.origin.address());
  }
  origin.join();
  return result;
}

test::ClientOptions client_of(std::string name, int version = 0) {
  test::ClientOptions options;
  options.server_name = std::move(name);
  if (version != 0) {
    options.min_version = options.max_version = version;
  }
  return options;
}

} // namespace

TEST_CASE("T: an allowed server name reaches the server, in every TLS version") {
  test::OpensslServer server;
  for (const int version : {TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION}) {
    Rig rig;
    rig.policy.set(Need::kServerName, {"shop.example"});
    const Handshake result = handshake(rig, server, client_of("Shop.Example", version));
    CHECK(result.client_ok);
    CHECK(result.server_ok);
    CHECK(result.echoed == "ping");
    const Logged logged = rig.log.wait();
    CHECK(logged.verdict == weir::AccessVerdict::kAllowed);
    CHECK(logged.protocol == "tls");
    CHECK(logged.host == "shop.example");
    CHECK(logged.bytes_in > 100);
    CHECK(logged.bytes_out > 100);
  }
}

TEST_CASE("T: a name that an audited policy refuses passes and is told as AUDIT") {
  test::OpensslServer server;
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  const Handshake result = handshake(rig, server, client_of("audited.example", TLS1_3_VERSION));
  CHECK(result.echoed == "ping");
  const Logged logged = rig.log.wait();
  CHECK(logged.verdict == weir::AccessVerdict::kAudit);
  CHECK(logged.denied_by == "shop/sni");
  CHECK(logged.reason == "sni");
}

TEST_CASE("T9: a hello of more than 16 KiB is passed on whole") {
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  test::ClientOptions options = client_of("shop.example");
  options.padding = 40000;
  const ByteVector hello = test::openssl_hello(options);
  const UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), hello));
  const UniqueFd server = rig.origin.accept();
  CHECK(receive_exactly(server.get(), hello.size()) == hello);
}

TEST_CASE("T: a name that is not allowed gets unrecognized_name, and nothing reaches the server") {
  test::OpensslServer server;
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Rig rig;
    rig.policy.set(Need::kServerName, {"shop.example"});
    const UniqueFd client = rig.open();
    REQUIRE(write_all(client.get(), test::openssl_hello(client_of("evil.example", version))));
    CHECK(receive_all(client.get()).bytes == alert(112));
    CHECK(rig.origin.untouched());
    const Logged logged = rig.log.wait();
    CHECK(logged.verdict == weir::AccessVerdict::kDenied);
    CHECK(logged.host == "evil.example");
    CHECK(logged.denied_by == "shop/sni");
    CHECK(logged.reason == "sni");
  }
}

TEST_CASE("T: OpenSSL's client understands the alert, in every TLS version") {
  test::OpensslServer server;
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION}) {
    Rig rig;
    rig.policy.set(Need::kServerName, {"shop.example"});
    const Handshake result = handshake(rig, server, client_of("evil.example", version));
    CHECK_FALSE(result.client_ok);
    CHECK(result.client_reason == SSL_R_TLSV1_UNRECOGNIZED_NAME);
  }
}

TEST_CASE("T1: no server name where policy wants one gets access_denied") {
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  const UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), test::openssl_hello(client_of(""))));
  CHECK(receive_all(client.get()).bytes == alert(49));
  CHECK(rig.origin.untouched());
  CHECK(rig.log.wait().reason == "sni");
}

TEST_CASE("T12, T13 and T14: what is not TLS is reset and never passed on") {
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  const UniqueFd client = rig.open();
  const std::string request = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
  REQUIRE(write_all(client.get(), {request.begin(), request.end()}));
  const Received received = receive_all(client.get());
  CHECK(received.reset);
  CHECK(received.bytes.empty());
  CHECK(rig.origin.untouched());
  const Logged logged = rig.log.wait();
  CHECK(logged.verdict == weir::AccessVerdict::kDenied);
  CHECK(logged.reason == "not-tls");
  CHECK(logged.denied_by == "shop/sni");
  CHECK(rig.metrics().tls_hellos_refused.value() == 1);
}

TEST_CASE("T: a malformed hello gets its alert") {
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  const UniqueFd client = rig.open();
  test::HelloParts parts;
  parts.extensions = {test::server_name_extension("shop.example"),
                      test::server_name_extension("evil.example")};
  REQUIRE(write_all(client.get(), test::in_records(test::hello_message(parts))));
  CHECK(receive_all(client.get()).bytes == alert(47));
  CHECK(rig.log.wait().reason == "sni-two-names");
}

TEST_CASE("T: who does not finish the hello in time is reset") {
  session::TlsLimits limits;
  limits.hello_timeout = std::chrono::seconds(0);
  Rig rig(limits);
  const UniqueFd client = rig.open({22, 3, 1, 2});
  CHECK(receive_all(client.get()).reset);
  CHECK(rig.log.wait().reason == "hello-timeout");
}

TEST_CASE("T: who goes away before the end of the hello is logged as an error") {
  Rig rig;
  UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), {22, 3, 1, 2}));
  ::shutdown(client.get(), SHUT_WR);
  const Logged logged = rig.log.wait();
  CHECK(logged.verdict == weir::AccessVerdict::kError);
  CHECK(logged.reason == "hello-incomplete");
}

TEST_CASE("T: a server that answers with something else than TLS is not passed through") {
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  const UniqueFd client = rig.open();
  const ByteVector hello = test::hello_for("shop.example");
  REQUIRE(write_all(client.get(), hello));
  const UniqueFd server = rig.origin.accept();
  CHECK(receive_exactly(server.get(), hello.size()) == hello);
  const std::string banner = "SSH-2.0-x\r\n";
  REQUIRE(write_all(server.get(), {banner.begin(), banner.end()}));
  const Received received = receive_all(client.get());
  CHECK(received.reset);
  CHECK(received.bytes.empty());
  CHECK(rig.log.wait().reason == "upstream-not-tls");
}

TEST_CASE("T: a server that nobody listens at is a reset for the client, as without weir") {
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  const UniqueFd client = rig.open();
  rig.origin.close();
  REQUIRE(write_all(client.get(), test::hello_for("shop.example")));
  CHECK(receive_all(client.get()).reset);
  const Logged logged = rig.log.wait();
  CHECK(logged.verdict == weir::AccessVerdict::kError);
  CHECK(logged.reason == "upstream-refused");
}

TEST_CASE("T: a handshake with a HelloRetryRequest works") {
  test::OpensslServer server;
  server.only_groups("P-384");
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  test::ClientOptions options = client_of("shop.example", TLS1_3_VERSION);
  options.groups = "X25519:P-384";
  const Handshake result = handshake(rig, server, options);
  CHECK(result.client_ok);
  CHECK(result.echoed == "ping");
  CHECK(rig.log.wait().verdict == weir::AccessVerdict::kAllowed);
}

TEST_CASE("T: another name in the hello after a HelloRetryRequest does not reach the server") {
  test::OpensslServer server;
  server.only_groups("P-384");
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example", "other.example"});
  test::ClientOptions options = client_of("shop.example", TLS1_3_VERSION);
  options.groups = "X25519:P-384";
  const ByteVector hello = test::openssl_hello(options);
  const ByteVector retry = server.read(hello).answer;

  const UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), hello));
  const UniqueFd origin = rig.origin.accept();
  REQUIRE(receive_exactly(origin.get(), hello.size()) == hello);
  REQUIRE(write_all(origin.get(), retry));
  receive_record(client.get());
  REQUIRE(write_all(client.get(), test::hello_for("other.example")));
  const ByteVector rest = receive_all(client.get()).bytes;
  REQUIRE(rest.size() >= 7);
  CHECK(ByteVector(rest.end() - 7, rest.end()) == alert(47));
  const Received at_origin = receive_all(origin.get());
  CHECK(at_origin.bytes.empty());
  CHECK(at_origin.reset);
  CHECK(rig.log.wait().reason == "sni-changed");
}

TEST_CASE("T: a second hello sent before the server asked for it does not reach the server") {
  test::OpensslServer server;
  server.only_groups("P-384");
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example"});
  test::ClientOptions options = client_of("shop.example", TLS1_3_VERSION);
  options.groups = "X25519:P-384";
  const ByteVector hello = test::openssl_hello(options);
  ByteVector both = hello;
  const ByteVector second = test::hello_for("evil.example");
  both.insert(both.end(), second.begin(), second.end());

  const UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), both));
  const UniqueFd origin = rig.origin.accept();
  REQUIRE(receive_exactly(origin.get(), hello.size()) == hello);
  REQUIRE(write_all(origin.get(), server.read(hello).answer));
  CHECK(receive_all(origin.get()).bytes.empty());
  const Logged logged = rig.log.wait();
  CHECK(logged.verdict == weir::AccessVerdict::kDenied);
  CHECK((logged.reason == "hello-early" || logged.reason == "sni-changed"));
}

TEST_CASE("T: a policy change ends a running connection whose name is no longer allowed") {
  Rig rig;
  rig.policy.set(Need::kServerName, {"shop.example", "other.example"});
  const UniqueFd client = rig.open();
  const ByteVector hello = test::hello_for("shop.example");
  REQUIRE(write_all(client.get(), hello));
  const UniqueFd origin = rig.origin.accept();
  REQUIRE(receive_exactly(origin.get(), hello.size()) == hello);
  REQUIRE(write_all(origin.get(), {21, 3, 3, 0, 2, 1, 0})); // anything of TLS
  REQUIRE(receive_exactly(client.get(), 7).size() == 7);

  SECTION("not while it stays allowed") {
    rig.policy.set(Need::kServerName, {"shop.example"});
    rig.publish();
    REQUIRE(write_all(client.get(), {1, 2, 3}));
    CHECK(receive_exactly(origin.get(), 3) == ByteVector{1, 2, 3});
  }
  rig.policy.set(Need::kServerName, {"other.example"});
  rig.publish();
  CHECK(receive_all(client.get()).reset);
  CHECK(receive_all(origin.get()).reset);
  const Logged logged = rig.log.wait();
  CHECK(logged.verdict == weir::AccessVerdict::kDenied);
  CHECK(logged.reason == "sni");
  CHECK(logged.denied_by == "shop/sni");
  CHECK(rig.metrics().tls_policy_resets.value() == 1);
}

TEST_CASE("T: where policy wants no name, bytes are passed as they are, half-close included") {
  Rig rig;
  rig.policy.set(Need::kNothing, {});
  const UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), {'h', 'i'}));
  ::shutdown(client.get(), SHUT_WR);
  {
    const UniqueFd origin = rig.origin.accept();
    CHECK(receive_all(origin.get()).bytes == ByteVector{'h', 'i'});
    REQUIRE(write_all(origin.get(), {'y', 'o'}));
  }
  const Received received = receive_all(client.get());
  CHECK(received.bytes == ByteVector{'y', 'o'});
  CHECK_FALSE(received.reset);
  const Logged logged = rig.log.wait();
  CHECK(logged.verdict == weir::AccessVerdict::kAllowed);
  CHECK(logged.protocol == "tcp");
  CHECK(logged.bytes_in == 2);
  CHECK(logged.bytes_out == 2);
}

TEST_CASE("T: a reset of either side is a reset of the other") {
  Rig rig;
  rig.policy.set(Need::kNothing, {});
  const UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), {'h', 'i'}));
  {
    const UniqueFd origin = rig.origin.accept();
    REQUIRE(receive_exactly(origin.get(), 2).size() == 2);
    const linger reset{1, 0};
    ::setsockopt(origin.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  CHECK(receive_all(client.get()).reset);
  CHECK(rig.log.wait().reason == "reset");
}

TEST_CASE("T: a connection passed on unread ends when policy comes to want its name") {
  Rig rig;
  rig.policy.set(Need::kNothing, {});
  const UniqueFd client = rig.open();
  REQUIRE(write_all(client.get(), {'h', 'i'}));
  const UniqueFd origin = rig.origin.accept();
  REQUIRE(receive_exactly(origin.get(), 2).size() == 2);
  rig.policy.set(Need::kServerName, {"shop.example"});
  rig.publish();
  CHECK(receive_all(client.get()).reset);
  CHECK(receive_all(origin.get()).reset);
  CHECK(rig.log.wait().verdict == weir::AccessVerdict::kDenied);
}

TEST_CASE("T: a flow that policy denies is reset without a byte read or sent") {
  Rig rig;
  rig.policy.set(Need::kDeny, {});
  const UniqueFd client = rig.open();
  const Received received = receive_all(client.get());
  CHECK(received.reset);
  CHECK(received.bytes.empty());
  CHECK(rig.origin.untouched());
  CHECK(rig.log.wait().reason == "policy");
}
