#include "proxy/endpoint/kubernetes/reflector.h"

#include "proxy/endpoint/kubernetes/collection.h"
#include "test/support/temp_folder.h"
#include "test/unit/endpoint/kubernetes/fake_api.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>

namespace weir::test {
namespace {

using namespace endpoint::kubernetes;

std::string object(const std::string& name, const std::string& version) {
  return R"({"metadata":{"name":")" + name + R"(","resourceVersion":")" + version + R"("}})";
}
std::string list(const std::string& items, const std::string& next = "") {
  return R"({"metadata":{"resourceVersion":"10","continue":")" + next + R"("},"items":[)" + items +
         "]}";
}
std::string event(const std::string& type, const std::string& content) {
  return R"({"type":")" + type + R"(","object":)" + content + "}\n";
}

// One kind followed at a fake server; what it holds is its keys.
struct Followed {
  boost::asio::io_context context{1};
  TempFolder folder;
  std::vector<std::string> asked;
  int changes = 0;
  FakeApi api;
  Client client;
  Collection<std::string> items{
      [](const boost::json::object& o) { return key_of(o); },
      [](const std::string&, const std::string&) { return boost::json::object(); },
      [this] { ++changes; }};
  Reflector reflector;
  runtime::Gate gate{context};

  explicit Followed(FakeApi::Answer answer,
                    std::chrono::seconds absent_for_good = Reflector::kAbsentForGood)
      : api(context,
            [this, answer = std::move(answer)](const std::string& target) {
              asked.push_back(target);
              return answer(target);
            }),
        client(context, write_kubeconfig()),
        reflector(context, client, "/things", items, absent_for_good) {
    gate.spawn(reflector.run());
  }
  ~Followed() {
    gate.close();
    api.gate().close();
    while (gate.running() + api.gate().running() > 0) {
      context.run_one();
    }
  }

  std::string write_kubeconfig() {
    const std::string path = folder.file("kubeconfig");
    std::ofstream(path) << api.kubeconfig();
    return path;
  }
  bool until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < end) {
      context.run_one_for(std::chrono::seconds(1));
    }
    return condition();
  }
  [[nodiscard]] std::string keys() const {
    std::set<std::string> ordered;
    items.items().for_each(
        [&](const std::string& key, const auto& /*item*/) { ordered.insert(key); });
    std::string text;
    for (const auto& key : ordered) {
      text += key + " ";
    }
    return text;
  }
  [[nodiscard]] long lists() const {
    return std::count_if(asked.begin(), asked.end(), [](const auto& target) {
      return target.find("watch=1") == std::string::npos;
    });
  }
};

bool is_watch(const std::string& target) { return target.find("watch=1") != std::string::npos; }

TEST_CASE("a list comes in pages and is shown whole or not at all") {
  Followed followed([&](const std::string& target) {
    if (is_watch(target)) {
      return FakeApi::whole(200, "");
    }
    return target.find("continue=a%26b") == std::string::npos
               ? FakeApi::whole(200, list(object("one", "1"), "a&b"))
               : FakeApi::whole(200, list(object("two", "2")));
  });
  CHECK(followed.until([&] { return !followed.keys().empty(); }));
  CHECK(followed.keys() == "one two ");
}

TEST_CASE("a watch cut at any byte loses no event and takes none twice") {
  const std::string stream = event("ADDED", object("new", "11")) +
                             event("DELETED", object("old", "12")) +
                             event("BOOKMARK", object("", "20"));
  const auto size = stream.size();
  for (std::size_t cut = 0; cut <= size; cut += 7) {
    CAPTURE(cut);
    int watches = 0;
    Followed followed([&](const std::string& target) -> std::vector<std::string> {
      if (!is_watch(target)) {
        return FakeApi::whole(200, list(object("old", "5")));
      }
      ++watches;
      const auto from = target.find("resourceVersion=") + 16;
      const int version = std::stoi(target.substr(from));
      std::string rest = version < 11   ? stream
                         : version < 12 ? stream.substr(stream.find('\n') + 1)
                                        : event("BOOKMARK", object("", "20"));
      if (watches == 1) { // promises all of it and breaks off
        return {FakeApi::head(200, rest.size() + 1), rest.substr(0, cut)};
      }
      return FakeApi::whole(200, rest);
    });
    CHECK(followed.until([&] { return followed.keys() == "new "; }));
    CHECK(followed.lists() == 1);
  }
}

TEST_CASE("what the server has forgotten is listed anew, in both spellings of gone") {
  const bool in_the_head = GENERATE(true, false);
  int lists = 0;
  Followed followed([&](const std::string& target) {
    if (!is_watch(target)) {
      return FakeApi::whole(200, list(object(++lists == 1 ? "before" : "after", "5")));
    }
    return in_the_head ? FakeApi::whole(410, "{}")
                       : FakeApi::whole(200, event("ERROR", R"({"code":410,"reason":"Expired"})"));
  });
  CHECK(followed.until([&] { return followed.keys() == "after "; }));
}

TEST_CASE("a server in trouble takes nothing away from what is known") {
  int lists = 0;
  Followed followed([&](const std::string& target) {
    if (is_watch(target)) {
      return FakeApi::whole(410, "{}");
    }
    return ++lists == 1 ? FakeApi::whole(200, list(object("kept", "5")))
                        : FakeApi::whole(lists % 2 == 0 ? 503 : 200, "not even JSON");
  });
  CHECK(followed.until(
      [&] { return followed.lists() >= 3 && !followed.reflector.trouble().empty(); }));
  CHECK(followed.keys() == "kept ");
  CHECK(followed.reflector.synced());
}

TEST_CASE("a second page that is gone begins the list anew and shows no half") {
  int first_pages = 0;
  Followed followed([&](const std::string& target) {
    if (is_watch(target)) {
      return FakeApi::whole(200, "");
    }
    if (target.find("continue=") != std::string::npos) {
      return FakeApi::whole(410, "{}");
    }
    return ++first_pages == 1 ? FakeApi::whole(200, list(object("half", "1"), "next"))
                              : FakeApi::whole(200, list(object("whole", "2")));
  });
  CHECK(followed.until([&] { return !followed.keys().empty(); }));
  CHECK(followed.keys() == "whole ");
}

TEST_CASE("a kind with objects that is answered 404 keeps them, and is in trouble") {
  int lists = 0;
  Followed followed([&](const std::string& target) {
    if (is_watch(target)) {
      return FakeApi::whole(404, "{}");
    }
    return ++lists == 1 ? FakeApi::whole(200, list(object("kept", "5")))
                        : FakeApi::whole(404, "{}");
  });
  CHECK(followed.until([&] { return !followed.reflector.trouble().empty(); }));
  CHECK(followed.lists() >= 2);
  CHECK(followed.keys() == "kept ");
}

TEST_CASE("a kind with objects that has been answered 404 for long enough is gone") {
  int lists = 0;
  Followed followed(
      [&](const std::string& target) {
        if (is_watch(target)) {
          return FakeApi::whole(404, "{}");
        }
        return ++lists == 1 ? FakeApi::whole(200, list(object("gone", "5")))
                            : FakeApi::whole(404, "{}");
      },
      std::chrono::seconds(0));
  CHECK(followed.until([&] { return followed.keys() == "gone "; }));
  CHECK(followed.until([&] { return followed.keys().empty(); }));
  CHECK(followed.reflector.trouble().empty());
}

TEST_CASE("an event that says nothing new is no change") {
  const std::string heartbeats =
      event("MODIFIED", object("one", "11")) + event("MODIFIED", object("one", "12"));
  Followed followed([&](const std::string& target) -> std::vector<std::string> {
    if (!is_watch(target)) {
      return FakeApi::whole(200, list(object("one", "1")));
    }
    const bool first = target.find("resourceVersion=10") != std::string::npos;
    return FakeApi::whole(200, first ? heartbeats : event("ADDED", object("two", "13")));
  });
  CHECK(followed.until([&] { return followed.keys() == "one two "; }));
  CHECK(followed.changes == 2); // the list, and the second object
}

TEST_CASE("a kind that the server does not know is absent, which is no trouble") {
  Followed followed([](const std::string&) { return FakeApi::whole(404, "{}"); });
  CHECK(followed.until([&] { return followed.reflector.synced(); }));
  CHECK(followed.keys().empty());
  CHECK(followed.reflector.trouble().empty());
}

} // namespace
} // namespace weir::test
