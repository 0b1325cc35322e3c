// Files are the interface: policies from a ConfigMap's layout, pods from endpoints.yaml, both
// followed while weir runs.
#include "test/integration/policies.h"
#include "test/support/lab.h"

#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <fstream>

namespace weir::test {
namespace {

struct Shop {
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "client"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  HttpServer& server = lab.serve_http(web);

  HttpConnection connect() {
    auto connection = HttpConnection::open(client.netns(), web.address(Family::kV4), 80);
    REQUIRE(connection);
    return std::move(*connection);
  }
  int status(HttpConnection& connection, const std::string& target) {
    const auto reply = connection.request({.target = target});
    return reply ? reply->status : 0;
  }
};

TEST_CASE("a change of the folder is in force without a restart, on the very same connection") {
  require_root();
  Shop shop;
  shop.lab.policies().publish({{"web.yaml", http_paths("web", "/one|/both")}});
  shop.lab.start_weir();
  HttpConnection connection = shop.connect();
  CHECK(shop.status(connection, "/one") == 200);
  CHECK(shop.status(connection, "/two") == 403);
  CHECK(shop.status(connection, "/both") == 200);

  const auto published = std::chrono::steady_clock::now();
  shop.lab.policies().publish({{"web.yaml", http_paths("web", "/two|/both")}});
  CHECK(eventually([&] { return shop.status(connection, "/two") == 200; }));
  const auto taken = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - published);
  WARN("in force after " << taken.count() << " ms");
  CHECK(shop.status(connection, "/one") == 403);
  CHECK(shop.status(connection, "/both") == 200);
}

TEST_CASE("policies are added and removed with their files") {
  require_root();
  Shop shop;
  shop.lab.policies().publish({{"empty.yaml", "# nothing\n"}});
  shop.lab.start_weir();
  {
    HttpConnection connection = shop.connect();
    CHECK(shop.status(connection, "/anything") == 200);
  }
  const auto fresh_status = [&](const std::string& target) {
    auto connection = HttpConnection::open(shop.client.netns(), shop.web.address(Family::kV4), 80);
    return connection ? shop.status(*connection, target) : 0;
  };
  shop.lab.policies().publish(
      {{"empty.yaml", "# nothing\n"}, {"web.yaml", http_paths("web", "/one")}});
  CHECK(eventually([&] { return fresh_status("/anything") == 403; }));
  CHECK(fresh_status("/one") == 200);
  shop.lab.policies().publish({{"empty.yaml", "# nothing\n"}});
  CHECK(eventually([&] { return fresh_status("/anything") == 200; }));
}

TEST_CASE("a broken file is shown with its place and changes nothing") {
  require_root();
  Shop shop;
  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  shop.lab.start_weir();
  HttpConnection connection = shop.connect();
  CHECK(shop.status(connection, "/discount") == 200);

  std::string broken = kHttpIngress;
  broken.replace(broken.find("fromEndpoints"), 13, "fromEndpoint"); // line 11, column 7
  shop.lab.policies().publish({{"web.yaml", broken}});
  std::string message;
  CHECK(eventually([&] {
    const boost::json::value policies = shop.lab.admin_json("/policies");
    for (const auto& row : policies.as_array()) {
      if (boost::json::value_to<std::string>(row.at("status")) == "rejected") {
        message = boost::json::value_to<std::string>(row.at("message"));
        return true;
      }
    }
    return false;
  }));
  INFO(message);
  CHECK(message.find("web.yaml:11:7: ") != std::string::npos);
  CHECK(message.find("fromEndpoint`") != std::string::npos);
  CHECK(shop.status(connection, "/discount") == 200);
  CHECK(shop.status(connection, "/other") == 403);

  const Outcome check = shop.lab.weirctl({"policy", "check", shop.lab.policies().path()});
  INFO(check.text());
  CHECK(check.exit_code == 1);
  CHECK((check.out + check.err).find("web.yaml:11:7: ") != std::string::npos);

  shop.lab.policies().publish({{"web.yaml", kHttpIngress}});
  CHECK(eventually([&] {
    const std::string text = boost::json::serialize(shop.lab.admin_json("/policies"));
    return text.find("rejected") == std::string::npos && text.find("accepted") != std::string::npos;
  }));
}

TEST_CASE("a pod whose labels change in endpoints.yaml is judged by the new ones") {
  require_root();
  Lab lab;
  Pod& client = lab.add_pod({"shop", "client", {{"app", "other"}}});
  Pod& web = lab.add_pod({"shop", "web", {{"app", "web"}}});
  lab.serve_http(web);
  lab.policies().publish({{"web.yaml", kHttpIngress}});
  lab.start_weir();
  const std::string url = "http://" + web.address(Family::kV4) + "/discount";
  CHECK(client.curl({"--max-time", "1", url}).exit_code == kCurlTimeout);

  const std::string labels = "labels: {app: \"other\"}";
  std::string text = read_file(lab.folder() / "endpoints.yaml");
  REQUIRE(text.find(labels) != std::string::npos);
  text.replace(text.find(labels), labels.size(), "labels: {app: client}");
  write_file(lab.folder() / "endpoints.yaml.new", text);
  std::filesystem::rename(lab.folder() / "endpoints.yaml.new", lab.folder() / "endpoints.yaml");
  CHECK(eventually([&] { return client.curl({"--max-time", "1", url}).status == 200; }));
}

TEST_CASE("without a policy folder weir is not ready and lets nothing through") {
  require_root();
  Shop shop;
  std::filesystem::remove(shop.lab.policies().path());
  shop.lab.start_weir_without_waiting();
  std::optional<HttpReply> ready;
  REQUIRE(eventually([&] { return (ready = shop.lab.admin("/ready")).has_value(); }));
  CHECK(ready->status == 503);
  INFO(ready->body);
  CHECK(ready->body.find("polic") != std::string::npos);
  CHECK(shop.lab.weir().running());
  // The pods are held from the moment that the first of them is attached.
  const std::string url = "http://" + shop.web.address(Family::kV4) + "/";
  CHECK(eventually(
      [&] { return shop.client.curl({"--max-time", "1", url}).exit_code == kCurlTimeout; }));

  PolicyFolder(shop.lab.policies().path()).publish({{"empty.yaml", "# nothing\n"}});
  CHECK(shop.lab.await_ready());
  CHECK(shop.client.curl({"--max-time", "5", url}).status == 200);
}

} // namespace
} // namespace weir::test
