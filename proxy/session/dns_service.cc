#include "proxy/session/dns_service.h"

#include "proxy/base/check.h"
#include "proxy/base/log.h"
#include "proxy/dns/learner.h"

#include <netinet/in.h>
#include <sys/random.h>

#include <cerrno>
#include <utility>

namespace weir::session {
namespace asio = boost::asio;

namespace {

std::string_view refusal_reason(dns::Rcode rcode) {
  switch (rcode) {
  case dns::Rcode::kNotImp:
    return "opcode";
  case dns::Rcode::kRefused:
    return "question";
  default:
    return "malformed";
  }
}

// A retransmission: same client, server, id and question.
std::string fold_key_of(const DnsFlow& flow, dns::BytesView message, const dns::Query& query) {
  std::string key;
  const auto add = [&key](const SocketAddress& address) {
    const auto& bytes = address.ip.bytes();
    key.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    key.push_back(static_cast<char>(address.port >> 8));
    key.push_back(static_cast<char>(address.port & 0xff));
  };
  add(flow.client.value);
  add(flow.server.value);
  key.append(reinterpret_cast<const char*>(message.data()), 2);
  key.append(reinterpret_cast<const char*>(message.data()) + dns::kHeaderSize,
             query.question.end - dns::kHeaderSize);
  return key;
}

} // namespace

DnsService::Ask::Ask(DnsService& owner, const DnsFlow& asking, std::shared_ptr<DnsPolicy> judge)
    : service(owner), flow(asking), policy(std::move(judge)),
      started(std::chrono::steady_clock::now()) {}

DnsService::Ask::~Ask() {
  if (!fold_key.empty()) {
    service.x_folded.erase(fold_key);
  }
  if (counted) {
    --service.x_in_flight;
    const auto at = service.x_in_flight_by_client.find(flow.client.value.ip);
    if (--at->second == 0) {
      service.x_in_flight_by_client.erase(at);
    }
  }
}

DnsService::DnsService(runtime::Worker& worker, AccessLog& access_log, DnsOptions options)
    : x_worker(worker), x_access_log(access_log), x_options(std::move(options)),
      x_scratch(dns::kMaxMessage) {}

DnsService::Begun DnsService::begin(const DnsFlow& flow, std::shared_ptr<DnsPolicy> policy,
                                    dns::BytesView message) {
  auto ask = std::make_unique<Ask>(*this, flow, std::move(policy));
  auto parsed = dns::parse_query(message);
  if (!parsed.query) {
    x_worker.metrics().dns_malformed.add();
    if (!parsed.refusal) {
      return {};
    }
    return {refuse(*ask, message, *parsed.refusal,
                   {AccessVerdict::kDenied, {}, refusal_reason(*parsed.refusal)}),
            nullptr};
  }
  ask->query = *std::move(parsed.query);
  if (flow.protocol == IPPROTO_UDP) {
    std::string key = fold_key_of(flow, message, ask->query);
    if (!x_folded.insert(key).second) {
      return {};
    }
    ask->fold_key = std::move(key);
  }
  const DnsDecision decision = ask->policy->judge(ask->query.question.name);
  if (!decision.allowed) {
    return {refuse(*ask, message, dns::Rcode::kRefused,
                   {AccessVerdict::kDenied, decision.denied_by, decision.reason}),
            nullptr};
  }
  ask->judged = decision.judged;
  if (!count_in(*ask)) {
    return {refuse(*ask, message, dns::Rcode::kServFail,
                   {AccessVerdict::kError, {}, "too-many-queries"}),
            nullptr};
  }
  ask->message.assign(message.begin(), message.end());
  return {{}, std::move(ask)};
}

bool DnsService::count_in(Ask& ask) {
  if (x_in_flight >= x_options.max_in_flight) {
    return false;
  }
  const auto client = x_in_flight_by_client.try_emplace(ask.flow.client.value.ip).first;
  if (client->second >= x_options.max_in_flight_per_client) {
    return false;
  }
  ++x_in_flight;
  ++client->second;
  ask.counted = true;
  return true;
}

asio::awaitable<dns::Bytes> DnsService::finish(std::unique_ptr<Ask> ask, DnsTcpUpstream* tcp) {
  const std::uint16_t id = random_id();
  dns::set_message_id(ask->message, id);
  const UpstreamQuery query{ask->flow,
                            ask->message,
                            ask->query.question,
                            id,
                            ask->started + x_options.upstream_timeout,
                            x_worker.metrics(),
                            x_worker.gate()};
  // Not by a conditional expression: GCC 12 destroys what is awaited in one twice.
  UpstreamAnswer answer;
  if (tcp != nullptr) {
    answer = co_await tcp->ask(query);
  } else {
    answer = co_await ask_over_udp(query, x_scratch);
  }
  dns::set_message_id(ask->message, ask->query.id);
  if (answer.failure == kStopped) {
    co_return dns::Bytes{}; // the client asks again, and finds the next process
  }
  if (!answer.failure.empty()) {
    if (answer.failure == kUpstreamTimeout) {
      x_worker.metrics().dns_upstream_timeouts.add();
    }
    co_return refuse(*ask, ask->message, dns::Rcode::kServFail,
                     {AccessVerdict::kError, {}, answer.failure});
  }
  dns::set_message_id(answer.message, ask->query.id);
  if (const std::string_view withheld = learn(*ask, answer.message); !withheld.empty()) {
    co_return refuse(*ask, ask->message, dns::Rcode::kServFail,
                     {AccessVerdict::kError, {}, withheld});
  }
  account(*ask, ask->message, answer.message, {AccessVerdict::kAllowed, {}, {}});
  co_return std::move(answer.message);
}

std::string_view DnsService::learn(Ask& ask, dns::BytesView answer) {
  if (!ask.judged || (x_options.trusted && !x_options.trusted(ask.flow.server.value.ip))) {
    return {};
  }
  const auto response = dns::parse_response(answer);
  if (!response) {
    // A server may cut a truncated answer anywhere; the client asks again over TCP.
    return dns::message_truncated(answer) ? std::string_view{} : "upstream-malformed";
  }
  WorkerMetrics& metrics = x_worker.metrics();
  const dns::Learned learned = dns::learn_addresses(*response, [&ask](const IpAddress& address) {
    return ask.policy->is_cluster_address(address);
  });
  if (learned.refused != 0) {
    metrics.dns_learn_refused.add(learned.refused);
    log::debug("{} addresses of {} are not learned, asked by {}", learned.refused,
               ask.query.question.name.to_text(), ask.flow.client.value.ip.to_string());
  }
  if (learned.addresses.empty()) {
    return {};
  }
  const Result<std::size_t> written =
      ask.policy->learn(ask.query.question.name, learned.ttl, learned.addresses);
  if (!written) {
    metrics.dns_learn_failed.add();
    log::warning("an answer for {} is withheld from {}: {}", ask.query.question.name.to_text(),
                 ask.flow.client.value.ip.to_string(), written.error().text());
    return "learn-failed";
  }
  metrics.dns_learned.add(*written);
  return {};
}

dns::Bytes DnsService::refuse(const Ask& ask, dns::BytesView query, dns::Rcode rcode,
                              const Outcome& outcome) {
  dns::Bytes answer = dns::make_refusal(query, rcode);
  account(ask, query, answer, outcome);
  return answer;
}

void DnsService::account(const Ask& ask, dns::BytesView query, dns::BytesView answer,
                         const Outcome& outcome) {
  WorkerMetrics& metrics = x_worker.metrics();
  const auto rcode = static_cast<std::size_t>(dns::message_rcode(answer));
  metrics.dns_queries[static_cast<std::size_t>(outcome.verdict)].add();
  metrics.dns_responses[rcode].add();

  AccessRecord record;
  record.time = std::chrono::system_clock::now();
  record.verdict = outcome.verdict;
  record.protocol = "dns";
  ask.policy->describe(record);
  record.source.ip = ask.flow.client.value.ip;
  record.source.port = ask.flow.client.value.port;
  record.destination.ip = ask.flow.server.value.ip;
  record.destination.port = ask.flow.server.value.port;
  std::string name;
  std::string type;
  if (ask.query.question.end != 0) {
    name = ask.query.question.name.to_text();
    type = dns::type_text(ask.query.question.type);
  }
  record.query_name = name;
  record.query_type = type;
  record.status = static_cast<int>(rcode);
  record.denied_by = outcome.denied_by;
  record.reason = outcome.reason;
  record.bytes_in = query.size();
  record.bytes_out = answer.size();
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - ask.started);
  if (!x_access_log.write(x_worker.index(), record)) {
    metrics.access_log_lost.add();
  }
}

// From the kernel's generator, many at a time: an id must not be guessed from those before it.
std::uint16_t DnsService::random_id() {
  if (x_random_left == 0) {
    std::size_t filled = 0;
    const auto bytes = std::as_writable_bytes(std::span(x_random));
    while (filled < bytes.size()) {
      const ssize_t got = ::getrandom(bytes.data() + filled, bytes.size() - filled, 0);
      WEIR_CHECK(got > 0 || errno == EINTR);
      filled += got > 0 ? static_cast<std::size_t>(got) : 0;
    }
    x_random_left = x_random.size();
  }
  return x_random[--x_random_left];
}

} // namespace weir::session
