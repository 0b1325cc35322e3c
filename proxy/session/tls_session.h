// One connection whose TLS server name is judged, or that policy allows as it is: read the
// ClientHello, judge, connect, pass on. Nothing is decrypted and no byte is changed.
//
//   client ──► ClientHello ──► judge ──┬── no ──► alert, end
//                                      └── yes ─► connect ─► hello ─► server's answer ─┐
//   relay ◄── same name? ◄── second ClientHello ◄── HelloRetryRequest ◄────────────────┤
//   relay ◄──────────────────────── ServerHello, alert ◄───────────────────────────────┘
//
// Nothing that follows the hello goes to the server before the server has answered: a client may
// send a second hello, and servers go by the name in that one. It must be the first one's (RFC 8446
// §4.1.2). What is renegotiated later is encrypted and out of reach; OpenSSL and others refuse it.
//
// After a policy change the connection is judged again by the name it gave; no longer allowed, or
// never asked for a name that is wanted now, both sides are reset. See TlsService for how soon.
//
// Owned by the coroutine serve(), which runs in the worker's gate; on the worker's thread only.
// Knows nothing of sockets, snapshots or endpoints.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/base/metrics.h"
#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/runtime/buffer_pool.h"
#include "proxy/runtime/deadline.h"
#include "proxy/runtime/worker.h"
#include "proxy/session/tls_judge.h"
#include "proxy/tls/client_hello.h"

#include <boost/asio/awaitable.hpp>
#include <boost/intrusive/list.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir::session {

struct TlsLimits {
  std::chrono::seconds hello_timeout{10};  // from accept to the end of the hello; also the second's
  std::chrono::seconds answer_timeout{30}; // for the server's first record
  std::chrono::seconds idle_timeout{3600}; // no byte either way
  // Where weir ends or begins TLS itself: for each side's handshake.
  std::chrono::seconds handshake_timeout{10};
};

class TlsSession;
// Tagged, because a Deadline has such a hook too.
using TlsSessionHook =
    boost::intrusive::list_base_hook<boost::intrusive::tag<TlsSession>,
                                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

// What the TLS sessions of one worker share; outlives them. Looks at every tick of its watchdog
// whether the worker has a new snapshot, so a policy change reaches running connections within
// Watchdog::kResolution, and costs one comparison a tick while nothing changes.
class TlsService {
public:
  // Worker and log outlive the service.
  TlsService(runtime::Worker& worker, AccessLog& access_log, TlsLimits limits);

  // Once, before the first connection, on the worker's thread.
  void start();

private:
  friend class TlsSession;
  // Notices that the worker has a new snapshot.
  class SnapshotWatch final : public runtime::Deadline {
  public:
    explicit SnapshotWatch(TlsService& service);

  private:
    void on_deadline() override;

    TlsService& x_service;
    std::shared_ptr<const endpoint::Snapshot> x_seen;
  };
  void policy_changed();

  runtime::Worker& x_worker;
  AccessLog& x_access_log;
  const TlsLimits x_limits;
  runtime::Watchdog x_watchdog;
  runtime::BufferPool x_pool;
  boost::intrusive::list<TlsSession, boost::intrusive::base_hook<TlsSessionHook>,
                         boost::intrusive::constant_time_size<false>>
      x_sessions;
  SnapshotWatch x_snapshot_watch;
};

class TlsSession final : private runtime::Deadline, public TlsSessionHook {
public:
  // `hello`: the client's, where it was read already.
  TlsSession(TlsService& service, std::unique_ptr<net::Stream> client,
             std::unique_ptr<TlsJudge> judge, std::unique_ptr<net::Connector> connector,
             std::optional<tls::ClientHelloReader> hello = {});
  ~TlsSession() override;

  static boost::asio::awaitable<void> serve(std::unique_ptr<TlsSession> session);

  void policy_changed();

private:
  boost::asio::awaitable<void> run();
  boost::asio::awaitable<bool> read_hello(tls::ClientHelloReader& reader);
  boost::asio::awaitable<bool> connect_upstream();
  boost::asio::awaitable<bool> pass_handshake(const tls::ClientHelloReader& first);
  boost::asio::awaitable<bool> pass_second_hello(std::span<const std::uint8_t> early);
  boost::asio::awaitable<void> relay();
  boost::asio::awaitable<bool> write(net::Stream& stream, std::span<const std::uint8_t> bytes,
                                     std::uint64_t& counter);
  boost::asio::awaitable<void> end_with_alert(tls::Alert alert);

  // Judges by the newest policy; false: the denial stands in the log's fields.
  bool allowed_now();
  void note_audit();
  void deny(const policy::RuleRef& rule, std::string_view reason);
  void fail(std::string_view reason);
  void reset_both();
  void record();
  void on_deadline() override;

  TlsService& x_service;
  std::unique_ptr<net::Stream> x_client, x_upstream;
  std::unique_ptr<TlsJudge> x_judge;
  std::unique_ptr<net::Connector> x_connector;
  std::optional<tls::ClientHelloReader> x_hello;

  bool x_reads_hello = false; // policy wanted a server name when the connection began
  std::optional<std::string> x_name;
  bool x_admitted = false;  // allowed once; from here on a policy change matters
  bool x_cut = false;       // by a policy change
  bool x_timed_out = false; // a step's deadline has passed: everything is closed
  bool x_lingering = false; // the alert is out, or on its way

  // For the log.
  const std::chrono::system_clock::time_point x_time;
  const std::chrono::steady_clock::time_point x_start;
  AccessVerdict x_verdict = AccessVerdict::kError;
  std::string x_denied_by;
  std::string_view x_reason;
  std::uint64_t x_bytes_in = 0, x_bytes_out = 0;
};

} // namespace weir::session
