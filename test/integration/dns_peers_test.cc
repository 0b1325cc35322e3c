// The DNS servers and resolvers that people run, with weir between them: a pod gets the same
// answers with weir as without, and what it resolved it can connect to at once.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <regex>
#include <sstream>
#include <string_view>

namespace weir::test {
namespace {

constexpr const char* kServerV4 = "10.0.2.54"; // beside the lab's own, in the same network
constexpr const char* kServerV6 = "fd00:10:2::54";

// www is an alias of an alias; big does not fit into 512 bytes, huge not into 4096; many has
// addresses for more than one datagram without EDNS.
std::string zone() {
  std::string text = R"($ORIGIN example.test.
$TTL 60
@ IN SOA ns.example.test. admin.example.test. 1 3600 600 86400 60
@ IN NS ns.example.test.
@ IN MX 10 mail.example.test.
ns IN A 10.0.2.54
mail IN A 203.0.113.30
api IN A 203.0.113.10
api IN AAAA 2001:db8:203::10
other IN A 203.0.113.20
other IN AAAA 2001:db8:203::20
www IN CNAME alias
alias IN CNAME api
*.wild IN CNAME api
_http._tcp IN SRV 0 5 80 api
under_score IN A 203.0.113.31
)";
  const auto strings = [](int count) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      out += " \"" + std::string(200, static_cast<char>('a' + i % 26)) + "\"";
    }
    return out;
  };
  text += "big IN TXT" + strings(8) + "\nhuge IN TXT" + strings(60) + "\n";
  for (int i = 1; i <= 40; ++i) {
    text += "many IN A 203.0.113." + std::to_string(100 + i) + "\n";
  }
  return text;
}

// An authoritative server for the zone, or one that answers from it as a resolver does.
class Server {
public:
  Server(Lab& lab, const std::string& kind) : x_folder(lab.folder() / kind) {
    std::filesystem::create_directories(x_folder);
    write_file(x_folder / "zone", zone());
    x_process = Process::start(
        {.argv = command(kind), .net_namespace = lab.world().fd(), .output = x_folder / "log"});
    const bool up = eventually([&] {
      return lab.world()
                 .run({"dig", std::string("@") + kServerV4, "+short", "+time=1", "+tries=1",
                       "api.example.test"})
                 .out == std::string(kAllowedV4) + "\n";
    });
    INFO(read_file(x_folder / "log"));
    REQUIRE(up);
  }

private:
  std::vector<std::string> command(const std::string& kind) {
    const std::string folder = x_folder.string(), zone = folder + "/zone";
    const std::filesystem::path config = x_folder / "config";
    const std::string v4 = kServerV4, v6 = kServerV6;
    if (kind == "bind9") {
      write_file(config, "options { directory \"" + folder + "\"; pid-file \"" + folder +
                             "/pid\"; session-keyfile \"" + folder + "/key\"; listen-on { " + v4 +
                             "; }; listen-on-v6 { " + v6 +
                             "; }; recursion no; dnssec-validation no; "
                             "rrset-order { order none; }; };\ncontrols { };\n"
                             "zone \"example.test\" { type primary; file \"" +
                             zone + "\"; check-names ignore; };\n");
      return {"named", "-g", "-c", config};
    }
    if (kind == "knot") {
      write_file(config, "server:\n  rundir: " + folder + "\n  listen: [" + v4 + "@53, " + v6 +
                             "@53]\ndatabase:\n  storage: " + folder +
                             "\nzone:\n  - domain: example.test\n    file: " + zone + "\n");
      return {"knotd", "-c", config};
    }
    write_file(config, "server:\n  interface: " + v4 + "\n  interface: " + v6 +
                           "\n  access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n"
                           "  username: \"\"\n  chroot: \"\"\n  directory: \"" +
                           folder + "\"\n  pidfile: \"" + folder +
                           "/pid\"\n  use-syslog: no\n  do-daemonize: no\n"
                           "  module-config: \"iterator\"\n  local-zone: \"test.\" nodefault\n"
                           "auth-zone:\n  name: \"example.test\"\n  zonefile: \"" +
                           zone + "\"\n  for-upstream: yes\n  for-downstream: yes\n");
    return {"unbound", "-d", "-c", config};
  }

  std::filesystem::path x_folder;
  std::optional<Process> x_process;
};

struct Peers {
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& free = lab.add_pod({"shop", "free", {{"app", "free"}}}); // no policy is about it

  Peers() {
    lab.world().ip({std::string("addr add ") + kServerV4 + "/32 dev lo",
                    std::string("addr add ") + kServerV6 + "/128 dev lo nodad"});
    std::string policy = kFqdnEgress;
    policy.replace(policy.find("    - toFQDNs:"), 0,
                   std::string("    - toCIDR: [") + kServerV4 + "/32, \"" + kServerV6 +
                       "/128\"]\n      toPorts:\n        - ports:\n            - port: \"53\"\n"
                       "              protocol: ANY\n          rules:\n            dns:\n"
                       "              - matchPattern: \"**.example.test\"\n"
                       "              - matchName: example.test\n");
    lab.policies().publish({{"egress.yaml", policy}});
    lab.set_dns(std::string("{resolvers: [") + kServerV4 + "/32, \"" + kServerV6 + "/128\"]}");
    lab.start_weir();
  }
};

// All that a client gets in the end: not whether it had to ask again over TCP, nor in which order
// a set comes.
std::string comparable(const Outcome& outcome) {
  const std::string text =
      std::regex_replace(outcome.out, std::regex(";; Truncated, retrying in TCP mode.\n"), "");
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  std::string out = "exit code " + std::to_string(outcome.exit_code);
  for (const std::string& line : lines) {
    out += "\n" + line;
  }
  return out;
}

TEST_CASE("BIND, Knot and unbound answer a pod through weir as they do without") {
  require_root();
  Peers peers;
  const std::vector<std::vector<std::string>> questions = {
      {"api.example.test", "A"},
      {"api.example.test", "AAAA"},
      {"aPi.ExAmPlE.tEsT", "A"},
      {"www.example.test", "A"},
      {"a.b.wild.example.test", "AAAA"},
      {"many.example.test", "A"},
      {"big.example.test", "TXT"},
      {"huge.example.test", "TXT"},
      {"example.test", "MX"},
      {"example.test", "SOA"},
      {"_http._tcp.example.test", "SRV"},
      {"under_score.example.test", "A"},
      {"none.example.test", "A"},
      {"mail.example.test", "AAAA"},
      {"api.example.test", "TYPE65"},
  };
  const std::vector<std::vector<std::string>> ways = {
      {"+notcp"},
      {"+notcp", "+noedns"},
      {"+notcp", "+noedns", "+ignore"}, // truncated answers as they are
      {"+notcp", "+bufsize=512", "+ignore"},
      {"+notcp", "+bufsize=4096"},
      {"+notcp", "+dnssec", "+nsid"},
      {"+notcp", "+norecurse", "+cdflag"},
      {"+notcp", "+subnet=192.0.2.0/24"},
      {"+tcp"},
      {"+tcp", "+dnssec"},
  };
  for (const std::string kind : {"bind9", "knot", "unbound"}) {
    Server server(peers.lab, kind);
    for (const char* address : {kServerV4, kServerV6}) {
      for (const auto& way : ways) {
        if (std::string_view(address) == kServerV6 && way.size() > 1) {
          continue; // no more of it depends on the family
        }
        std::vector<std::string> arguments = {std::string("@") + address,
                                              "+qid=4242",
                                              "+nocookie",
                                              "+nocmd",
                                              "+nostats",
                                              "+time=3",
                                              "+tries=1",
                                              "+nottlid"};
        arguments.insert(arguments.end(), way.begin(), way.end());
        for (const auto& question : questions) {
          arguments.insert(arguments.end(), question.begin(), question.end());
        }
        const Outcome with = peers.client.dig(arguments), without = peers.free.dig(arguments);
        INFO(kind << " " << address << " " << way.back());
        REQUIRE(without.exit_code == 0);
        REQUIRE(without.out.find("many.example.test.") != std::string::npos);
        REQUIRE(comparable(with) == comparable(without));
      }
    }
    // Knot's client, with what only it can ask for: many questions on one connection.
    const std::vector<std::string> several = {
        "kdig",   std::string("@") + kServerV4, "+tcp", "+keepopen",
        "+short", "api.example.test",           "A",    "www.example.test",
        "A",      "other.example.test",         "A"};
    const Outcome with = peers.client.netns().run(several),
                  without = peers.free.netns().run(several);
    INFO(with.text());
    CHECK(with.exit_code == 0);
    CHECK(with.out == without.out);
    CHECK(with.out.find(kAllowedV4) != std::string::npos);
  }
}

TEST_CASE("D17: glibc, musl, c-ares, Python and curl connect to what they have just resolved, the "
          "first time, "
          "with ndots:5 too") {
  require_root();
  Lab lab;
  // What a search list makes of the name is weir's to answer.
  std::string policy = kFqdnEgress;
  policy.replace(policy.find("matchPattern: \"*\""), 17, "matchPattern: \"*.example.test\"");
  lab.policies().publish({{"egress.yaml", policy}});
  const std::vector<std::pair<std::string, std::vector<std::string>>> programs = {
      {"musl", {WEIR_RESOLVE_CONNECT_MUSL, kAllowedName, "80"}},
      {"glibc", {WEIR_RESOLVE_CONNECT_GLIBC, kAllowedName, "80"}},
      {"c-ares", {WEIR_RESOLVE_CONNECT_CARES, kAllowedName, "80"}},
      {"Python",
       {"/usr/bin/python3", "-c",
        "import socket; socket.create_connection(('api.example.test', 80), 3)"}},
      {"curl over IPv4", {"curl", "-sSf4", "--max-time", "5", "http://api.example.test/"}},
      {"curl over IPv6", {"curl", "-sSf6", "--max-time", "5", "http://api.example.test/"}},
  };
  const std::vector<std::string> searches = {
      "", "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"};
  // A pod for each: what another one has learned opens nothing for it.
  struct Try {
    Pod& pod;
    std::string name, search;
    std::vector<std::string> argv;
  };
  std::vector<Try> tries;
  for (const std::string& search : searches) {
    for (const auto& [name, argv] : programs) {
      Pod& pod = lab.add_pod({"shop", "pod" + std::to_string(tries.size()), {{"app", "client"}}});
      tries.push_back({pod, name, search, argv});
    }
  }
  lab.start_weir();
  for (const Try& one : tries) {
    INFO(one.name << " with resolv.conf: " << one.search);
    write_file(lab.folder() / "resolv.conf",
               std::string("nameserver ") + kDnsV4 + "\nnameserver " + kDnsV6 + "\n" + one.search);
    const Outcome outcome = run({.argv = one.argv,
                                 .net_namespace = one.pod.netns().fd(),
                                 .resolv_conf = lab.folder() / "resolv.conf"});
    INFO(outcome.text());
    CHECK(outcome.exit_code == 0);
  }
}

} // namespace
} // namespace weir::test
