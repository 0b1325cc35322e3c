#include "proxy/config/pod_pattern.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using weir::config::PodPattern;

TEST_CASE("a pattern names a pod, all of a namespace, all of a name, or all") {
  CHECK(PodPattern::parse("shop/web")->covers("shop", "web"));
  CHECK_FALSE(PodPattern::parse("shop/web")->covers("shop", "web-2"));
  CHECK_FALSE(PodPattern::parse("shop/web")->covers("bank", "web"));
  CHECK(PodPattern::parse("shop/*")->covers("shop", "anything"));
  CHECK_FALSE(PodPattern::parse("shop/*")->covers("bank", "anything"));
  CHECK(PodPattern::parse("*/web")->covers("bank", "web"));
  CHECK(PodPattern::parse("*/*")->covers("bank", "anything"));
  CHECK(PodPattern::parse("shop/*")->to_string() == "shop/*");
}

TEST_CASE("what could be taken for a wider pattern than it is is none") {
  for (const auto* text :
       {"", "/", "shop", "shop/", "/web", "shop/web*", "s*/web", "a/b/c", "**/web", "shop/we b"}) {
    CAPTURE(text);
    CHECK_FALSE(PodPattern::parse(text));
  }
}

} // namespace
