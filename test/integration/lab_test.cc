// The lab itself, without weir: what other tests find blocked or changed works here.
#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>

namespace weir::test {
namespace {

TEST_CASE("pods of a lab reach each other and the world by address over both families") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);

  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const CurlResult pod =
        client.curl({"--max-time", "5", "http://" + url_host(web.address(family)) + "/pod"});
    INFO(pod.text);
    CHECK(pod.status == 200);
    CHECK(pod.body == "shop/web\n");
    const CurlResult world =
        client.curl({"--max-time", "5", "http://" + url_host(allowed_address(family)) + "/world"});
    INFO(world.text);
    CHECK(world.status == 200);
    CHECK(world.body == "world\n");
  }
  CHECK(client.curl({"--max-time", "5", "http://" + web.address(Family::kV4) + "/marker"}).status ==
        200);
  const std::vector<std::string> expected = {client.address(Family::kV4) + " GET /pod 200",
                                             client.address(Family::kV6) + " GET /pod 200"};
  CHECK(server.requests_before("/marker") == expected);
}

TEST_CASE("pods of a lab resolve names over UDP and TCP, A and AAAA, from either server address") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {}});

  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const char* transport : {"+notcp", "+tcp"}) {
      INFO(to_string(family) << " " << transport);
      const std::string server = "@" + dns_address(family);
      CHECK(client.dig({server, transport, "+short", kAllowedName, "A"}).out ==
            std::string(kAllowedV4) + "\n");
      CHECK(client.dig({server, transport, "+short", kOtherName, "AAAA"}).out ==
            std::string(kOtherV6) + "\n");
      CHECK(client.dig({server, transport, "+short", kAliasName, "A"}).out ==
            std::string(kAllowedName) + ".\n" + kAllowedV4 + "\n");
      CHECK(client.dig({server, transport, "missing.example.test"}).out.find("NXDOMAIN") !=
            std::string::npos);
    }
    client.use_resolver(family);
    for (const char* version : {"-4", "-6"}) {
      const CurlResult curl = client.curl(
          {"--max-time", "5", version, std::string("http://") + kOtherName + "/" + version});
      INFO(curl.text);
      CHECK(curl.status == 200);
    }
  }
  CHECK(lab.dns().queries().size() >= 20);
}

TEST_CASE("a lab leads nowhere out of the machine") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {}});
  // The world has no default route: the address is nobody's, and an answer could only be an error.
  CHECK(client.curl({"--max-time", "0.5", "http://198.51.100.1/"}).status == 0);
  CHECK(lab.world().run({"ip", "route", "show", "default"}).out.empty());
  CHECK(lab.world().run({"ip", "-6", "route", "show", "default"}).out.empty());
}

TEST_CASE("a lab leaves neither namespaces nor files nor mounts behind") {
  require_root();
  std::string node, pod;
  std::filesystem::path folder;
  {
    Lab lab;
    node = lab.node().name();
    pod = lab.add_pod({"shop", "client", {}}).netns().name();
    folder = lab.folder();
    REQUIRE(std::filesystem::exists("/run/netns/" + node));
    REQUIRE(std::filesystem::exists("/run/netns/" + pod));
    REQUIRE(read_file("/proc/mounts").find(folder.string() + "/bpffs bpf") != std::string::npos);
  }
  CHECK_FALSE(std::filesystem::exists("/run/netns/" + node));
  CHECK_FALSE(std::filesystem::exists("/run/netns/" + pod));
  CHECK_FALSE(std::filesystem::exists(folder));
  CHECK(read_file("/proc/mounts").find(folder.string()) == std::string::npos);
}

TEST_CASE("a policy folder is exchanged as a whole, like a ConfigMap mount") {
  const TempFolder folder;
  PolicyFolder policies(folder.path() / "policies");
  policies.publish({{"a.yaml", "one"}, {"b.yaml", "two"}});
  CHECK(read_file(policies.path() / "a.yaml") == "one");
  policies.publish({{"a.yaml", "three"}});
  CHECK(read_file(policies.path() / "a.yaml") == "three");
  CHECK_FALSE(std::filesystem::exists(std::filesystem::symlink_status(policies.path() / "b.yaml")));
  CHECK(std::filesystem::is_symlink(policies.path() / "..data"));
}

TEST_CASE("a process is ended with its object, and a run that hangs is an error") {
  pid_t pid = -1;
  {
    Process process = Process::start({.argv = {"sleep", "1000"}});
    pid = process.pid();
    CHECK(process.running());
  }
  CHECK_FALSE(std::filesystem::exists("/proc/" + std::to_string(pid)));
  CHECK(run({.argv = {"sh", "-c", "echo out; echo err >&2; exit 3"}}).text() ==
        "exit code 3\nstdout: out\n\nstderr: err\n");
  CHECK_THROWS(run({.argv = {"sleep", "1000"}}, std::chrono::milliseconds(50)));
}

} // namespace
} // namespace weir::test
