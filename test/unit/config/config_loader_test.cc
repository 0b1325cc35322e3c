#include "proxy/config/config_loader.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <type_traits>

namespace {

using namespace weir;
using namespace weir::config;
using namespace std::chrono_literals;

static_assert(!std::is_constructible_v<ValidatedConfig, Config>);
static_assert(!std::is_default_constructible_v<ValidatedConfig>);

Config accepted(const std::string& text) {
  const auto loaded = parse_config("weir.yaml", text);
  for (const auto& error : loaded.errors) {
    UNSCOPED_INFO(error.text());
  }
  REQUIRE(loaded.config.has_value());
  REQUIRE(loaded.errors.empty());
  return **loaded.config;
}

// All errors, one a line.
std::string refused(const std::string& text) {
  const auto loaded = parse_config("weir.yaml", text);
  REQUIRE_FALSE(loaded.config.has_value());
  std::string lines;
  for (const auto& error : loaded.errors) {
    lines += error.text() + "\n";
  }
  return lines;
}

// A listener with everything that is needed; `more` is added to it.
std::string listener(const std::string& more) {
  return "listeners:\n"
         "  - name: shop\n"
         "    upstream: 127.0.0.1:18080\n"
         "    protocol: http\n"
         "    direction: ingress\n"
         "    endpoint: shop/web\n" +
         more;
}

TEST_CASE("an empty configuration has every default") {
  const auto text = GENERATE(std::string(), std::string("# nothing yet\n"), std::string("---\n"));
  const Config config = accepted(text);
  std::string host(256, '\0');
  REQUIRE(gethostname(host.data(), host.size()) == 0);
  host.resize(host.find('\0'));
  CHECK(config.node.name == host);
  CHECK(config.policies.directory == "/etc/weir/policies");
  CHECK(config.endpoints.file == "/etc/weir/endpoints.yaml");
  CHECK(config.state.directory == "/var/lib/weir");
  CHECK(config.workers >= 1);
  CHECK(config.redirect.mode == RedirectMode::kBpf);
  CHECK(config.redirect.bpffs == "/sys/fs/bpf");
  CHECK(config.admin.to_string() == "127.0.0.1:9931");
  CHECK(config.metrics.to_string() == "0.0.0.0:9932");
  CHECK(config.access_log.path == "/dev/stdout");
  CHECK(config.http.max_head == 60 * 1024);
  CHECK(config.http.max_target == 16 * 1024);
  CHECK(config.http.max_headers == 100);
  CHECK(config.http.head_timeout == 10s);
  CHECK(config.http.idle_timeout == 300s);
  CHECK(config.http.connect_timeout == 5s);
  CHECK(config.dns.upstream_timeout == 3s);
  CHECK(config.dns.min_ttl == 60s);
  CHECK(config.dns.grace == 60s);
  CHECK(config.drain_timeout == 25s);
  CHECK(config.listeners.empty());
}

TEST_CASE("every key of the configuration is read") {
  const Config config = accepted(R"(
node: {name: node-a}
policies: {directory: /tmp/policies}
endpoints: {file: /tmp/endpoints.yaml}
state: {directory: /tmp/state}
workers: 2
redirect: {mode: none, bpffs: /sys/fs/bpf/test}
admin: {address: "127.0.0.1:9941"}
metrics: {address: "[::1]:9942"}
accessLog: {path: /tmp/access, format: json}
http:
  maxHead: 32KiB
  maxTarget: 4096B
  maxHeaders: 50
  headTimeout: 5s
  idleTimeout: 2m
  connectTimeout: 1s
dns: {upstreamTimeout: 1500ms, minTtl: 30s, grace: 1h}
drainTimeout: 7s
listeners:
  - name: shop
    type: static
    address: "127.0.0.1:15080"
    upstream: "127.0.0.1:18080"
    protocol: http
    direction: ingress
    endpoint: shop/web
    peer: shop/client
    port: 80
  - name: names
    address: "[::1]:15053"
    upstream: "10.0.0.10:53"
    protocol: dns
    direction: egress
    endpoint: shop/client
    peer: world
)");
  CHECK(config.node.name == "node-a");
  CHECK(config.policies.directory == "/tmp/policies");
  CHECK(config.endpoints.file == "/tmp/endpoints.yaml");
  CHECK(config.state.directory == "/tmp/state");
  CHECK(config.workers == 2);
  CHECK(config.redirect.mode == RedirectMode::kNone);
  CHECK(config.redirect.bpffs == "/sys/fs/bpf/test");
  CHECK(config.admin.to_string() == "127.0.0.1:9941");
  CHECK(config.metrics.to_string() == "[::1]:9942");
  CHECK(config.access_log.path == "/tmp/access");
  CHECK(config.http.max_head == 32 * 1024);
  CHECK(config.http.max_target == 4096);
  CHECK(config.http.max_headers == 50);
  CHECK(config.http.head_timeout == 5s);
  CHECK(config.http.idle_timeout == 120s);
  CHECK(config.http.connect_timeout == 1s);
  CHECK(config.dns.upstream_timeout == 1500ms);
  CHECK(config.dns.min_ttl == 30s);
  CHECK(config.dns.grace == 3600s);
  CHECK(config.drain_timeout == 7s);
  REQUIRE(config.listeners.size() == 2);
  const auto& shop = config.listeners[0];
  CHECK(shop.name == "shop");
  CHECK(shop.address.to_string() == "127.0.0.1:15080");
  CHECK(shop.upstream.to_string() == "127.0.0.1:18080");
  CHECK(shop.protocol == ListenerProtocol::kHttp);
  CHECK(shop.direction == ListenerDirection::kIngress);
  CHECK(shop.endpoint == "shop/web");
  CHECK(shop.peer == "shop/client");
  CHECK(shop.port == 80);
  const auto& names = config.listeners[1];
  CHECK(names.protocol == ListenerProtocol::kDns);
  CHECK(names.direction == ListenerDirection::kEgress);
  CHECK(names.port == 53); // the upstream's
}

TEST_CASE("unknown and duplicate keys are refused with their place and a suggestion") {
  CHECK(refused("admn: {address: \"127.0.0.1:1\"}\n") ==
        "weir.yaml:1:1: error: unknown key `admn`, did you mean `admin`?\n");
  CHECK(refused("http:\n  maxhead: 1KiB\n") ==
        "weir.yaml:2:3: error: unknown key `http.maxhead`, did you mean `maxHead`?\n");
  CHECK(refused("frobnicate: 1\n") == "weir.yaml:1:1: error: unknown key `frobnicate`\n");
  CHECK(refused("workers: 1\nnode: {name: a}\nworkers: 2\n") ==
        "weir.yaml:3:1: error: duplicate key `workers`, it is at line 1 already\n");
  CHECK(refused("policies: {directory: /a, directory: /b}\n") ==
        "weir.yaml:1:27: error: duplicate key `directory`, it is at line 1 already\n");
  CHECK(refused(listener("    adress: 127.0.0.1:15080\n    peer: world\n")) ==
        "weir.yaml:2:5: error: `listeners[0].address` is missing\n"
        "weir.yaml:7:5: error: unknown key `listeners[0].adress`, did you mean `address`?\n");
}

TEST_CASE("all errors of a file are reported at once, in its order") {
  CHECK(refused("workers: many\n"
                "redirect: {mode: bfp}\n"
                "http: {headTimeout: 10, maxHead: 60}\n"
                "dns: [1]\n") ==
        "weir.yaml:1:10: error: `workers` must be a whole number\n"
        "weir.yaml:2:18: error: `redirect.mode` must be one of bpf, none, did you mean `bpf`?\n"
        "weir.yaml:3:21: error: `http.headTimeout` must be a duration such as 10s "
        "(units: s, m, h)\n"
        "weir.yaml:3:34: error: `http.maxHead` must be a size such as 60KiB "
        "(units: B, KiB, MiB)\n"
        "weir.yaml:4:6: error: `dns` must be a mapping\n");
}

TEST_CASE("values that cannot work are refused") {
  struct Case {
    std::string text;
    std::string error;
  };
  const auto [text, error] = GENERATE(
      Case{"workers: 65\n", "1:10: error: `workers` must be from 0 to 64"},
      Case{"workers: -1\n", "1:10: error: `workers` must be a whole number"},
      Case{"workers: \"2\"\n", "1:10: error: `workers` must be a whole number"},
      Case{"workers: 4294967296\n", "1:10: error: `workers` must be a whole number"},
      Case{"workers: [2]\n", "1:10: error: `workers` must be a whole number"},
      Case{"workers:\n", "1:1: error: `workers` has no value, remove the key to have its default"},
      Case{"node: ~\n", "1:1: error: `node` has no value, remove the key to have its default"},
      Case{"node: {name: \"\"}\n", "1:14: error: `node.name` must be a text that is not empty"},
      Case{"drainTimeout: 0s\n", "1:15: error: `drainTimeout` must be from 1s to 1h"},
      Case{"dns: {upstreamTimeout: 0ms}\n",
           "1:24: error: `dns.upstreamTimeout` must be from 1ms to 60s"},
      Case{"dns: {minTtl: 500ms}\n",
           "1:15: error: `dns.minTtl` must be a duration such as 10s (units: s, m, h)"},
      Case{"http: {idleTimeout: 9223372036854775807h}\n",
           "1:21: error: `http.idleTimeout` must be a duration such as 10s (units: s, m, h)"},
      Case{"http: {maxHead: 0B}\n", "1:17: error: `http.maxHead` must be from 1KiB to 1MiB"},
      Case{"http: {maxHead: 18446744073709551615MiB}\n",
           "1:17: error: `http.maxHead` must be a size such as 60KiB (units: B, KiB, MiB)"},
      Case{"admin: {address: \"127.0.0.1:0\"}\n",
           "1:18: error: the port of `admin.address` must not be 0"},
      Case{"admin: {address: \"0.0.0.0:9931\"}\n",
           "1:18: error: `admin.address` must be a loopback address, what others may read is "
           "served on `metrics.address`"},
      Case{"admin: {address: localhost:9931}\n",
           "1:18: error: `admin.address` must be an address and a port such as 127.0.0.1:80 or "
           "[::1]:80"},
      Case{"admin: {address: \"[::ffff:127.0.0.1]:9931\"}\n",
           "1:18: error: `admin.address` must be an address and a port such as 127.0.0.1:80 or "
           "[::1]:80"},
      Case{"metrics: {address: \"127.0.0.1:9931\"}\n",
           "1:10: error: `admin.address` and `metrics.address` are the same"},
      Case{"redirect: {bpffs: /sys/fs/bpf/a.b}\n",
           "1:19: error: `redirect.bpffs` must be an absolute path without dots"},
      Case{"accessLog: {format: text}\n",
           "1:21: error: `accessLog.format` must be one of json, envoy"},
      Case{"[1, 2]\n", "1:1: error: the document must be a mapping"},
      Case{"a: 1\n---\nb: 2\n",
           "3:1: error: a second document; only one is read, remove it and the `---` before it"});
  CAPTURE(text);
  const std::string errors = refused(text);
  CHECK(errors == "weir.yaml:" + error + "\n");
}

TEST_CASE("a listener needs a name, addresses, a protocol, a direction and whose policy it is") {
  CHECK(refused("listeners:\n  - {}\n") ==
        "weir.yaml:2:5: error: `listeners[0].name` is missing\n"
        "weir.yaml:2:5: error: `listeners[0].address` is missing\n"
        "weir.yaml:2:5: error: `listeners[0].upstream` is missing\n"
        "weir.yaml:2:5: error: `listeners[0].protocol` is missing\n"
        "weir.yaml:2:5: error: `listeners[0].direction` is missing\n"
        "weir.yaml:2:5: error: `listeners[0].endpoint` is missing\n"
        "weir.yaml:2:5: error: `listeners[0].peer` is missing\n");
  CHECK(refused("listeners: {name: shop}\n") ==
        "weir.yaml:1:12: error: `listeners` must be a list\n");
  CHECK(refused("listeners: [shop]\n") ==
        "weir.yaml:1:13: error: `listeners[0]` must be a mapping\n");
}

TEST_CASE("a listener's own values are checked") {
  struct Case {
    std::string more;
    std::string error;
  };
  const auto [more, error] = GENERATE(
      Case{"    address: 127.0.0.1:0\n    peer: world\n",
           "7:14: error: the port of `listeners[0].address` must not be 0"},
      Case{"    address: 127.0.0.1:15080\n    peer: world\n    port: 0\n",
           "9:11: error: `listeners[0].port` must not be 0, leave it out to have the upstream's"},
      Case{"    address: 127.0.0.1:15080\n    peer: world\n    port: 65536\n",
           "9:11: error: `listeners[0].port` must be a whole number up to 65535"},
      Case{"    address: 127.0.0.1:15080\n    peer: shop/a/b\n",
           "8:11: error: `listeners[0].peer` must be namespace/name, an address or an entity"},
      Case{"    address: 127.0.0.1:15080\n    peer: world\n    type: transparent\n",
           "9:11: error: `listeners[0].type` must be static"},
      Case{"    address: 127.0.0.1:9931\n    peer: world\n",
           "7:14: error: weir's own admin or metrics address"});
  CAPTURE(more);
  const std::string errors = refused(listener(more));
  CHECK(errors == "weir.yaml:" + error + "\n");
}

TEST_CASE("two listeners may share neither name nor address") {
  const std::string one = "  - {name: a, address: \"127.0.0.1:1\", upstream: \"127.0.0.1:2\", "
                          "protocol: http, direction: ingress, endpoint: a/b, peer: world}\n";
  CHECK(refused("listeners:\n" + one + one) ==
        "weir.yaml:3:12: error: a second listener named `a`\n"
        "weir.yaml:3:24: error: `a` listens on 127.0.0.1:1 already\n");
}

TEST_CASE("what is no YAML is refused with the parser's place") {
  const auto text = GENERATE(std::string("a: [1\n"), std::string("a: *b\n"),
                             std::string("a: \tb: c\n"), std::string(10'000, '['));
  CAPTURE(text);
  const std::string errors = refused(text);
  CHECK(errors.starts_with("weir.yaml:"));
  CHECK_THAT(errors, Catch::Matchers::ContainsSubstring("error: not YAML: "));
  CHECK(refused(std::string("a\0b", 3)) == "weir.yaml: error: has NUL bytes; this is no YAML\n");
}

TEST_CASE("files that cannot be read are errors of the file as a whole") {
  const auto missing = load_config("/nonexistent/weir.yaml");
  CHECK_FALSE(missing.config);
  REQUIRE(missing.errors.size() == 1);
  CHECK(missing.errors[0].text() == "/nonexistent/weir.yaml: error: No such file or directory");
  CHECK_FALSE(load_config("/").config);

  const auto path = std::filesystem::temp_directory_path() /
                    ("weir-config-test-" + std::to_string(getpid()) + ".yaml");
  std::ofstream(path) << "workers: 3\n";
  const auto loaded = load_config(path);
  REQUIRE(loaded.config);
  CHECK((*loaded.config)->workers == 3);
  std::ofstream(path) << std::string(1024 * 1024 + 1, '#');
  CHECK_FALSE(load_config(path).config);
  std::filesystem::remove(path);
}

TEST_CASE("the Kubernetes API is the source where its section is, and no file beside it") {
  CHECK_FALSE((*parse_config("weir.yaml", "").config)->kubernetes.enabled);
  CHECK((*parse_config("weir.yaml", "kubernetes: {}\n").config)->kubernetes.enabled);
  const auto both =
      parse_config("weir.yaml", "kubernetes: {}\nendpoints: {file: /etc/weir/endpoints.yaml}\n");
  REQUIRE(both.errors.size() == 1);
  CHECK(both.errors[0].line == 2);
  const auto listed = parse_config(
      "weir.yaml", "kubernetes: {ignoreLabels: [a/b], otherInterfaces: [\"docker*\"]}\n");
  REQUIRE(listed.config.has_value());
  CHECK((**listed.config).kubernetes.ignore_labels == std::vector<std::string>{"a/b"});
  CHECK((**listed.config).kubernetes.other_interfaces == std::vector<std::string>{"docker*"});
  CHECK((**listed.config).kubernetes.hold_new_pods_for == std::chrono::seconds(0)); // for ever
}

} // namespace
