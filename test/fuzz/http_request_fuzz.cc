// Request heads and bodies from arbitrary bytes, at two cuts. Besides memory errors it looks for
// what would be a hole in somebody's policy: a result that depends on the cut, a canonical form
// that canonicalises to another one, or a written request that reads back as a different one.
#include "proxy/base/check.h"
#include "proxy/http/body.h"
#include "proxy/http/framing.h"
#include "proxy/http/normalize.h"
#include "proxy/http/parser.h"
#include "proxy/http/serializer.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace weir;

namespace {

constexpr http::HeadLimits kLimits{4096, 1024, 20};

struct Understood {
  http::ParseStatus status = http::ParseStatus::kMore;
  http::RequestHead head;
  std::size_t head_size = 0;
};

void parse(std::string_view bytes, std::size_t cut, Understood& result) {
  http::RequestParser parser(kLimits);
  if (cut > 0) {
    const std::string first(bytes.substr(0, cut));
    result.status = parser.parse(first, result.head);
  }
  if (result.status == http::ParseStatus::kMore) {
    result.status = parser.parse(bytes, result.head);
  }
  result.head_size = parser.head_size();
}

void check_forwarded(const http::RequestHead& head) {
  http::RequestFacts facts;
  http::CanonicalTarget target;
  if (http::examine(head, facts) || http::canonical_target(head, "192.0.2.1", target)) {
    return;
  }
  std::string again;
  if (target.path != "*") {
    WEIR_CHECK(!http::canonical_path(target.path, again) && again == target.path);
  }
  if (head.version == http::Version::kHttp11) {
    WEIR_CHECK(!http::canonical_host(target.host, again) && again == target.host);
  }
  std::string written;
  http::write_request_head(head, target, facts, facts.fields, written);
  http::RequestParser parser({written.size() + 1, written.size(), 1000});
  http::RequestHead reread;
  WEIR_CHECK(parser.parse(written, reread) == http::ParseStatus::kDone);
  WEIR_CHECK(parser.head_size() == written.size());
  WEIR_CHECK(reread.method == head.method && reread.target == target.path);
  http::RequestFacts refacts;
  http::CanonicalTarget retarget;
  WEIR_CHECK(!http::examine(reread, refacts));
  WEIR_CHECK(!http::canonical_target(reread, "", retarget));
  WEIR_CHECK(retarget.path == target.path && retarget.host == target.host);
  WEIR_CHECK(refacts.body.kind == facts.body.kind && refacts.body.length == facts.body.length);
  WEIR_CHECK(refacts.fields.size() == facts.fields.size());
}

void check_chunks(std::string_view bytes, std::size_t cut) {
  http::BodyReader whole, parts;
  whole.start({http::Framing::Kind::kChunked, 0, false});
  parts.start({http::Framing::Kind::kChunked, 0, false});
  std::string all(bytes), first(bytes.substr(0, cut)), second(bytes.substr(cut));
  const std::string payload(whole.take(all.data(), all.size()).payload);
  std::string joined(parts.take(first.data(), first.size()).payload);
  joined += parts.take(second.data(), second.size()).payload;
  WEIR_CHECK(whole.done() == parts.done() && whole.failed() == parts.failed());
  WEIR_CHECK(whole.failed() || payload == joined);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) {
    return 0;
  }
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = data[0] % bytes.size();
  Understood whole, parts;
  parse(bytes, 0, whole);
  parse(bytes, cut, parts);
  WEIR_CHECK(whole.status == parts.status);
  if (whole.status == http::ParseStatus::kDone) {
    WEIR_CHECK(whole.head_size == parts.head_size);
    check_forwarded(whole.head);
    check_chunks(bytes.substr(whole.head_size), 0);
  }
  check_chunks(bytes, cut);
  return 0;
}
