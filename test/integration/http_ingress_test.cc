// HTTP policy on a pod's ingress, with real clients and a real server.
#include "test/integration/policies.h"
#include "test/integration/shop.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::test {
namespace {

struct OpenShop : Shop {
  HttpServer& server = lab.serve_http(web);

  OpenShop() {
    lab.policies().publish({{"web.yaml", kHttpIngress}});
    lab.start_weir();
  }

  [[nodiscard]] std::string url(Family family, const std::string& path) const {
    return "http://" + url_host(web.address(family)) + path;
  }
};

TEST_CASE("an allowed request reaches the server from the client pod's own address") {
  require_root();
  OpenShop shop;
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const CurlResult reply = shop.client.curl({"--max-time", "5", shop.url(family, "/discount")});
    INFO(reply.text);
    CHECK(reply.status == 200);
    CHECK(reply.body == "shop/web\n");
  }
  CHECK(shop.web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  const std::vector<std::string> expected = {
      shop.client.address(Family::kV4) + " GET /discount 200",
      shop.client.address(Family::kV6) + " GET /discount 200"};
  CHECK(shop.server.requests_before("/end") == expected);
}

TEST_CASE("another method or path is answered 403 by the proxy and nothing reaches the server") {
  require_root();
  OpenShop shop;
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const CurlResult post = shop.client.curl(
        {"--max-time", "5", "-D", "/dev/stderr", "-d", "code=1", shop.url(family, "/discount")});
    INFO(post.text);
    CHECK(post.status == 403);
    CHECK(post.body == "Access denied\r\n");
    CHECK(post.text.find("x-weir-denied-by: shop/web-ingress") != std::string::npos);
    for (const char* path : {"/", "/admin", "/discount/", "/discount/../admin", "/discountx"}) {
      INFO(path);
      CHECK(shop.client.curl({"--max-time", "5", "--path-as-is", shop.url(family, path)}).status ==
            403);
    }
  }
  CHECK(shop.web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  CHECK(shop.server.requests_before("/end").empty());
}

TEST_CASE("a pod without the label gets no answer at all") {
  require_root();
  OpenShop shop;
  for (const Family family : {Family::kV4, Family::kV6}) {
    INFO(to_string(family));
    const CurlResult reply = shop.stranger.curl({"--max-time", "1", shop.url(family, "/discount")});
    INFO(reply.text);
    CHECK(reply.exit_code == kCurlTimeout);
    CHECK(reply.status == 0);
  }
  CHECK(shop.web.curl({"--max-time", "5", "http://127.0.0.1/end"}).status == 200);
  CHECK(shop.server.requests_before("/end").empty());
}

TEST_CASE("another port of a pod with an HTTP policy is closed to everybody") {
  require_root();
  OpenShop shop;
  shop.lab.serve_http(shop.web, 8080);
  const CurlResult reply = shop.client.curl(
      {"--max-time", "1", "http://" + shop.web.address(Family::kV4) + ":8080/discount"});
  INFO(reply.text);
  CHECK(reply.exit_code == kCurlTimeout);
}

TEST_CASE("the access log has a line for every verdict, with both pods and the policy") {
  require_root();
  OpenShop shop;
  CHECK(shop.client.curl({"--max-time", "5", shop.url(Family::kV4, "/discount")}).status == 200);
  CHECK(shop.client.curl({"--max-time", "5", "-X", "POST", shop.url(Family::kV4, "/discount")})
            .status == 403);
  shop.lab.stop_weir(); // the log is complete then
  const auto records = shop.lab.access_log();
  REQUIRE(records.size() == 2);
  CHECK(records[0].at("verdict") == "ALLOWED");
  CHECK(records[0].at("status").to_number<int>() == 200);
  CHECK(records[1].at("verdict") == "DENIED");
  CHECK(records[1].at("status").to_number<int>() == 403);
  CHECK(records[1].at("denied_by") == "shop/web-ingress");
  for (const auto& record : records) {
    CHECK(record.at("direction") == "ingress");
    CHECK(record.at("protocol") == "http");
    CHECK(record.at("path") == "/discount");
    CHECK(record.at("source").at("namespace") == "shop");
    CHECK(record.at("source").at("pod") == "client");
    CHECK(record.at("source").at("ip").as_string() == shop.client.address(Family::kV4));
    CHECK(record.at("destination").at("pod") == "web");
    CHECK(record.at("destination").at("port").to_number<int>() == 80);
  }
}

} // namespace
} // namespace weir::test
