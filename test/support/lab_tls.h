// Certificates and a server that has them, for labs with TLS. Whatever cannot be made fails the
// test that is running. Thread: one.
#pragma once

#include "test/support/lab.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace weir::test {

// An authority of our own, and certificates by it.
class Authority {
public:
  explicit Authority(std::filesystem::path folder) : x_folder(std::move(folder)) {
    std::filesystem::create_directories(x_folder);
    openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", path("ca.key"), "-out", path("ca.crt"), "-days", "2", "-subj",
             "/CN=" + x_folder.filename().string()});
  }
  // FOLDER/NAME.crt and NAME.key, good for these names: "DNS:a.test,IP:127.0.0.1".
  void issue(const std::string& name, const std::string& names, const std::string& days = "2") {
    write_file(path(name + ".ext"), "subjectAltName=" + names + "\n");
    openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
             path(name + ".key"), "-out", path(name + ".csr"), "-subj", "/CN=test"});
    openssl({"x509", "-req", "-in", path(name + ".csr"), "-CA", path("ca.crt"), "-CAkey",
             path("ca.key"), "-CAcreateserial", "-out", path(name + ".crt"), "-days", days,
             "-extfile", path(name + ".ext")});
  }
  [[nodiscard]] std::string path(const std::string& file) const { return x_folder / file; }

private:
  static void openssl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "openssl");
    const Outcome outcome = run({.argv = arguments});
    INFO(outcome.text());
    REQUIRE(outcome.exit_code == 0);
  }
  std::filesystem::path x_folder;
};

// nginx with TLS and a certificate that is on disk; HTTP/1.1, and HTTP/2 where asked for.
class TlsServer {
public:
  TlsServer(const NetNs* where, const std::filesystem::path& folder, const std::string& certificate,
            std::uint16_t port, bool http2)
      : x_log(folder / "access.log") {
    std::filesystem::create_directories(folder);
    std::string config = "daemon off;\npid " + (folder / "pid").string() + ";\nerror_log " +
                         (folder / "error.log").string() +
                         ";\nevents {}\nhttp {\n  log_format line '$server_protocol "
                         "$request_method $request_uri $status';\n  access_log " +
                         x_log.string() + " line;\n";
    for (const char* temporary : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      config +=
          std::string("  ") + temporary + "_temp_path " + (folder / temporary).string() + ";\n";
    }
    config += "  server {\n";
    const std::vector<std::string> everywhere = {"", "[::]:"};
    for (const std::string& listen :
         where == nullptr ? std::vector<std::string>{"127.0.0.1:"} : everywhere) {
      config +=
          "    listen " + listen + std::to_string(port) + " ssl" + (http2 ? " http2" : "") + ";\n";
    }
    config += "    ssl_certificate " + certificate + ".crt;\n    ssl_certificate_key " +
              certificate + ".key;\n    location / { return 200 \"hello\\n\"; }\n  }\n}\n";
    write_file(folder / "nginx.conf", config);
    const std::vector<std::string> argv = {"nginx", "-p", folder, "-c", folder / "nginx.conf"};
    x_process = where == nullptr ? Process::start({.argv = argv, .output = folder / "output"})
                                 : where->start(argv, folder / "output");
    REQUIRE(eventually([&] { return !read_file(folder / "pid").empty(); }));
  }
  [[nodiscard]] std::string log() const { return read_file(x_log); }

private:
  std::filesystem::path x_log;
  std::optional<Process> x_process;
};

} // namespace weir::test
