// Names that a pod may reach: learned from its own DNS answers, for itself alone.
#include "test/integration/policies.h"
#include "test/support/lab.h"
#include "test/support/lab_tls.h"

#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

namespace weir::test {
namespace {

struct Egress {
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& twin = lab.add_pod({"shop", "twin", {{"app", "client"}}}); // same policy, other pod

  Egress() {
    lab.policies().publish({{"egress.yaml", kFqdnEgress}});
    lab.start_weir();
  }
};

std::string curl_version(Family family) { return family == Family::kV4 ? "-4" : "-6"; }
std::string record_type(Family family) { return family == Family::kV4 ? "A" : "AAAA"; }

TEST_CASE("the allowed name answers, another name resolves and then hangs") {
  require_root();
  Egress egress;
  for (const Family resolver : {Family::kV4, Family::kV6}) {
    egress.client.use_resolver(resolver);
    for (const Family family : {Family::kV4, Family::kV6}) {
      INFO("DNS over " << to_string(resolver) << ", HTTP over " << to_string(family));
      const CurlResult allowed = egress.client.curl(
          {"--max-time", "5", curl_version(family), std::string("http://") + kAllowedName + "/"});
      INFO(allowed.text);
      CHECK(allowed.status == 200);
      CHECK(allowed.body == "world\n");
      const Outcome resolved = egress.client.netns().run(
          {"getent", family == Family::kV4 ? "ahostsv4" : "ahostsv6", kOtherName});
      INFO(resolved.text());
      CHECK(resolved.out.starts_with(other_address(family) + " "));
      const CurlResult other =
          egress.client.curl({"--max-time", "1", curl_version(family),
                              std::string("http://") + kOtherName + "/forbidden"});
      INFO(other.text);
      CHECK(other.exit_code == kCurlTimeout);
    }
  }
  CHECK(egress.lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  for (const std::string& line : egress.lab.world_http().requests_before("/end")) {
    CHECK(line.find("/forbidden") == std::string::npos);
  }
}

TEST_CASE("dig gets both names' addresses over UDP and TCP, A and AAAA, IPv4 and IPv6") {
  require_root();
  Egress egress;
  for (const Family resolver : {Family::kV4, Family::kV6}) {
    for (const char* transport : {"+notcp", "+tcp"}) {
      for (const Family family : {Family::kV4, Family::kV6}) {
        INFO("server over " << to_string(resolver) << " " << transport);
        const std::string server = "@" + dns_address(resolver);
        const Outcome allowed =
            egress.client.dig({server, transport, "+short", kAllowedName, record_type(family)});
        INFO(allowed.text());
        CHECK(allowed.out == allowed_address(family) + "\n");
        const Outcome other =
            egress.client.dig({server, transport, "+short", kOtherName, record_type(family)});
        INFO(other.text());
        CHECK(other.out == other_address(family) + "\n");
      }
    }
  }
}

TEST_CASE("an address is open only after the pod itself has looked it up, and for no other pod") {
  require_root();
  Egress egress;
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const std::string url = "http://" + url_host(allowed_address(family)) + "/";
    CHECK(egress.client.curl({"--max-time", "1", url}).exit_code == kCurlTimeout);
    CHECK(
        egress.client.dig({"@" + dns_address(family), "+short", kAllowedName, record_type(family)})
            .out == allowed_address(family) + "\n");
    CHECK(egress.client.curl({"--max-time", "5", url}).status == 200);
    CHECK(egress.twin.curl({"--max-time", "1", url}).exit_code == kCurlTimeout);
  }
}

TEST_CASE("a name learned over TCP opens its address as one learned over UDP does") {
  require_root();
  Egress egress;
  CHECK(egress.client.dig({std::string("@") + kDnsV4, "+tcp", "+short", kAllowedName}).out ==
        std::string(kAllowedV4) + "\n");
  CHECK(egress.client.curl({"--max-time", "5", std::string("http://") + kAllowedV4 + "/"}).status ==
        200);
}

TEST_CASE("the answer of a name outside every pattern is REFUSED and never asked upstream") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  std::string policy = kFqdnEgress;
  policy.replace(policy.find("matchPattern: \"*\""), 17, "matchName: api.example.test");
  lab.policies().publish({{"egress.yaml", policy}});
  lab.start_weir();
  for (const char* transport : {"+notcp", "+tcp"}) {
    INFO(transport);
    const Outcome other = client.dig({std::string("@") + kDnsV4, transport, kOtherName});
    INFO(other.text());
    CHECK(other.out.find("status: REFUSED") != std::string::npos);
    CHECK(client.dig({std::string("@") + kDnsV4, transport, "+short", kAllowedName}).out ==
          std::string(kAllowedV4) + "\n");
  }
  for (const std::string& name : lab.dns().queries()) {
    CHECK(name == kAllowedName);
  }
}

TEST_CASE("the FQDN cache shows what was learned, by pod") {
  require_root();
  Egress egress;
  CHECK(egress.client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).exit_code == 0);
  CHECK(egress.client.dig({std::string("@") + kDnsV4, "+short", kOtherName}).exit_code == 0);
  const auto rows = egress.lab.admin_json("/fqdn/cache").as_array();
  REQUIRE(rows.size() == 1); // no policy wants the other name
  CHECK(boost::json::value_to<std::string>(rows[0].at("pod")) == "shop/client");
  CHECK(boost::json::value_to<std::string>(rows[0].at("name")) == kAllowedName);
  CHECK(boost::json::value_to<std::string>(rows[0].at("address")) == kAllowedV4);
  CHECK(rows[0].as_object().contains("ttl"));
  CHECK(rows[0].as_object().contains("expires_at"));
  const Outcome table = egress.lab.weirctl({"fqdn"});
  INFO(table.text());
  CHECK(table.exit_code == 0);
  CHECK(table.out.find(kAllowedV4) != std::string::npos);
  const Outcome shown = egress.lab.weirctl({"fqdn", "show", "API.example.test."});
  INFO(shown.text());
  CHECK(shown.exit_code == 0);
  CHECK(shown.out.find(kAllowedV4) != std::string::npos);
  const Outcome why = egress.lab.weirctl({"fqdn", "why", kAllowedV4, "--pod", "shop/client"});
  INFO(why.text());
  CHECK(why.exit_code == 0);
  CHECK(why.out.find(kAllowedName) != std::string::npos);
  const Outcome twin = egress.lab.weirctl({"fqdn", "why", kAllowedV4, "--pod", "shop/twin"});
  CHECK(twin.exit_code == 1);
  CHECK(twin.out.find("has not learned it") != std::string::npos);
}

TEST_CASE("policy trace goes by an address that was learned as long as the kernel does") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  lab.policies().publish({{"egress.yaml", kFqdnEgress}});
  lab.set_dns("{minTtl: 1s, grace: 1s}");
  lab.start_weir();
  const auto trace = [&] {
    return lab.weirctl(
        {"policy", "trace", "--from", "shop/client", "--to", kAllowedV4, "--port", "80/TCP"});
  };
  CHECK(trace().exit_code == 1);
  CHECK(client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).exit_code == 0);
  const Outcome open = trace();
  INFO(open.text());
  CHECK(open.exit_code == 0);
  REQUIRE(eventually([&] { return !lab.admin_json("/fqdn/expired").as_array().empty(); },
                     std::chrono::seconds(30)));
  const Outcome over = trace();
  INFO(over.text());
  CHECK(over.exit_code == 1);
}

TEST_CASE("egressDeny.toFQDNs closes a name's addresses that another rule opens") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  std::string policy = kFqdnEgress;
  policy.replace(policy.find("    - toFQDNs:"), std::string::npos,
                 "    - toEntities: [world]\n  egressDeny:\n    - toFQDNs:\n"
                 "        - matchName: " +
                     std::string(kOtherName) + "\n");
  lab.policies().publish({{"egress.yaml", policy}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    CHECK(client
              .curl({"--max-time", "5", curl_version(family),
                     std::string("http://") + kAllowedName + "/"})
              .status == 200);
    CHECK(client
              .curl({"--max-time", "1", curl_version(family),
                     std::string("http://") + kOtherName + "/"})
              .exit_code == kCurlTimeout);
  }
}

TEST_CASE("toFQDNs learns from questions that a plain rule allows, over UDP and TCP") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  std::string policy = kFqdnEgress;
  const std::size_t rules = policy.find("          rules:");
  policy.erase(rules, policy.find("    - toFQDNs:") - rules);
  lab.policies().publish({{"egress.yaml", policy}});
  lab.start_weir();
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const char* transport : {"+notcp", "+tcp"}) {
      INFO(to_string(family) << " " << transport);
      const std::string server = "@" + dns_address(family);
      CHECK(client.dig({server, transport, "+short", kOtherName, record_type(family)}).out ==
            other_address(family) + "\n");
      CHECK(client.dig({server, transport, "+short", kAllowedName, record_type(family)}).out ==
            allowed_address(family) + "\n");
    }
    CHECK(client
              .curl({"--max-time", "5", curl_version(family),
                     "http://" + url_host(allowed_address(family)) + "/"})
              .status == 200);
    CHECK(client
              .curl({"--max-time", "1", curl_version(family),
                     "http://" + url_host(other_address(family)) + "/"})
              .exit_code == kCurlTimeout);
  }
}

TEST_CASE("DNS rules hold, and names are learned, from a cache at an address of the node itself") {
  require_root();
  constexpr const char* kCache = "169.254.20.10"; // where NodeLocal DNSCache listens
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  lab.node().ip({"link add nodelocaldns type bridge",
                 std::string("addr add ") + kCache + "/32 dev nodelocaldns",
                 "link set nodelocaldns up"});
  const DnsServer cache(&lab.node(), {kCache}, lab.folder() / "cache", 53);
  lab.set_dns(std::string("{resolvers: [") + kCache + "/32]}");
  lab.policies().publish({{"egress.yaml", R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: client-egress, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
    - toEntities: [host]
      toPorts:
        - ports: [{port: "53", protocol: ANY}]
          rules:
            dns: [{matchName: api.example.test}]
    - toFQDNs: [{matchName: api.example.test}]
)"}});
  lab.start_weir();
  const std::string server = std::string("@") + kCache;
  for (const char* transport : {"+notcp", "+tcp"}) {
    INFO(transport);
    CHECK(client.dig({server, transport, "+short", kAllowedName}).out ==
          std::string(kAllowedV4) + "\n");
    CHECK(client.dig({server, transport, kOtherName}).out.find("REFUSED") != std::string::npos);
  }
  CHECK(cache.queries() == std::vector<std::string>(2, kAllowedName));
  CHECK(client.curl({"--max-time", "5", std::string("http://") + kAllowedV4 + "/"}).status == 200);
}

// kAllowedName and kAliasName share an address, as customers of one delivery network do.
TEST_CASE("weir.io/bind-fqdn: an address is good for the name that opened it and for no other") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  std::string policy = kFqdnEgress;
  policy.replace(policy.find("  name:"), 2, "  annotations: {weir.io/bind-fqdn: \"true\"}\n  ");
  policy += "      toPorts:\n        - ports:\n            - {port: \"80\", protocol: TCP}\n"
            "            - {port: \"443\", protocol: TCP}\n";
  lab.policies().publish({{"egress.yaml", policy}});
  Authority authority(lab.folder() / "authority");
  authority.issue("server", std::string("DNS:") + kAllowedName + ",DNS:" + kAliasName);
  const TlsServer tls(&lab.world(), lab.folder() / "tls", authority.path("server"), 443, true);
  lab.start_weir();
  constexpr int kTlsAlert = 35;
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const std::string address = url_host(allowed_address(family));
    const auto curl = [&](const std::string& url, std::vector<std::string> more = {}) {
      more.insert(more.end(), {"--max-time", "5", "--cacert", authority.path("ca.crt"), url});
      return client.curl(std::move(more));
    };
    const auto resolved = [&](const std::string& name, const std::string& port) {
      return std::vector<std::string>{"--resolve", name + ":" + port + ":" + address};
    };
    for (const char* name : {kAllowedName, kAliasName}) {
      CHECK(client.dig({"@" + dns_address(family), "+short", name, record_type(family)})
                .out.find(allowed_address(family)) != std::string::npos);
    }
    const std::string allowed = kAllowedName;
    const std::string alias = kAliasName;
    CHECK(curl("http://" + allowed + "/", resolved(allowed, "80")).status == 200);
    CHECK(curl("https://" + allowed + "/", resolved(allowed, "443")).status == 200);
    CHECK(curl("http://" + address + "/", {"-H", "Host: " + allowed}).status == 200);
    CHECK(curl("http://" + allowed + "/",
               {"--http2-prior-knowledge", "--resolve", allowed + ":80:" + address})
              .status != 403); // a server without HTTP/2 may refuse it

    for (const CurlResult& refused :
         {curl("http://" + alias + "/forbidden", resolved(alias, "80")),
          curl("http://" + address + "/forbidden", {"-H", "Host: " + alias}),
          curl("http://" + address + "/forbidden"),
          curl("http://" + alias + "/forbidden",
               {"--http2-prior-knowledge", "--resolve", alias + ":80:" + address}),
          curl("http://" + alias + "/forbidden", {"--proxy", "http://" + address + ":80"})}) {
      INFO(refused.text);
      CHECK(refused.status == 403);
    }
    CHECK(curl("https://" + alias + "/forbidden", resolved(alias, "443")).exit_code == kTlsAlert);
    CHECK(curl("https://" + address + "/forbidden").exit_code == kTlsAlert); // names no server
    // Not even plain text on the port of TLS, or TLS on that of HTTP.
    CHECK(curl("http://" + allowed + ":443/forbidden", resolved(allowed, "443")).status == 0);
    CHECK(curl("https://" + allowed + ":80/forbidden", resolved(allowed, "80")).status == 0);
  }
  CHECK(tls.log().find("/forbidden") == std::string::npos);
  CHECK(lab.world().run({"curl", "-sS", "http://127.0.0.1/end"}).exit_code == 0);
  for (const std::string& line : lab.world_http().requests_before("/end")) {
    CHECK(line.find("/forbidden") == std::string::npos);
  }

  const auto denied = [&](const char* protocol) {
    for (const auto& line : lab.access_log()) {
      if (line.at("protocol") == protocol && line.at("verdict") == "DENIED" &&
          line.at("reason") == "fqdn-binding") {
        return boost::json::value_to<std::string>(line.at("denied_by"));
      }
    }
    return std::string();
  };
  CHECK(eventually([&] { return denied("tls") == "shop/client-egress"; }));
  CHECK(eventually([&] { return denied("http") == "shop/client-egress"; }));
  const auto stats = lab.admin("/stats/prometheus");
  REQUIRE(stats);
  CHECK(stats->body.find("weir_fqdn_binding_refused_total 0") == std::string::npos);
  CHECK(stats->body.find("weir_fqdn_binding_refused_total ") != std::string::npos);
  const auto trace = [&](const std::string& to, const std::string& name) {
    return lab.weirctl({"policy", "trace", "--from", "shop/client", "--to", to, "--port", "443/TCP",
                        "--sni", name});
  };
  CHECK(trace(kAllowedV4, kAllowedName).exit_code == 0);
  const Outcome told = trace(kAllowedV4, kAliasName);
  INFO(told.text());
  CHECK(told.exit_code == 1);
  CHECK(told.out.find("none of the names") != std::string::npos);
  CHECK(trace(kAllowedName, kAliasName).exit_code == 1);
}

TEST_CASE("S4: what is learned while the disk is full is on disk when there is room again") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  lab.policies().publish({{"egress.yaml", kFqdnEgress}});
  const std::filesystem::path state = lab.folder() / "state/fqdn.json";
  std::filesystem::create_symlink("/dev/full", state.string() + ".tmp"); // gone with the first try
  lab.start_weir();
  CHECK(client.dig({std::string("@") + kDnsV4, "+short", kAllowedName}).exit_code == 0);
  CHECK(client.curl({"--max-time", "5", std::string("http://") + kAllowedV4 + "/"}).status == 200);
  CHECK(eventually(
      [&] { return lab.weir_log().find("No space left on device") != std::string::npos; }));
  CHECK(eventually([&] { return read_file(state).find(kAllowedName) != std::string::npos; }));
}

TEST_CASE("D17: with ndots:5 a resolver's search list does not end at a name that is refused") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  std::string policy = kFqdnEgress;
  policy.replace(policy.find("matchPattern: \"*\""), 17, "matchName: api.example.test");
  lab.policies().publish({{"egress.yaml", policy}});
  lab.start_weir();
  write_file(lab.folder() / "search.conf",
             std::string("nameserver ") + kDnsV4 +
                 "\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\n"
                 "options ndots:5 timeout:5 attempts:1\n");
  const auto getent = [&](const std::string& name) {
    return run({.argv = {"getent", "ahostsv4", name},
                .net_namespace = client.netns().fd(),
                .resolv_conf = lab.folder() / "search.conf"});
  };
  const Outcome allowed = getent(kAllowedName);
  INFO(allowed.text());
  CHECK(allowed.exit_code == 0);
  CHECK(allowed.out.find(kAllowedV4) != std::string::npos);
  CHECK(getent(kOtherName).exit_code != 0);
  for (const std::string& name : lab.dns().queries()) {
    CHECK(name == kAllowedName);
  }
}

} // namespace
} // namespace weir::test
