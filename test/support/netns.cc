#include "test/support/netns.h"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

namespace weir::test {
namespace {

constexpr std::string_view kPrefix = "wt-";
constexpr const char* kNamespaces = "/run/netns";

void must(const Command& command, const std::string& context) {
  const Outcome outcome = run(command);
  if (outcome.exit_code != 0) {
    throw std::runtime_error(context + ": " + outcome.text());
  }
}

bool process_is_gone(std::string_view name) {
  pid_t pid = 0;
  const std::string_view digits = name.substr(kPrefix.size());
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  return error == std::errc() && end != digits.data() && *end == '-' && pid > 0 &&
         ::kill(pid, 0) != 0 && errno == ESRCH;
}

// What a killed test left: namespaces and folders, a bpffs inside them included. Only names of this
// fixture whose process is no more.
void sweep_leftovers() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kNamespaces, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPrefix) && process_is_gone(name)) {
      run({.argv = {"ip", "netns", "delete", name}});
    }
  }
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::temp_directory_path(), error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPrefix) && process_is_gone(name)) {
      ::umount2((entry.path() / "bpffs").c_str(), MNT_DETACH);
      std::filesystem::remove_all(entry.path(), error);
    }
  }
}

std::string sysctl_path(std::string key) {
  for (char& c : key) {
    if (c == '.') {
      c = '/';
    }
  }
  return "/proc/sys/" + key;
}

} // namespace

void require_root() {
  if (::geteuid() == 0) {
    return;
  }
  const char* ci = std::getenv("CI");
  if (ci != nullptr && std::string_view(ci) == "true") {
    FAIL("needs root, and CI=true forbids to skip");
  }
  SKIP("needs root");
}

std::string unique_name() {
  static std::atomic<unsigned> counter{0};
  return std::string(kPrefix) + std::to_string(::getpid()) + "-" + std::to_string(++counter);
}

NetNs::NetNs() : x_name(unique_name()) {
  static const bool kSwept = (sweep_leftovers(), true);
  static_cast<void>(kSwept);
  must({.argv = {"ip", "netns", "add", x_name}}, "ip netns add");
  const std::string path = std::string(kNamespaces) + "/" + x_name;
  x_fd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!x_fd.valid()) {
    throw std::system_error(errno, std::generic_category(), path);
  }
  ip({"link set lo up"});
  for (const char* which : {"all", "default"}) {
    sysctl(std::string("net.ipv6.conf.") + which + ".accept_dad", "0");
    sysctl(std::string("net.ipv6.conf.") + which + ".accept_ra", "0");
  }
}

NetNs::~NetNs() {
  try {
    weir::test::run({.argv = {"ip", "netns", "delete", x_name}});
  } catch (const std::exception& error) {
    UNSCOPED_INFO("namespace " << x_name << " stays: " << error.what());
  }
}

void NetNs::ip(const std::vector<std::string>& lines) const {
  const std::string file =
      std::filesystem::temp_directory_path() / (unique_name() + "-ip"); // ip reads no argument list
  {
    std::ofstream stream(file);
    for (const std::string& line : lines) {
      stream << line << '\n';
    }
  }
  const Outcome outcome = run({"ip", "-batch", file});
  std::filesystem::remove(file);
  if (outcome.exit_code != 0) {
    throw std::runtime_error("ip in " + x_name + ": " + outcome.text());
  }
}

void NetNs::sysctl(const std::string& key, const std::string& value) const {
  on_thread([&] {
    std::ofstream stream(sysctl_path(key));
    stream << value;
    stream.flush();
    if (!stream) {
      throw std::runtime_error("sysctl " + key);
    }
  });
}

std::string NetNs::sysctl(const std::string& key) const {
  return on_thread([&] {
    std::ifstream stream(sysctl_path(key));
    std::string value;
    std::getline(stream, value);
    return value;
  });
}

Outcome NetNs::run(std::vector<std::string> argv, std::chrono::milliseconds limit) const {
  return weir::test::run(
      {.argv = std::move(argv), .net_namespace = fd(), .resolv_conf = x_resolv_conf}, limit);
}

Process NetNs::start(std::vector<std::string> argv, std::string output) const {
  return Process::start({.argv = std::move(argv),
                         .net_namespace = fd(),
                         .resolv_conf = x_resolv_conf,
                         .output = std::move(output)});
}

void NetNs::enter() const {
  if (::setns(x_fd.get(), CLONE_NEWNET) != 0) {
    throw std::system_error(errno, std::generic_category(), "setns " + x_name);
  }
}

void connect(const VethEnd& a, const VethEnd& b) {
  const auto address = [](const VethEnd& end) {
    return end.mac.empty() ? std::string() : " address " + end.mac;
  };
  a.where.ip({"link add " + a.interface + address(a) + " type veth peer name " + b.interface +
                  address(b) + " netns " + b.where.name(),
              "link set " + a.interface + " up"});
  b.where.ip({"link set " + b.interface + " up"});
}

} // namespace weir::test
