// A real etcd and kube-apiserver on the loopback of a namespace, and what a test does to them:
// objects as JSON or YAML, tokens, stopping and starting. No controllers run beside them, so what a
// cluster's would write (addresses of pods, slices of services) the test writes itself.
//
// Ownership: both end with the object. Thread: one. Errors: what cannot be set up throws.
#pragma once

#include "test/support/netns.h"

#include <boost/json/value.hpp>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weir::test {

// Fails the test when there is no kube-apiserver and CI=true, else skips it.
void require_kube_api();

class KubeApi {
public:
  // `where` outlives it. Starts both, and makes the account weir/weir with the rights that
  // examples/kubernetes gives it.
  KubeApi(const NetNs& where, std::filesystem::path folder);

  struct Answer {
    int status = 0;
    std::string body;
    [[nodiscard]] boost::json::value json() const;
  };
  // As the cluster's administrator. A body that begins with `{` is JSON, else YAML; a PATCH of JSON
  // merges, one of YAML is a server-side apply. "JSON-PATCH" is a PATCH of steps (RFC 6902).
  [[nodiscard]] Answer ask(const std::string& method, const std::string& path,
                           const std::string& body = {}) const;
  // The same, and throws unless it was done.
  Answer must(const std::string& method, const std::string& path,
              const std::string& body = {}) const;

  void make_namespace(const std::string& name, const std::map<std::string, std::string>& labels);
  // With its addresses, as kubelet would report them; `more`: further fields of its spec, as JSON
  // members that begin with a comma.
  void make_pod(const std::string& space, const std::string& name,
                const std::map<std::string, std::string>& labels, const std::string& node,
                const std::vector<std::string>& ips, const std::string& more = {});
  void delete_pod(const std::string& space, const std::string& name);
  // By what examples/kubernetes/crds holds.
  void install_kinds();

  // A kubeconfig for weir/weir whose token is in a file; a new token each time.
  [[nodiscard]] std::filesystem::path kubeconfig() const { return x_folder / "kubeconfig"; }
  void write_token();
  // From now on tokens given out before are worth nothing.
  void revoke_tokens();

  void stop_server();  // SIGKILL: connections break
  void start_server(); // and waits until it is ready
  // Forgets all but the newest version of everything.
  void compact();

private:
  void make_keys() const;
  void start_etcd();

  const NetNs& x_where;
  std::filesystem::path x_folder;
  std::string x_admin_token;
  std::optional<Process> x_etcd, x_server;
};

} // namespace weir::test
