// What every session of a worker shares. All of it outlives the worker's gate; used on the
// worker's thread.
#pragma once

#include "proxy/base/access_log.h"
#include "proxy/config/config.h"
#include "proxy/dns/fqdn_cache.h"
#include "proxy/net/short_way.h"
#include "proxy/runtime/worker.h"
#include "redirect-bpf/user/redirector.h"

namespace weir::session {

struct SessionContext {
  runtime::Worker& worker;
  const config::Http& http;
  dns::FqdnCache& fqdn_cache;
  AccessLog& access_log;
  redirect::Redirector* redirector = nullptr; // null: no flow is redirected
  const config::Dns dns = {};
  const net::ShortWay* short_way = nullptr; // null: there is none
};

} // namespace weir::session
