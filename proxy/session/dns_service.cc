#include "proxy/session/dns_service.h"

#include "proxy/base/check.h"
#include "proxy/base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/this_coro.hpp>

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;

namespace {

constexpr std::chrono::seconds kHouseKeeping{5};

DnsRefused parse_reason(dns::Rcode rcode) {
  switch (rcode) {
  case dns::Rcode::kNotImp:
    return DnsRefused::kOpcode;
  case dns::Rcode::kRefused:
    return DnsRefused::kQuestion;
  default:
    return DnsRefused::kMalformed;
  }
}

std::uint64_t microseconds(std::chrono::steady_clock::duration duration) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

} // namespace

DnsService::Sameness::Sameness(const DnsFlow& flow, std::uint16_t message_id,
                               dns::BytesView message, const dns::Question& asked)
    : client(flow.client.value), server(flow.server.value), id(message_id),
      question(reinterpret_cast<const char*>(message.data()) + dns::kHeaderSize,
               asked.end - dns::kHeaderSize) {}

std::size_t DnsService::SamenessHash::operator()(const Sameness& query) const {
  // Who asks much asks from many ports and with many ids.
  return std::hash<IpAddress>{}(query.client.ip) +
         (std::size_t{query.client.port} << 16 | query.id) * UINT64_C(0x9e3779b97f4a7c15);
}

// A query on its way; what is in flight holds its place among the others.
class DnsService::Ask final : public DnsQuestion {
public:
  Ask(DnsService& service, DnsOrigin from, dns::BytesView bytes, Clock::time_point taken)
      : DnsQuestion(from.flow, bytes, taken), origin(std::move(from)), x_service(service) {}

  void answered(std::span<std::uint8_t> answer) override { x_service.answered(*this, answer); }
  void failed(DnsRefused why) override { x_service.failed(*this, why); }

  // By which a retransmission is known; views of the message.
  [[nodiscard]] Sameness sameness() const { return {flow, query.id, message, query.question}; }

  const DnsOrigin origin;
  bool teaches = false;
  std::string audited_by; // the policy that would refuse it; empty: none
  std::optional<DnsRefused> audit_reason;
  std::list<Ask>::iterator place;

private:
  DnsService& x_service;
};

DnsService::DnsService(runtime::Worker& worker, AccessLog& access_log, DnsOptions options)
    : x_worker(worker), x_access_log(access_log), x_options(std::move(options)),
      x_scratch(dns::kMaxMessage),
      x_udp(worker.context(), worker.metrics(), x_ids, x_scratch,
            {x_options.upstream_sockets, x_options.all_upstream_sockets}),
      x_timer(worker.context()) {}

DnsService::~DnsService() = default;

DnsService::Taken DnsService::take(DnsOrigin origin, dns::BytesView message) {
  const Clock::time_point started = Clock::now();
  auto parsed = dns::parse_query(message);
  if (!parsed.query) {
    x_worker.metrics().dns_malformed.add();
    if (!parsed.refusal) {
      return Taken::kNoQuery;
    }
    refuse(origin, nullptr, started, message,
           {AccessVerdict::kDenied, *parsed.refusal, {}, parse_reason(*parsed.refusal)});
    return Taken::kAnswered;
  }
  dns::Query& query = *parsed.query;
  const bool folds = origin.flow.protocol == IPPROTO_UDP;
  if (folds && x_folded.contains({origin.flow, query.id, message, query.question})) {
    x_worker.metrics().dns_repeated.add();
    return Taken::kDropped;
  }
  const DnsDecision decision = origin.policy->judge(query.question.name);
  if (!decision.allowed) {
    refuse(origin, &query.question, started, message,
           {AccessVerdict::kDenied, decision.refusal, decision.denied_by, decision.reason});
    return Taken::kAnswered;
  }
  if (!has_room_for(origin.flow.client.value.ip)) {
    refuse(origin, &query.question, started, message,
           {AccessVerdict::kError, dns::Rcode::kServFail, {}, DnsRefused::kTooMany});
    return Taken::kAnswered;
  }
  Ask& ask = x_asks.emplace_back(*this, std::move(origin), message, started);
  ask.place = std::prev(x_asks.end());
  ask.query = std::move(query);
  ask.teaches = decision.teaches;
  if (decision.audit) {
    ask.audited_by = decision.denied_by;
    ask.audit_reason = decision.reason;
  }
  if (folds) {
    x_folded.insert(ask.sameness());
  }
  ++x_in_flight_by_client[ask.flow.client.value.ip];
  if (!x_watched) {
    x_watched = true;
    x_worker.gate().spawn(watch());
  }
  if (!upstream_of(ask.origin).ask(ask)) {
    failed(ask, DnsRefused::kUpstreamUnreachable);
    return Taken::kAnswered;
  }
  return Taken::kPending;
}

DnsUpstream& DnsService::upstream_of(const DnsOrigin& origin) {
  return origin.tcp != nullptr ? *origin.tcp : x_udp;
}

bool DnsService::has_room_for(const IpAddress& client) const {
  const auto at = x_in_flight_by_client.find(client);
  const std::size_t own = at == x_in_flight_by_client.end() ? 0 : at->second;
  return x_asks.size() < x_options.max_in_flight ? own < x_options.max_in_flight_per_client
                                                 : own < x_options.reserved_per_client;
}

void DnsService::answered(Ask& ask, std::span<std::uint8_t> answer) {
  WorkerMetrics& metrics = x_worker.metrics();
  const Clock::time_point arrived = Clock::now();
  metrics.dns_upstream_time.add(microseconds(arrived - ask.started));
  dns::set_message_id(answer, ask.query.id);
  if (const auto withheld = learn(ask, answer)) {
    failed(ask, *withheld);
    return;
  }
  const Clock::time_point released = Clock::now();
  metrics.dns_held_time.add(microseconds(released - arrived));
  account(ask.origin, &ask.query.question, released - ask.started, ask.message.size(), answer,
          {ask.audited_by.empty() ? AccessVerdict::kAllowed : AccessVerdict::kAudit,
           dns::message_rcode(answer), ask.audited_by, ask.audit_reason});
  ask.origin.client.send(ask.origin.asked, ask.flow.client.value, answer);
  end(ask);
}

void DnsService::failed(Ask& ask, DnsRefused why) {
  dns::set_message_id(ask.message, ask.query.id);
  refuse(ask.origin, &ask.query.question, ask.started, ask.message,
         {AccessVerdict::kError, dns::Rcode::kServFail, {}, why});
  end(ask);
}

void DnsService::end(Ask& ask) {
  if (ask.flow.protocol == IPPROTO_UDP) {
    x_folded.erase(ask.sameness());
  }
  const auto at = x_in_flight_by_client.find(ask.flow.client.value.ip);
  if (--at->second == 0) {
    x_in_flight_by_client.erase(at);
  }
  x_asks.erase(ask.place);
}

void DnsService::forget(const DnsClient& client) {
  for (auto at = x_asks.begin(); at != x_asks.end();) {
    Ask& ask = *at++;
    if (&ask.origin.client == &client) {
      upstream_of(ask.origin).withdraw(ask, false);
      end(ask);
    }
  }
}

bool DnsService::has_pending(const DnsClient& client) const {
  return std::any_of(x_asks.begin(), x_asks.end(),
                     [&](const Ask& ask) { return &ask.origin.client == &client; });
}

// Runs while there is anything to watch over: queries whose time may end, sockets that may be idle.
asio::awaitable<void> DnsService::watch() {
  co_await asio::this_coro::throw_if_cancelled(false);
  Clock::time_point swept = Clock::now();
  while (!x_worker.gate().closed() && (!x_asks.empty() || x_udp.open_sockets() > 0)) {
    // A query that comes while this waits ends later than that: all have the same time.
    const Clock::time_point next =
        (x_asks.empty() ? Clock::now() : x_asks.front().started) + x_options.upstream_timeout;
    x_timer.expires_at(std::min(next, Clock::now() + kHouseKeeping));
    const auto [error] = co_await x_timer.async_wait(asio::as_tuple(asio::deferred));
    if (error || x_worker.gate().closed()) {
      break;
    }
    const Clock::time_point now = Clock::now();
    while (!x_asks.empty() && x_asks.front().started + x_options.upstream_timeout <= now) {
      Ask& ask = x_asks.front();
      upstream_of(ask.origin).withdraw(ask, true);
      failed(ask, DnsRefused::kUpstreamTimeout);
    }
    if (now - swept >= kHouseKeeping) {
      swept = now;
      x_udp.close_idle();
    }
  }
  x_watched = false;
  if (x_worker.gate().closed()) {
    // Clients ask again, and find the next process.
    while (!x_asks.empty()) {
      Ask& ask = x_asks.front();
      upstream_of(ask.origin).withdraw(ask, false);
      ask.origin.client.send(ask.origin.asked, ask.flow.client.value, {});
      end(ask);
    }
    x_udp.close_all();
  }
}

std::optional<DnsRefused> DnsService::learn(Ask& ask, dns::BytesView answer) {
  if (!ask.teaches) {
    return {};
  }
  const auto response = dns::parse_response(answer);
  if (!response) {
    // A server may cut a truncated answer anywhere; the client asks again over TCP.
    return dns::message_truncated(answer) ? std::nullopt
                                          : std::optional(DnsRefused::kUpstreamMalformed);
  }
  DnsPolicy& policy = *ask.origin.policy;
  dns::LearnRules rules;
  rules.is_cluster = [&policy](const IpAddress& address) {
    return policy.is_cluster_address(address);
  };
  rules.learn_private = x_options.learn_private;
  rules.lenient = x_options.lenient;
  const dns::Learned learned = dns::learn_addresses(*response, rules);
  WorkerMetrics& metrics = x_worker.metrics();
  std::size_t refused = 0;
  for (std::size_t why = 0; why < dns::kNotLearned; ++why) {
    metrics.dns_learn_refused[why].add(learned.refused[why]);
    refused += learned.refused[why];
  }
  if (refused != 0) {
    log::debug("{} addresses of {} are not learned, asked by {}", refused,
               ask.query.question.name.to_text(), ask.flow.client.value.ip.to_string());
  }
  if (learned.addresses.empty()) {
    return {};
  }
  const Result<std::size_t> written =
      policy.learn(ask.query.question.name, learned.ttl, learned.addresses);
  if (!written) {
    log::warning("an answer for {} is withheld from {}: {}", ask.query.question.name.to_text(),
                 ask.flow.client.value.ip.to_string(), written.error().text());
    return DnsRefused::kLearnFailed;
  }
  metrics.dns_learned.add(*written);
  return {};
}

void DnsService::refuse(const DnsOrigin& origin, const dns::Question* question,
                        Clock::time_point started, dns::BytesView query, const Outcome& outcome) {
  const dns::Bytes answer = dns::make_refusal(query, outcome.rcode);
  x_worker.metrics().dns_refused[static_cast<std::size_t>(outcome.reason.value())].add();
  account(origin, question, Clock::now() - started, query.size(), answer, outcome);
  origin.client.send(origin.asked, origin.flow.client.value, answer);
}

void DnsService::account(const DnsOrigin& origin, const dns::Question* question,
                         Clock::duration duration, std::size_t bytes_in, dns::BytesView answer,
                         const Outcome& outcome) {
  WorkerMetrics& metrics = x_worker.metrics();
  metrics.dns_queries[static_cast<std::size_t>(outcome.verdict)].add();
  metrics.dns_responses[static_cast<std::size_t>(outcome.rcode)].add();

  AccessRecord record;
  record.time = std::chrono::system_clock::now();
  record.verdict = outcome.verdict;
  record.protocol = "dns";
  origin.policy->describe(record);
  record.source.ip = origin.flow.client.value.ip;
  record.source.port = origin.flow.client.value.port;
  record.destination.ip = origin.flow.server.value.ip;
  record.destination.port = origin.flow.server.value.port;
  if (PodVolumes::Pod* volume = origin.policy->volume()) {
    volume->add(question != nullptr ? question->name.wire().size() : 0);
  }
  x_name_text.clear();
  std::string type;
  if (question != nullptr) {
    question->name.append_text(x_name_text);
    type = dns::type_text(question->type);
  }
  record.query_name = x_name_text;
  record.query_type = type;
  record.status = static_cast<int>(outcome.rcode);
  record.denied_by = outcome.denied_by;
  record.reason = outcome.reason ? to_text(*outcome.reason) : std::string_view();
  record.bytes_in = bytes_in;
  record.bytes_out = answer.size();
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(duration);
  if (!x_access_log.write(x_worker.index(), record)) {
    metrics.access_log_lost.add();
  }
}

} // namespace weir::session
