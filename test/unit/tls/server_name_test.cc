#include "proxy/tls/server_name.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <string>

using weir::tls::canonical_server_name;
using weir::tls::server_name_fault;

TEST_CASE("T2 and T3: host names pass and are put into one form") {
  const std::string label(63, 'a');
  for (const std::string& name :
       {std::string("example.com"), std::string("localhost"), std::string("_dmarc.x-y.example"),
        std::string("xn--bcher-kva.example"), std::string("3com.com"), std::string("1.2.3.4.in"),
        label + "." + label + "." + label + ".com", std::string("0x1g")}) {
    CHECK(server_name_fault(name) == "");
  }
  CHECK(canonical_server_name("WWW.Example.COM") == "www.example.com");
  CHECK(server_name_fault("example.com.") == "");
  CHECK(canonical_server_name("example.com.") == "example.com");
}

TEST_CASE("T6 and T7: what is no host name is refused with its reason") {
  using namespace std::string_literals;
  CHECK(server_name_fault("") == "sni-empty");
  CHECK(server_name_fault(std::string(256, 'a')) == "sni-too-long");
  CHECK(server_name_fault("exa\0mple.com"s) == "sni-bad-character");
  CHECK(server_name_fault("example.com\0"s) == "sni-bad-character");
  CHECK(server_name_fault("b\xc3\xbc"
                          "cher.example") == "sni-bad-character");
  CHECK(server_name_fault("*.example.com") == "sni-bad-character");
  CHECK(server_name_fault("a b.example") == "sni-bad-character");
  CHECK(server_name_fault("example.com/x") == "sni-bad-character");
  CHECK(server_name_fault("example.com..") == "sni-bad-label");
  CHECK(server_name_fault(".example.com") == "sni-bad-label");
  CHECK(server_name_fault("a..example") == "sni-bad-label");
  CHECK(server_name_fault(".") == "sni-bad-label");
  CHECK(server_name_fault(std::string(64, 'a') + ".example") == "sni-bad-label");
}

TEST_CASE("T4: an IP literal in any spelling is no host name") {
  const std::string_view literal =
      GENERATE("192.0.2.1", "192.0.2.1.", "2001:db8::1", "[2001:db8::1]", "127.1", "2130706433",
               "0x7f000001", "0x7f.0.0.0x1", "0177.0.0.01", "a.b.1", "example.com:443");
  CHECK(server_name_fault(literal) == "sni-ip-literal");
}
