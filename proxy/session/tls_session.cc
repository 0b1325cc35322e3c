#include "proxy/session/tls_session.h"

#include "proxy/net/linger.h"
#include "proxy/net/relay.h"
#include "proxy/tls/server_hello.h"

#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <utility>
#include <vector>

namespace weir::session {
namespace asio = boost::asio;

namespace {

constexpr std::size_t kBlock = 64 * 1024; // of one read

std::string_view as_text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::uint8_t> as_bytes(const char* data, std::size_t size) {
  return {reinterpret_cast<const std::uint8_t*>(data), size};
}

std::string_view connect_reason(net::ErrorCode error) {
  if (error == asio::error::connection_refused) {
    return "upstream-refused";
  }
  return error == asio::error::timed_out ? "upstream-timeout" : "upstream-unreachable";
}

} // namespace

TlsService::TlsService(runtime::Worker& worker, AccessLog& access_log, TlsLimits limits)
    : x_worker(worker), x_access_log(access_log), x_limits(limits), x_pool(kBlock),
      x_snapshot_watch(*this) {}

void TlsService::start() { x_worker.gate().spawn(x_watchdog.run()); }

TlsService::SnapshotWatch::SnapshotWatch(TlsService& service)
    : Deadline(service.x_watchdog), x_service(service), x_seen(service.x_worker.snapshot()) {
  expire_after({});
}

void TlsService::SnapshotWatch::on_deadline() {
  expire_after({}); // at the next tick again
  if (x_seen != x_service.x_worker.snapshot()) {
    x_seen = x_service.x_worker.snapshot();
    x_service.policy_changed();
  }
}

void TlsService::policy_changed() {
  for (auto at = x_sessions.begin(); at != x_sessions.end();) {
    (at++)->policy_changed();
  }
}

TlsSession::TlsSession(TlsService& service, std::unique_ptr<net::Stream> client,
                       std::unique_ptr<TlsJudge> judge, std::unique_ptr<net::Connector> connector,
                       std::optional<tls::ClientHelloReader> hello)
    : Deadline(service.x_watchdog), x_service(service), x_client(std::move(client)),
      x_judge(std::move(judge)), x_connector(std::move(connector)), x_hello(std::move(hello)),
      x_time(std::chrono::system_clock::now()), x_start(std::chrono::steady_clock::now()) {
  service.x_sessions.push_back(*this);
  service.x_worker.metrics().tls_connections_opened.add();
}

TlsSession::~TlsSession() { x_service.x_worker.metrics().tls_connections_closed.add(); }

asio::awaitable<void> TlsSession::serve(std::unique_ptr<TlsSession> session) {
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await session->run();
  session->record();
}

asio::awaitable<void> TlsSession::run() {
  const TlsJudge::Need need = x_judge->refresh();
  x_reads_hello = need == TlsJudge::Need::kServerName;
  if (need == TlsJudge::Need::kDeny) {
    const policy::L7Decision decision = x_judge->judge(std::nullopt);
    deny(*decision.rule, decision.reason);
    reset_both();
    co_return;
  }
  if (x_reads_hello) {
    if (!x_hello && !co_await read_hello(x_hello.emplace())) {
      co_return;
    }
    x_name = x_hello->hello().server_name;
    if (!allowed_now()) {
      co_await end_with_alert(x_name ? tls::Alert::kUnrecognizedName : tls::Alert::kAccessDenied);
      co_return;
    }
  }
  x_admitted = true;
  x_verdict = AccessVerdict::kAllowed;
  note_audit();
  if (!co_await connect_upstream()) {
    reset_both();
    co_return;
  }
  if (x_reads_hello && !co_await pass_handshake(*x_hello)) {
    co_return;
  }
  x_hello.reset(); // passed on; the connection may last
  co_await relay();
}

// False: the connection has been ended.
asio::awaitable<bool> TlsSession::read_hello(tls::ClientHelloReader& reader) {
  using Status = tls::ClientHelloReader::Status;
  expire_after(x_service.x_limits.hello_timeout);
  const runtime::BufferPool::Block block = x_service.x_pool.acquire();
  Status status = Status::kNeedMore;
  while (status == Status::kNeedMore) {
    const net::IoResult read =
        co_await x_client->read_some({block.get(), x_service.x_pool.block_size()});
    if (read.error) {
      if (!x_cut) {
        fail(x_timed_out ? "hello-timeout" : "hello-incomplete");
      }
      reset_both();
      co_return false;
    }
    status = reader.feed(as_bytes(block.get(), read.bytes));
  }
  never();
  if (status == Status::kDone) {
    co_return true;
  }
  // Policy wants a name and there is none to be had: the rule that would have been asked denies.
  x_service.x_worker.metrics().tls_hellos_refused.add();
  const tls::Refusal refusal = reader.refusal();
  x_judge->refresh();
  deny(*x_judge->judge(std::nullopt).rule, refusal.reason);
  if (refusal.alert) {
    co_await end_with_alert(*refusal.alert);
  } else {
    reset_both();
  }
  co_return false;
}

asio::awaitable<bool> TlsSession::connect_upstream() {
  net::Connector::Connected connected = co_await x_connector->connect();
  WorkerMetrics& metrics = x_service.x_worker.metrics();
  if (connected.error) {
    metrics.upstream_connect_failures.add();
    if (!x_cut) {
      fail(connect_reason(connected.error));
    }
    co_return false;
  }
  metrics.upstream_connections_opened.add();
  x_upstream = std::move(connected.stream);
  co_return !x_cut;
}

// From the hello to the point where no other server name can be sent in the clear. False: the
// connection has been ended.
asio::awaitable<bool> TlsSession::pass_handshake(const tls::ClientHelloReader& first) {
  expire_after(x_service.x_limits.answer_timeout);
  const std::span<const std::uint8_t> early = first.raw().subspan(first.hello_end());
  bool ok = co_await write(*x_upstream, first.raw().first(first.hello_end()), x_bytes_in);

  std::vector<std::uint8_t> answer;
  tls::ServerAnswer kind = tls::ServerAnswer::kNeedMore;
  const runtime::BufferPool::Block block = x_service.x_pool.acquire();
  while (ok && kind == tls::ServerAnswer::kNeedMore) {
    const net::IoResult read =
        co_await x_upstream->read_some({block.get(), x_service.x_pool.block_size()});
    ok = !read.error;
    if (ok) {
      const std::span<const std::uint8_t> bytes = as_bytes(block.get(), read.bytes);
      answer.insert(answer.end(), bytes.begin(), bytes.end());
      kind = tls::read_server_answer(answer);
    }
  }
  if (ok && kind == tls::ServerAnswer::kNotTls) {
    fail("upstream-not-tls");
    reset_both();
    co_return false;
  }
  ok = ok && co_await write(*x_client, answer, x_bytes_out);
  if (ok && kind == tls::ServerAnswer::kRetry) {
    co_return co_await pass_second_hello(early);
  }
  ok = ok && co_await write(*x_upstream, early, x_bytes_in);
  never();
  if (!ok) {
    if (!x_cut) {
      fail(x_timed_out ? "upstream-timeout" : "upstream-closed");
    }
    reset_both();
  }
  co_return ok;
}

// Early data of the client that came with the first hello belongs before the second one.
asio::awaitable<bool> TlsSession::pass_second_hello(std::span<const std::uint8_t> early) {
  using Reader = tls::ClientHelloReader;
  Reader second(Reader::Which::kSecond);
  const Reader::Status status = second.feed(early);
  // A client cannot know yet what the second hello has to be.
  const bool hasty = status != Reader::Status::kNeedMore;
  if (!hasty && !co_await read_hello(second)) {
    co_return false;
  }
  if (hasty || second.hello().server_name != x_name) {
    x_service.x_worker.metrics().tls_hellos_refused.add();
    x_judge->refresh();
    deny(*x_judge->judge(std::nullopt).rule, hasty ? "hello-early" : "sni-changed");
    co_await end_with_alert(tls::Alert::kIllegalParameter);
    co_return false;
  }
  expire_after(x_service.x_limits.answer_timeout);
  const bool ok = co_await write(*x_upstream, second.raw(), x_bytes_in);
  never();
  if (!ok) {
    if (!x_cut) {
      fail("upstream-closed");
    }
    reset_both();
  }
  co_return ok;
}

asio::awaitable<void> TlsSession::relay() {
  expire_after(x_service.x_limits.idle_timeout);
  const net::RelayResult result =
      co_await net::relay(*x_client, *x_upstream, x_service.x_pool,
                          [this] { expire_after(x_service.x_limits.idle_timeout); });
  x_bytes_in += result.bytes_in;
  x_bytes_out += result.bytes_out;
  never();
  if (result.clean) {
    x_client->close();
    x_upstream->close();
    co_return;
  }
  if (!x_cut) {
    x_reason = x_timed_out ? "idle-timeout" : "reset";
  }
  reset_both();
}

asio::awaitable<bool> TlsSession::write(net::Stream& stream, std::span<const std::uint8_t> bytes,
                                        std::uint64_t& counter) {
  net::Gather gather{as_text(bytes)};
  net::ErrorCode error;
  if (!net::write_now(stream, gather, error)) {
    error = co_await net::write_rest(stream, gather);
  }
  counter += error ? 0 : bytes.size();
  co_return !error && !x_cut && !x_timed_out;
}

asio::awaitable<void> TlsSession::end_with_alert(tls::Alert alert) {
  if (x_upstream) {
    x_upstream->abort();
  }
  x_admitted = false;
  x_lingering = true;
  expire_after(net::kLingerTime);
  const auto record = tls::alert_record(alert);
  if (co_await write(*x_client, record, x_bytes_out)) {
    const runtime::BufferPool::Block block = x_service.x_pool.acquire();
    co_await net::linger_close(*x_client, {block.get(), x_service.x_pool.block_size()},
                               x_timed_out);
  } else {
    x_client->close();
  }
  never();
}

bool TlsSession::allowed_now() {
  const TlsJudge::Need need = x_judge->refresh();
  const policy::L7Decision decision = x_judge->judge(x_name);
  if (!decision.allowed) {
    deny(*decision.rule, decision.reason);
    return false;
  }
  if (need == TlsJudge::Need::kServerName && !x_reads_hello) {
    // Its name went by unread.
    deny(*decision.rule, "sni-unknown");
    return false;
  }
  return true;
}

// What an audited policy would refuse is passed on, and told.
void TlsSession::note_audit() {
  const policy::L7Decision decision = x_judge->judge(x_name);
  if (decision.allowed && decision.audit) {
    deny(*decision.rule, decision.reason);
    x_verdict = AccessVerdict::kAudit;
  }
}

void TlsSession::policy_changed() {
  if (!x_admitted || x_cut || allowed_now()) {
    return;
  }
  x_cut = true;
  x_service.x_worker.metrics().tls_policy_resets.add();
  reset_both();
}

void TlsSession::deny(const policy::RuleRef& rule, std::string_view reason) {
  x_verdict = AccessVerdict::kDenied;
  x_denied_by = rule.label;
  x_reason = reason;
}

void TlsSession::fail(std::string_view reason) {
  x_verdict = AccessVerdict::kError;
  x_reason = reason;
}

void TlsSession::reset_both() {
  x_client->abort();
  if (x_upstream) {
    x_upstream->abort();
  }
}

void TlsSession::record() {
  AccessRecord record;
  record.time = x_time;
  record.verdict = x_verdict;
  record.protocol = x_reads_hello ? "tls" : "tcp";
  x_judge->describe(record);
  if (x_name) {
    record.host = *x_name;
  }
  record.denied_by = x_denied_by;
  record.reason = x_reason;
  record.bytes_in = x_bytes_in;
  record.bytes_out = x_bytes_out;
  record.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - x_start);
  WorkerMetrics& metrics = x_service.x_worker.metrics();
  metrics.tls_connections[static_cast<std::size_t>(x_verdict)].add();
  if (!x_service.x_access_log.write(x_service.x_worker.index(), record)) {
    metrics.access_log_lost.add();
  }
}

void TlsSession::on_deadline() {
  x_timed_out = true;
  if (x_lingering) {
    x_client->close();
  } else {
    reset_both();
  }
}

} // namespace weir::session
