#include "proxy/ctl/table.h"

#include <catch2/catch_test_macros.hpp>

namespace {

using weir::ctl::printable;
using weir::ctl::Table;

TEST_CASE("columns are as wide as their widest cell and three spaces apart") {
  Table table({"NAMESPACE", "NAME", "STATE"});
  table.add({"shop", "web", "enforced"});
  table.add({"a-long-namespace", "x", ""});
  CHECK(table.text() == "NAMESPACE          NAME   STATE\n"
                        "shop               web    enforced\n"
                        "a-long-namespace   x      <none>\n");
}

TEST_CASE("a column's width counts characters, not bytes") {
  Table table({"A", "B"});
  table.add({"grün", "1"});
  table.add({"rot", "2"});
  CHECK(table.text() == "A      B\n"
                        "grün   1\n"
                        "rot    2\n");
}

TEST_CASE("what a terminal would obey is not printed") {
  CHECK(printable("a\x1b[31mb\rc\nd\te\x7f") == "a?[31mb?c?d e?");
  CHECK(printable("a\xc2\x9b"
                  "31mb") == "a?31mb");
  CHECK(printable("grün …") == "grün …");
  Table table({"A"});
  table.add({"x\ny"});
  CHECK(table.text() == "A\nx?y\n");
}

} // namespace
