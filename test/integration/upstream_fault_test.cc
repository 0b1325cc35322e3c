// What becomes of a request whose server fails, in HTTP/1.1 and HTTP/2: the status that a client
// sees, the reason in the log, Envoy's flag for it. An answer that was cut off never looks whole.
// On loopback, without root.
#include "test/support/lab.h"
#include "test/support/must.h"
#include "test/support/tcp_peer.h"

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <optional>
#include <thread>
#include <vector>

namespace weir::test {
namespace {

using namespace std::string_literals;

// A port that takes no further connection and refuses none.
class FullPort {
public:
  FullPort() {
    REQUIRE(::listen(x_listening.fd(), 0) == 0);
    for (int i = 0; i < 4; ++i) {
      UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      sockaddr_storage storage{};
      const socklen_t length = x_listening.address().to_sockaddr(storage);
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length);
      x_waiting.push_back(std::move(fd));
    }
  }
  [[nodiscard]] std::uint16_t number() const { return x_listening.address().port; }

private:
  TcpPeer x_listening = TcpPeer::listening("127.0.0.1");
  std::vector<UniqueFd> x_waiting;
};

struct Weir {
  TempFolder folder;
  PolicyFolder policies{folder.path() / "policies"};
  TcpPeer server = TcpPeer::listening("127.0.0.1");
  FullPort full;
  std::uint16_t admin_port = free_port(), to_server = free_port(), to_nobody = free_port(),
                to_full = free_port();
  std::optional<Process> process;

  Weir(const std::string& log_format, const std::string& http) {
    policies.publish({{"web.yaml", R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{}]}}]}]
)"}});
    write_file(folder.path() / "endpoints.yaml",
               "endpoints:\n"
               "  - {name: web, namespace: shop, labels: {app: web}, ips: [10.0.1.11]}\n"
               "  - {name: client, namespace: shop, ips: [10.0.1.12]}\n");
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    const auto at = [](std::uint16_t number) { return "\"127.0.0.1:" + std::to_string(number); };
    const auto listener = [&](const char* name, std::uint16_t port, std::uint16_t upstream) {
      return "  - {name: "s + name + ", type: static, protocol: http, direction: ingress, " +
             "endpoint: shop/web, peer: shop/client, port: 80, address: " + at(port) +
             "\", upstream: " + at(upstream) + "\"}\n";
    };
    write_file(
        folder.path() / "weir.yaml",
        "policies: {directory: " + path("policies") + "}\nendpoints: {file: " +
            path("endpoints.yaml") + "}\nstate: {directory: " + path("state") +
            "}\nworkers: 1\nredirect: {mode: none}\naccessLog: {path: " + path("access.log") +
            ", format: " + log_format + "}\nhttp: " + http +
            "\nadmin: {address: " + at(admin_port) + "\"}\nmetrics: {address: " + at(free_port()) +
            "\"}\nlisteners:\n" + listener("server", to_server, server.address().port) +
            listener("nobody", to_nobody, free_port()) + listener("full", to_full, full.number()));
    process = Process::start(
        {.argv = {weir_proxy_path(), "--config", path("weir.yaml")}, .output = path("weir.log")});
    const bool ready = eventually([&] { return is_ready(admin_port); });
    INFO(read_file(folder.path() / "weir.log"));
    REQUIRE(ready);
  }

  // The next line of the log.
  std::string line() {
    std::string all;
    REQUIRE(eventually([&] {
      all = read_file(folder.path() / "access.log");
      return all.size() > x_read && all.ends_with('\n');
    }));
    return all.substr(std::exchange(x_read, all.size()));
  }

private:
  std::size_t x_read = 0;
};

enum class Where { kServer, kNobody, kFull };

struct Fault {
  const char* name;
  Where where = Where::kServer;
  std::function<void(TcpPeer& server)> serve = {};
  const char* outcome;
  const char* reason;
  const char* flag;
};

// For faults that weir finds out by the time alone, and for those that it must not take for such
// where this test's servers are late.
constexpr const char* kImpatient = "{idleTimeout: 3s, connectTimeout: 1s}";
constexpr const char* kPatient = "{}";

// Until weir has given up: what it would not be told it has to find out by the time.
void hang(TcpPeer& peer) {
  while (peer.ending() == "bytes") {
  }
}

// curl's: "STATUS", or "cut" when the answer has no proper end. `status` of what is cut is weir's
// business no more: it was the server's.
std::string ask(std::uint16_t port, bool http2) {
  const Outcome outcome =
      run({.argv = {"curl", "-s", "--max-time", "20",
                    http2 ? "--http2-prior-knowledge" : "--http1.1", "-o", "/dev/null", "-w",
                    "%{http_code}", "http://127.0.0.1:" + std::to_string(port) + "/path"}});
  UNSCOPED_INFO("curl ended with " << outcome.exit_code << ", status " << outcome.out);
  return outcome.exit_code == 0 ? outcome.out : "cut";
}

void play(const std::vector<Fault>& faults, bool http2, const char* options) {
  for (const char* format : {"json", "envoy"}) {
    Weir weir(format, options);
    for (const Fault& fault : faults) {
      INFO(fault.name << ", log as " << format);
      std::jthread serving;
      if (fault.serve) {
        serving = std::jthread([&] {
          TcpPeer server = weir.server.accept();
          fault.serve(server);
        });
      }
      const std::uint16_t port = fault.where == Where::kServer   ? weir.to_server
                                 : fault.where == Where::kNobody ? weir.to_nobody
                                                                 : weir.to_full;
      CHECK(ask(port, http2) == fault.outcome);
      const std::string line = weir.line();
      INFO(line);
      if (format == "json"s) {
        const boost::json::object record = boost::json::parse(line).as_object();
        CHECK(boost::json::value_to<std::string>(record.at("verdict")) == "ERROR");
        CHECK(boost::json::value_to<std::string>(record.at("reason")) == fault.reason);
        if (fault.outcome != "cut"s) {
          CHECK(std::to_string(boost::json::value_to<int>(record.at("status"))) == fault.outcome);
        }
      } else {
        const std::size_t status = line.find("HTTP/1.1\" ") + 10;
        const std::size_t flag = line.find(' ', status) + 1;
        CHECK(line.substr(flag, line.find(' ', flag) - flag) == fault.flag);
      }
    }
  }
}

} // namespace

TEST_CASE("HTTP/1.1: each fault of a server has its status, reason and flag") {
  // Reads the request, says this, and goes.
  const auto says = [](std::string bytes, bool rudely = false) {
    return [bytes = std::move(bytes), rudely](TcpPeer& server) {
      server.read_until("\r\n\r\n");
      server.send(bytes);
      rudely ? server.reset() : server.close();
    };
  };
  const auto says_and_hangs = [](std::string bytes) {
    return [bytes = std::move(bytes)](TcpPeer& server) {
      server.read_until("\r\n\r\n");
      server.send(bytes);
      hang(server);
    };
  };
  const std::string ok = "HTTP/1.1 200 OK\r\n", chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  play(
      {
          {"refused", Where::kNobody, {}, "503", "upstream-refused", "UF"},
          {"reset before the request is read", Where::kServer, &TcpPeer::reset, "502",
           "upstream-closed", "UC"},
          {"ends without a word", Where::kServer, says(""), "502", "upstream-closed", "UC"},
          {"reset without a word", Where::kServer, says("", true), "502", "upstream-closed", "UC"},
          {"half a head", Where::kServer, says("HTTP/1.1 200 OK\r\nContent-Le"), "502",
           "upstream-closed", "UC"},
          {"garbage", Where::kServer, says("\x15\x03\x01\x00\x02\x02\x28 what?\r\n\r\n"s), "502",
           "malformed-version", "UPE"},
          {"two lengths", Where::kServer,
           says(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "502",
           "malformed-content-length", "UPE"},
          {"a switch that nobody asked for", Where::kServer,
           says("HTTP/1.1 101 Hm\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "502",
           "upgrade-not-asked-for", "UPE"},
          {"chunks that are none", Where::kServer, says(chunked + "zz\r\n"), "502",
           "malformed-body", "UPE"},
          {"half a body", Where::kServer, says(ok + "Content-Length: 10\r\n\r\nabc"), "cut",
           "upstream-closed", "UC"},
          {"half a body, reset", Where::kServer, says(ok + "Content-Length: 10\r\n\r\nabc", true),
           "cut", "upstream-closed", "UC"},
          {"half of the chunks", Where::kServer, says(chunked + "3\r\nabc\r\n"), "cut",
           "upstream-closed", "UC"},
          {"a body of unknown length, reset", Where::kServer,
           [](TcpPeer& server) {
             server.read_until("\r\n\r\n");
             server.send("HTTP/1.1 200 OK\r\n\r\nabc");
             const int on = 1; // sent before the reset, which would overtake it
             ::setsockopt(server.fd(), IPPROTO_TCP, 1, &on, sizeof on);
             server.reset();
           },
           "cut", "upstream-closed", "UC"},
      },
      false, kPatient);
  play(
      {
          {"no connection in time", Where::kFull, {}, "504", "upstream-connect-timeout", "UF"},
          {"never answers", Where::kServer, says_and_hangs(""), "504", "upstream-timeout", "UT"},
          {"half a head, then nothing", Where::kServer, says_and_hangs("HTTP/1.1 2"), "504",
           "upstream-timeout", "UT"},
          {"half a body, then nothing", Where::kServer,
           says_and_hangs(ok + "Content-Length: 10\r\n\r\nabc"), "cut", "timeout", "SI"},
      },
      false, kImpatient);
}

namespace {

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint8_t stream,
                  const std::string& payload) {
  const auto size = static_cast<std::uint32_t>(payload.size());
  const char head[] = {static_cast<char>(size >> 16),
                       static_cast<char>(size >> 8),
                       static_cast<char>(size),
                       static_cast<char>(type),
                       static_cast<char>(flags),
                       0,
                       0,
                       0,
                       static_cast<char>(stream)};
  return std::string(head, sizeof head) + payload;
}

const std::string kSettings = frame(4, 0, 0, "");
const std::string kHead = frame(1, 4, 1, "\x88"); // :status 200
const std::string kData = frame(0, 0, 1, "abc");
const std::string kReset = frame(3, 0, 1, "\0\0\0\2"s); // INTERNAL_ERROR

// Until the request's HEADERS frame is there.
void read_request(TcpPeer& server) {
  server.read_until("SM\r\n\r\n");
  for (std::uint8_t type = 0; type != 1;) {
    const std::string head = server.read(9);
    must(head.size() == 9, "the head of a frame");
    type = static_cast<std::uint8_t>(head[3]);
    server.read(static_cast<std::uint8_t>(head[1]) * 256u + static_cast<std::uint8_t>(head[2]));
  }
}

} // namespace

TEST_CASE("HTTP/2: each fault of a server has its status, reason and flag") {
  // Says hello, reads the request, says this, and goes or does not.
  const auto says = [](std::string bytes, std::function<void(TcpPeer&)> then) {
    return [bytes = std::move(bytes), then = std::move(then)](TcpPeer& server) {
      server.send(kSettings);
      read_request(server);
      server.send(bytes);
      then(server);
    };
  };
  const auto end = [](TcpPeer& server) { server.close(); };
  play(
      {
          {"refused", Where::kNobody, {}, "503", "upstream-refused", "UF"},
          {"reset before anything is read", Where::kServer, &TcpPeer::reset, "502",
           "upstream-closed", "UC"},
          {"ends without a word", Where::kServer,
           [](TcpPeer& server) {
             server.read_until("SM\r\n\r\n");
             server.close();
           },
           "502", "upstream-closed", "UC"},
          {"speaks HTTP/1.1", Where::kServer,
           [](TcpPeer& server) {
             server.read_until("SM\r\n\r\n");
             server.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
             hang(server);
           },
           "502", "upstream-not-http2", "UPE"},
          {"ends in the middle of a request", Where::kServer, says("", end), "502",
           "upstream-closed", "UC"},
          {"garbage", Where::kServer, says(frame(0, 0, 0, "abc"), hang), "502",
           "upstream-protocol-error", "UPE"},
          {"a head without a status", Where::kServer, says(frame(1, 5, 1, ""), hang), "502",
           "upstream-protocol-error", "UPE"},
          {"resets the stream", Where::kServer, says(kReset, hang), "cut", "upstream-reset", "UR"},
          {"half a body", Where::kServer, says(kHead + kData, end), "cut", "upstream-closed", "UC"},
          {"half a body, reset", Where::kServer, says(kHead + kData, &TcpPeer::reset), "cut",
           "upstream-closed", "UC"},
          {"half a body, stream reset", Where::kServer, says(kHead + kData + kReset, hang), "cut",
           "upstream-reset", "UR"},
          {"less than was promised", Where::kServer,
           says(frame(1, 4, 1,
                      "\x88\x5c\x02"
                      "10") +
                    frame(0, 1, 1, "abc"),
                hang),
           "cut", "upstream-reset", "UR"},
      },
      true, kPatient);
  play(
      {
          {"no connection in time", Where::kFull, {}, "504", "upstream-connect-timeout", "UF"},
          {"says nothing", Where::kServer, hang, "502", "upstream-not-http2", "UPE"},
          {"never answers", Where::kServer, says("", hang), "504", "upstream-timeout", "UT"},
      },
      true, kImpatient);
}

} // namespace weir::test
