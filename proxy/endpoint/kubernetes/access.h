// Where the API server is and who we are to it. Tokens, keys and the authority are files that
// rotate, so they are read again for every connection and kept nowhere.
//
// Control thread; reads small local files.
#pragma once

#include "proxy/base/result.h"

#include <string>

namespace weir::endpoint::kubernetes {

struct Access {
  bool tls = true;
  std::string host, port;
  std::string ca;               // PEM; empty: the system's authorities
  std::string token;            // bearer; empty: none
  std::string certificate, key; // PEM; empty: none
};

// `kubeconfig` empty: a pod's own service account. A kubeconfig is used with its current context;
// tokens and certificates, inline or as files. Helpers that would have to be run (exec) and
// switches that turn checks off are refused, and so are secrets over plain HTTP.
Result<Access> read_access(const std::string& kubeconfig);

} // namespace weir::endpoint::kubernetes
