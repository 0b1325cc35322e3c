// What the HTTP sessions of one worker share. On the worker's thread only.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/base/metrics.h"
#include "proxy/config/config.h"
#include "proxy/net/connector.h"
#include "proxy/net/stream.h"
#include "proxy/runtime/buffer_pool.h"
#include "proxy/runtime/deadline.h"
#include "proxy/runtime/drain.h"
#include "proxy/session/http_judge.h"
#include "proxy/session/policy_watch.h"

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <memory>
#include <string>

namespace weir::session {

struct HttpService;

// Takes over a connection that begins with HTTP/2's preface; `received` begins with it.
using Http2Handler = std::function<boost::asio::awaitable<void>(
    HttpService& service, std::unique_ptr<net::Stream> client, std::string received,
    std::unique_ptr<HttpJudge> judge, std::unique_ptr<net::Connector> connector)>;

// Outlives the sessions.
struct HttpService {
  HttpService(const config::Http& http, WorkerMetrics& worker_metrics, AccessLog& log,
              unsigned worker);

  const config::Http& config;
  WorkerMetrics& metrics;
  AccessLog& access_log;
  const unsigned writer; // of the access log
  runtime::Watchdog watchdog;
  runtime::BufferPool pool;
  runtime::DrainList drain_list;
  PolicyWatchers policy_watchers;
  Http2Handler http2; // without one the preface is answered 400
};

} // namespace weir::session
