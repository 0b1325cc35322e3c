#include "proxy/session/http_decision.h"

namespace weir::session {
namespace {

// Everybody has to read the same request out of these bytes, with the same target.
http::Refusal understand(const config::Http& config, std::string_view default_host,
                         HttpExchange& exchange) {
  if (auto refusal = http::examine(exchange.request, exchange.facts,
                                   config.forwarded_fields == config::ForwardedFields::kKeep)) {
    return refusal;
  }
  if (auto refusal = http::canonical_target(exchange.request, default_host, exchange.target,
                                            config.connect == config::Connect::kJudge)) {
    return refusal;
  }
  exchange.have_target = true;
  if (exchange.is_connect()) {
    // What follows a CONNECT belongs to the tunnel (RFC 9110 §9.3.6).
    exchange.facts.upgrade = {};
    if (exchange.has_body()) {
      return {400, "connect-with-body"};
    }
  }
  return {};
}

http::Refusal take_body_so_far(ReadBuffer& received, HttpExchange& exchange) {
  exchange.request_body.start(exchange.facts.body);
  const auto taken = exchange.request_body.take(received.data(), received.size());
  received.begin += taken.consumed;
  exchange.bytes_in += taken.consumed;
  exchange.first_part = taken.payload;
  return exchange.request_body.failed() ? http::Refusal{400, "malformed-body"} : http::Refusal{};
}

// What is written is what was judged.
void write_head(const policy::L7Decision& decision, HttpExchange& exchange) {
  exchange.edits.take(decision, exchange.facts.fields);
  exchange.edited.clear();
  if (!exchange.edits.empty()) {
    exchange.edited = exchange.facts.fields;
    exchange.edits.apply(exchange.edited);
  }
  exchange.request_out.clear();
  http::write_request_head(exchange.request, exchange.target, exchange.facts,
                           exchange.edits.empty() ? exchange.facts.fields : exchange.edited,
                           exchange.request_out);
}

} // namespace

Action decide(HttpService& service, HttpJudge& judge, std::string_view default_host,
              ReadBuffer& received, HttpExchange& exchange) {
  const bool open = judge.refresh();
  http::Refusal refusal = understand(service.config, default_host, exchange);
  if (!open) {
    exchange.verdict = AccessVerdict::kDenied;
    if (!refusal) {
      const policy::L7Decision decision = judge.judge(exchange.for_policy());
      if (!decision.allowed) {
        exchange.deny(decision, judge);
      }
    }
    exchange.denial.reason = "policy";
    return Action::kReset;
  }
  if (!refusal) {
    refusal = take_body_so_far(received, exchange);
  }
  if (refusal) {
    service.metrics.http_parse_errors.add();
    exchange.fail(refusal.status, refusal.reason);
    return Action::kAnswer;
  }
  exchange.keep_client = exchange.facts.keep_alive && !service.drain_list.draining();
  const policy::L7Decision decision = judge.judge(exchange.for_policy());
  if (!decision.allowed || decision.audit) {
    exchange.deny(decision, judge);
  }
  if (!decision.allowed) {
    exchange.verdict = AccessVerdict::kDenied;
    exchange.status = 403;
    return Action::kAnswer;
  }
  exchange.verdict = AccessVerdict::kAllowed;
  exchange.forwarding = true;
  write_head(decision, exchange);
  return Action::kForward;
}

} // namespace weir::session
