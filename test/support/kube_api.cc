#include "test/support/kube_api.h"

#include "test/support/lab.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace weir::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* kServer = "https://127.0.0.1:6443";
constexpr const char* kAccount = "/api/v1/namespaces/weir/serviceaccounts";

std::string server_program() {
  const Outcome where = run({.argv = {WEIR_API_SERVER_SCRIPT, "--where"}});
  return where.exit_code == 0 ? where.out.substr(0, where.out.find('\n')) : "";
}

json::object label_object(const std::map<std::string, std::string>& labels) {
  json::object object;
  for (const auto& [key, value] : labels) {
    object[key] = value;
  }
  return object;
}

} // namespace

void require_kube_api() {
  require_root();
  if (!server_program().empty()) {
    return;
  }
  const char* ci = std::getenv("CI");
  const std::string why = "no kube-apiserver; test/integration/kubernetes/api_server.sh makes one";
  if (ci != nullptr && std::string_view(ci) == "true") {
    FAIL(why);
  }
  SKIP(why);
}

json::value KubeApi::Answer::json() const { return json::parse(body); }

KubeApi::KubeApi(const NetNs& where, fs::path folder)
    : x_where(where), x_folder(std::move(folder)), x_admin_token(unique_name()) {
  fs::create_directories(x_folder);
  make_keys();
  start_etcd();
  start_server();
  const fs::path manifests = WEIR_EXAMPLES "/kubernetes";
  make_namespace("weir", {});
  must("POST", kAccount, R"({"metadata":{"name":"weir"}})");
  const std::string rbac = read_file(manifests / "base" / "rbac.yaml");
  const auto cut = rbac.find("---\n");
  const std::string group = "/apis/rbac.authorization.k8s.io/v1/";
  must("POST", group + "clusterroles", rbac.substr(0, cut));
  must("POST", group + "clusterrolebindings", rbac.substr(cut + 4));
  write_file(kubeconfig(), std::string("apiVersion: v1\nkind: Config\nclusters: [{name: lab, "
                                       "cluster: {server: \"") +
                               kServer +
                               "\", certificate-authority: ca.crt}}]\n"
                               "users: [{name: weir, user: {tokenFile: token}}]\n"
                               "contexts: [{name: lab, context: {cluster: lab, user: weir}}]\n"
                               "current-context: lab\n");
  write_token();
}

void KubeApi::make_keys() const {
  write_file(x_folder / "keys.sh", R"(set -eu
cd "$1"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
key ca
openssl req -x509 -new -key ca.key -days 30 -subj /CN=lab -out ca.crt \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
key server
openssl req -new -key server.key -subj /CN=kube-apiserver -out server.csr
printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1\n' >ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
  -extfile ext -out server.crt
key sa
)");
  const Outcome made = run({.argv = {"sh", x_folder / "keys.sh", x_folder}});
  if (made.exit_code != 0) {
    throw std::runtime_error("openssl: " + made.text());
  }
  // Who asked for what, to see which rights are used.
  write_file(x_folder / "audit.yaml",
             "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [ResponseStarted]\nrules:\n"
             "- {level: Metadata, users: [\"system:serviceaccount:weir:weir\"]}\n"
             "- {level: None}\n");
  write_file(x_folder / "tokens.csv", x_admin_token + ",admin,1,\"system:masters\"\n");
}

void KubeApi::start_etcd() {
  x_etcd =
      x_where.start({"etcd", "--data-dir", x_folder / "etcd", "--listen-client-urls",
                     "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
                     "--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls",
                     "http://127.0.0.1:2380", "--initial-cluster", "default=http://127.0.0.1:2380"},
                    x_folder / "etcd.log");
  const bool healthy = eventually(
      [&] {
        const auto connection =
            HttpConnection::open(x_where, "127.0.0.1", 2379, std::chrono::seconds(2));
        return connection.has_value();
      },
      std::chrono::seconds(60));
  if (!healthy) {
    throw std::runtime_error("etcd: " + read_file(x_folder / "etcd.log"));
  }
}

void KubeApi::start_server() {
  const auto file = [&](const char* name) { return (x_folder / name).string(); };
  x_server = x_where.start(
      {server_program(), "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1",
       "--secure-port=6443", "--insecure-port=0", "--advertise-address=192.0.2.1",
       "--tls-cert-file=" + file("server.crt"), "--tls-private-key-file=" + file("server.key"),
       "--token-auth-file=" + file("tokens.csv"), "--authorization-mode=RBAC",
       "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://lab",
       "--service-account-key-file=" + file("sa.key"),
       "--service-account-signing-key-file=" + file("sa.key"),
       // What it admits by default would wait for controllers that are not there.
       "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
       "--audit-policy-file=" + file("audit.yaml"), "--audit-log-path=" + file("audit.log")},
      x_folder / "apiserver.log");
  const bool ready =
      eventually([&] { return !x_server->running() || ask("GET", "/readyz").body == "ok"; },
                 std::chrono::seconds(120));
  if (!ready || !x_server->running()) {
    throw std::runtime_error("kube-apiserver: " + read_file(x_folder / "apiserver.log"));
  }
}

void KubeApi::stop_server() {
  x_server->send_signal(SIGKILL);
  if (!x_server->wait(std::chrono::seconds(10))) {
    throw std::runtime_error("kube-apiserver outlived SIGKILL");
  }
}

KubeApi::Answer KubeApi::ask(const std::string& method, const std::string& path,
                             const std::string& body) const {
  const bool is_json = body.starts_with("{");
  std::string type = is_json ? "application/json" : "application/yaml";
  if (method == "PATCH") {
    type = is_json ? "application/merge-patch+json" : "application/apply-patch+yaml";
  }
  const bool steps = method == "JSON-PATCH";
  if (steps) {
    type = "application/json-patch+json";
  }
  std::vector<std::string> argv = {"curl",
                                   "-q",
                                   "-sS",
                                   "--noproxy",
                                   "*",
                                   "--max-time",
                                   "20",
                                   "--cacert",
                                   x_folder / "ca.crt",
                                   "-H",
                                   "Authorization: Bearer " + x_admin_token,
                                   "-H",
                                   "Content-Type: " + type,
                                   "-X",
                                   steps ? "PATCH" : method,
                                   "-w",
                                   "\n%{http_code}"};
  if (!body.empty()) {
    argv.insert(argv.end(), {"--data-binary", body});
  }
  argv.push_back(kServer + path);
  const Outcome outcome = x_where.run(std::move(argv));
  const auto line = outcome.out.rfind('\n');
  if (line == std::string::npos) {
    throw std::runtime_error("curl: " + outcome.text());
  }
  return {std::stoi(outcome.out.substr(line + 1)), outcome.out.substr(0, line)};
}

KubeApi::Answer KubeApi::must(const std::string& method, const std::string& path,
                              const std::string& body) const {
  Answer answer = ask(method, path, body);
  if (answer.status / 100 != 2) {
    throw std::runtime_error(method + " " + path + ": " + std::to_string(answer.status) + " " +
                             answer.body + "\n" + body);
  }
  return answer;
}

void KubeApi::make_namespace(const std::string& name,
                             const std::map<std::string, std::string>& labels) {
  auto all = labels;
  all["kubernetes.io/metadata.name"] = name; // servers of 1.21 and newer add it themselves
  must("POST", "/api/v1/namespaces",
       json::serialize(json::object{
           {"metadata", json::object{{"name", name}, {"labels", label_object(all)}}}}));
}

void KubeApi::make_pod(const std::string& space, const std::string& name,
                       const std::map<std::string, std::string>& labels, const std::string& node,
                       const std::vector<std::string>& ips, const std::string& more) {
  const std::string path = "/api/v1/namespaces/" + space + "/pods";
  must(
      "POST", path,
      R"({"metadata":{"name":")" + name + R"(","labels":)" + json::serialize(label_object(labels)) +
          R"(},"spec":{"nodeName":")" + node +
          R"(","containers":[{"name":"c","image":"x","ports":[{"name":"http","containerPort":80}]}])" +
          more + "}}");
  json::array addresses;
  for (const auto& ip : ips) {
    addresses.push_back(json::object{{"ip", ip}});
  }
  must("PATCH", path + "/" + name + "/status",
       json::serialize(json::object{{"status", json::object{{"phase", "Running"},
                                                            {"podIP", ips.at(0)},
                                                            {"podIPs", std::move(addresses)}}}}));
}

void KubeApi::delete_pod(const std::string& space, const std::string& name) {
  must("DELETE", "/api/v1/namespaces/" + space + "/pods/" + name + "?gracePeriodSeconds=0");
}

void KubeApi::install_kinds() {
  const std::string text = read_file(fs::path(WEIR_EXAMPLES) / "kubernetes/crds/crds.yaml");
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find("---\n", begin), text.size());
    must("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
         text.substr(begin, end - begin));
    begin = end + 4;
  }
  const bool served = eventually(
      [&] {
        for (const char* kind :
             {"ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumcidrgroups"}) {
          if (ask("GET", std::string("/apis/cilium.io/v2/") + kind).status != 200) {
            return false;
          }
        }
        return true;
      },
      std::chrono::seconds(30));
  if (!served) {
    throw std::runtime_error("the kinds are not served");
  }
}

void KubeApi::write_token() {
  const auto answer =
      must("POST", std::string(kAccount) + "/weir/token",
           R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":)"
           R"({"audiences":["https://lab"]}})");
  // As kubelet exchanges a projected token: at once.
  write_file(x_folder / "token.new",
             json::value_to<std::string>(answer.json().at("status").at("token")));
  fs::rename(x_folder / "token.new", x_folder / "token");
}

void KubeApi::revoke_tokens() {
  must("DELETE", std::string(kAccount) + "/weir");
  must("POST", kAccount, R"({"metadata":{"name":"weir"}})");
}

void KubeApi::compact() {
  const auto etcd = [&](const std::string& path, const std::string& body) {
    const Outcome outcome = x_where.run({"curl", "-q", "-sSf", "--noproxy", "*", "-d", body,
                                         "http://127.0.0.1:2379/v3/kv/" + path});
    if (outcome.exit_code != 0) {
      throw std::runtime_error("etcd: " + outcome.text());
    }
    return json::parse(outcome.out);
  };
  const auto newest = etcd("range", R"({"key":"AA=="})").at("header").at("revision");
  etcd("compaction", json::serialize(json::object{{"revision", newest}, {"physical", true}}));
}

} // namespace weir::test
