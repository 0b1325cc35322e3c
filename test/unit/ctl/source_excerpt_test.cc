#include "proxy/ctl/source_excerpt.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using weir::ctl::source_excerpt;

TEST_CASE("the line is shown with a caret below its column") {
  const auto* source = "kind: X\nspec:\n  ingres:\n";
  CHECK(source_excerpt(source, 3, 3) == "    3 |   ingres:\n"
                                        "      |   ^\n");
  CHECK(source_excerpt(source, 1, 1) == "    1 | kind: X\n"
                                        "      | ^\n");
}

TEST_CASE("tabs, line ends and wide characters keep the caret in its place") {
  CHECK(source_excerpt("\tx: y\r\n", 1, 2) == "    1 |  x: y\n"
                                              "      |  ^\n");
  CHECK(source_excerpt("ü: y", 1, 5) == "    1 | ü: y\n"
                                        "      |    ^\n");
}

TEST_CASE("places that the file does not have give nothing") {
  CHECK(source_excerpt("a\nb\n", 0, 0).empty());
  CHECK(source_excerpt("a\nb\n", 4, 1).empty());
  CHECK(source_excerpt("a\n\nb\n", 2, 1).empty());
  CHECK(source_excerpt("", 1, 1).empty());
  CHECK(source_excerpt("abc", 1, 9) == "    1 | abc\n");
  CHECK(source_excerpt("abc", 1, -4) == "    1 | abc\n");
}

TEST_CASE("a long line is cut, and nothing that a terminal obeys is shown") {
  const std::string cut = source_excerpt(std::string(5000, 'a'), 1, 3000);
  CHECK(cut == "    1 | " + std::string(160, 'a') + "\n");
  CHECK(source_excerpt("a\x1b[2J", 1, 1) == "    1 | a?[2J\n      | ^\n");
}

} // namespace
