// The ClientHello reader: the answer does not depend on how the bytes are cut, and what it lets
// through is a host name.
#include "proxy/base/check.h"
#include "proxy/tls/client_hello.h"
#include "proxy/tls/server_name.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

using weir::tls::ClientHelloReader;
using Status = weir::tls::ClientHelloReader::Status;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) {
    return 0;
  }
  const auto which =
      (data[0] & 1) != 0 ? ClientHelloReader::Which::kSecond : ClientHelloReader::Which::kFirst;
  const std::size_t piece = 1 + (data[0] >> 1);
  const std::span bytes(data + 1, size - 1);

  ClientHelloReader whole(which), cut(which);
  const Status status = whole.feed(bytes);
  Status cut_status = Status::kNeedMore;
  for (std::size_t at = 0; at < bytes.size() && cut_status == Status::kNeedMore; at += piece) {
    cut_status = cut.feed(bytes.subspan(at, std::min(piece, bytes.size() - at)));
  }
  WEIR_CHECK(status == cut_status);
  if (status == Status::kRefused) {
    WEIR_CHECK(whole.refusal().reason == cut.refusal().reason);
  }
  if (status == Status::kDone) {
    WEIR_CHECK(whole.hello_end() == cut.hello_end());
    WEIR_CHECK(whole.hello().server_name == cut.hello().server_name);
    WEIR_CHECK(whole.hello().alpn == cut.hello().alpn);
    if (whole.hello().server_name) {
      WEIR_CHECK(weir::tls::server_name_fault(*whole.hello().server_name).empty());
    }
  }
  return 0;
}
