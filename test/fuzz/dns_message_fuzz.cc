// Any bytes as a query and as a response. Beside staying alive: a query that is passed on is one
// that its own refusal answers, and nothing is both passed on and refused.
#include "proxy/base/check.h"
#include "proxy/dns/message.h"

#include <cstddef>
#include <cstdint>

using namespace weir;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dns::BytesView message(data, size);
  const auto parsed = dns::parse_query(message);
  WEIR_CHECK(!parsed.query || !parsed.refusal);
  if (parsed.query || parsed.refusal) {
    const dns::Bytes refusal =
        dns::make_refusal(message, parsed.refusal.value_or(dns::Rcode::kRefused));
    WEIR_CHECK(dns::message_id(refusal) == dns::message_id(message));
    const auto again = dns::parse_query(refusal);
    WEIR_CHECK(!again.query && !again.refusal); // an answer, which is never answered
    if (parsed.query) {
      const auto& query = *parsed.query;
      WEIR_CHECK(query.question.name.wire().size() <= 254);
      WEIR_CHECK(dns::answers(refusal, message, query.question, query.id));
      const auto response = dns::parse_response(refusal);
      WEIR_CHECK(response && response->question.name == query.question.name);
    }
  }
  const auto response = dns::parse_response(message);
  WEIR_CHECK(!response || !parsed.query);
  return 0;
}
