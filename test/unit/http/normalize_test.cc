#include "proxy/http/normalize.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>

using namespace weir;
using http::canonical_host;
using http::canonical_path;

namespace {

std::string path(std::string_view raw) {
  std::string out;
  const http::Refusal refusal = canonical_path(raw, out);
  return refusal ? "refused: " + std::string(refusal.reason) : out;
}

std::string host(std::string_view raw) {
  std::string out;
  const http::Refusal refusal = canonical_host(raw, out);
  return refusal ? "refused" : out;
}

struct Target {
  std::string path, host;
  int refused = 0;
};
Target target(std::string_view method, std::string_view raw, std::vector<http::Header> headers,
              http::Version version = http::Version::kHttp11) {
  http::RequestHead head{method, raw, version, std::move(headers)};
  http::CanonicalTarget out;
  const http::Refusal refusal = http::canonical_target(head, "192.0.2.1", out);
  return {out.path, out.host, refusal.status};
}

} // namespace

TEST_CASE("a plain path is its own canonical form") {
  for (const std::string_view plain :
       {"/", "/public", "/public/", "/a.b/c..d/e...", "/a;v=1/b", "/x?y", "/?", "/a/b?c=/../d//e",
        "/...", "/..a/.b", "/-._~!$&'()*+,;=:@", "/a%20b", "/caf%C3%A9", "/100%25"}) {
    CHECK(path(plain) == plain);
  }
}

TEST_CASE("H1: dot segments are removed before policy sees the path") {
  CHECK(path("/public/../admin") == "/admin");
  CHECK(path("/public/./../admin") == "/admin");
  CHECK(path("/public/a/../../admin") == "/admin");
  CHECK(path("/a/b/.") == "/a/b/");
  CHECK(path("/a/b/..") == "/a/");
  CHECK(path("/a/..") == "/");
  CHECK(path("/.") == "/");
}

TEST_CASE("H2: unreserved bytes are decoded once, doubly encoded ones refused") {
  CHECK(path("/public/%2e%2e/admin") == "/admin");
  CHECK(path("/public/%2E%2e/admin") == "/admin");
  CHECK(path("/public/.%2e/admin") == "/admin");
  CHECK(path("/%70ublic/%7e") == "/public/~");
  for (const std::string_view doubled :
       {"/public/%252e%252e/admin", "/a%252fb", "/a%255cb", "/a%2500b", "/%25252e", "/%25%32%65",
        "/%2525%32e", "/%252%65"}) {
    CHECK(path(doubled) == "refused: encoded-separator");
  }
  CHECK(path("/a%252") == "/a%252");
  CHECK(path("/a%2541") == "/a%2541");
}

TEST_CASE("H3: repeated slashes become one") {
  CHECK(path("//public/x") == "/public/x");
  CHECK(path("/public//../admin") == "/public/admin");
  CHECK(path("///admin") == "/admin");
  CHECK(path("/a//") == "/a/");
}

TEST_CASE("H4: encoded separators and backslashes are refused") {
  CHECK(path("/public%2f..%2fadmin") == "refused: encoded-separator");
  CHECK(path("/public%2Fadmin") == "refused: encoded-separator");
  CHECK(path("/public%5c..%5Cadmin") == "refused: encoded-separator");
  CHECK(path("/a%00b") == "refused: encoded-separator");
  CHECK(path("/public\\..\\admin") == "refused: forbidden-byte-in-target");
}

TEST_CASE("H5: parameters do not hide dot segments") {
  CHECK(path("/public/..;/admin") == "/admin");
  CHECK(path("/public/..;x=1/admin") == "/admin");
  CHECK(path("/public/.;x/admin") == "/public/admin");
  CHECK(path("/public;a/x") == "/public;a/x");
  CHECK(path("/public/..%3b/admin") == "refused: encoded-separator");
  CHECK(path("/public/.%2e%3Bx/admin") == "refused: encoded-separator");
}

TEST_CASE("H6: a fragment has no place in a request target") {
  CHECK(path("/admin#/public/") == "refused: forbidden-byte-in-target");
  CHECK(path("/public/#") == "refused: forbidden-byte-in-target");
  CHECK(path("/public/?#") == "refused: forbidden-byte-in-target");
}

TEST_CASE("H7: the query is passed on as it came and takes no part in path segments") {
  CHECK(path("/public?x=/../admin") == "/public?x=/../admin");
  CHECK(path("/a/../b?%2e%2f//") == "/b?%2e%2f//");
  CHECK(path("/public%3fx") == "/public%3fx");
}

TEST_CASE("H8: bytes that cannot stand in a target are refused, each of them") {
  for (int byte = 0; byte < 256; ++byte) {
    const bool refused = byte <= 0x20 || byte >= 0x7f || byte == '#' || byte == '\\';
    const std::string in_path = std::string("/a") + static_cast<char>(byte) + "b";
    const std::string in_query = std::string("/a?") + static_cast<char>(byte) + "b";
    if (byte == '%') {
      continue;
    }
    CHECK(path(in_path).starts_with("refused") == refused);
    CHECK(path(in_query).starts_with("refused") == refused);
  }
}

TEST_CASE("H10: overlong UTF-8, broken percent-encoding and paths above the root are refused") {
  CHECK(path("/%c0%ae%c0%ae/admin") == "refused: overlong-utf8");
  CHECK(path("/%C1%9c") == "refused: overlong-utf8");
  CHECK(path("/%e0%80%af") == "refused: overlong-utf8");
  CHECK(path("/%f0%80%80%af") == "refused: overlong-utf8");
  CHECK(path("/%e2%82%ac") == "/%e2%82%ac");
  for (const std::string_view broken : {"/%", "/%2", "/%zz", "/%2g", "/a%", "/%%32e", "/%u002e"}) {
    CHECK(path(broken) == "refused: malformed-percent-encoding");
  }
  CHECK(path("/..") == "refused: path-above-root");
  CHECK(path("/a/../..") == "refused: path-above-root");
  CHECK(path("/%2e%2e/etc") == "refused: path-above-root");
  CHECK(path("") == "refused: malformed-target");
  CHECK(path("admin") == "refused: malformed-target");
  CHECK(path("?x") == "refused: malformed-target");
}

TEST_CASE("a canonical path is a fixed point and holds nothing that canonicalising removes") {
  // Every string of up to six of these pieces, so that they meet in all orders.
  const std::string_view pieces[] = {"/", ".", "%2e", ";", "a", "%25", "2e"};
  std::vector<std::string> paths{"/"};
  for (int length = 0; length < 5; ++length) {
    std::vector<std::string> longer;
    for (const std::string& prefix : paths) {
      for (const std::string_view piece : pieces) {
        longer.push_back(prefix + std::string(piece));
      }
    }
    for (const std::string& raw : longer) {
      std::string once, twice;
      if (canonical_path(raw, once)) {
        continue;
      }
      REQUIRE_FALSE(canonical_path(once, twice));
      REQUIRE(once == twice);
      REQUIRE(once.find("//") == std::string::npos);
      REQUIRE(once.find("/../") == std::string::npos);
      REQUIRE(once.find("/./") == std::string::npos);
      REQUIRE_FALSE(once.ends_with("/.."));
      REQUIRE(once.find("/..;") == std::string::npos);
    }
    paths = std::move(longer);
  }
}

TEST_CASE("H13: hosts are lower case, without trailing dot, with a valid port or none") {
  CHECK(host("Shop.Example") == "shop.example");
  CHECK(host("shop.example.") == "shop.example");
  CHECK(host("shop.example.:8080") == "shop.example:8080");
  CHECK(host("shop:80") == "shop:80");
  CHECK(host("10.0.0.1:65535") == "10.0.0.1:65535");
  CHECK(host("[2001:DB8::1]:80") == "[2001:db8::1]:80");
  CHECK(host("[2001:db8:0:0::1]") == "[2001:db8::1]");
  CHECK(host("a_b-c.d") == "a_b-c.d");
  for (const std::string_view wrong : {"",          ".",
                                       "..",        "a..b",
                                       ".a",        "a..",
                                       "user@host", "a b",
                                       "a,b",       "a/b",
                                       "a%2eb",     "a:",
                                       "a:0",       "a:080",
                                       "a:65536",   "a:99999999999999999999",
                                       "a:8x",      "a:1:2",
                                       ":80",       "[::1",
                                       "[::1]x",    "[::ffff:1.2.3.4]",
                                       "[1.2.3.4]", "[]",
                                       "a\xc3\xa4", "a?b",
                                       "a#b"}) {
    CAPTURE(wrong);
    CHECK(host(wrong) == "refused");
  }
  CHECK(host(std::string(300, 'a')) == "refused");
}

TEST_CASE("H9: an absolute target agrees with Host and is forwarded in origin form") {
  const Target same = target("GET", "http://Shop.example/a/../b?q", {{"Host", "shop.example"}});
  CHECK(same.path == "/b?q");
  CHECK(same.host == "shop.example");
  CHECK(target("GET", "HTTP://shop", {{"Host", "shop"}}).path == "/");
  CHECK(target("GET", "http://shop?q", {{"Host", "shop"}}).path == "/?q");
  CHECK(target("GET", "http://other/admin", {{"Host", "shop"}}).refused == 400);
  CHECK(target("GET", "http://shop:80/", {{"Host", "shop"}}).refused == 400);
  CHECK(target("GET", "http://user@shop/", {{"Host", "shop"}}).refused == 400);
  CHECK(target("GET", "http:///admin", {{"Host", "shop"}}).refused == 400);
  CHECK(target("GET", "https://shop/", {{"Host", "shop"}}).refused == 400);
  CHECK(target("GET", "ftp://shop/", {{"Host", "shop"}}).refused == 400);
  CHECK(target("GET", "http://shop?a#b", {{"Host", "shop"}}).refused == 400);
}

TEST_CASE("H10: OPTIONS * is its own path, CONNECT and other forms are refused") {
  CHECK(target("OPTIONS", "*", {{"Host", "shop"}}).path == "*");
  CHECK(target("OPTIONS", "http://shop", {{"Host", "shop"}}).path == "*");
  CHECK(target("GET", "*", {{"Host", "shop"}}).refused == 400);
  CHECK(target("CONNECT", "shop:80", {{"Host", "shop"}}).refused == 405);
  CHECK(target("GET", "shop:80", {{"Host", "shop"}}).refused == 400);
}

TEST_CASE("H13: none, an empty or several Host fields are refused, but HTTP/1.0 may do without") {
  CHECK(target("GET", "/", {}).refused == 400);
  CHECK(target("GET", "/", {{"Host", ""}}).refused == 400);
  CHECK(target("GET", "/", {{"Host", "a"}, {"host", "a"}}).refused == 400);
  CHECK(target("GET", "/", {}, http::Version::kHttp10).host == "192.0.2.1");
  CHECK(target("GET", "http://shop/", {}, http::Version::kHttp10).host == "shop");
}
