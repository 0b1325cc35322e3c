// Network namespaces for tests: made, entered, and gone again when the test ends, failed or not.
//
// Ownership: a NetNs is the namespace; its destructor deletes the name, and the kernel the rest
// with the last process in it. Names carry the test's pid, so tests run side by side; namespaces of
// a test that was killed are swept by the next one. Thread: any. A thread that enters a namespace
// never comes back: on_thread() gives the work a thread of its own. Errors: anything that cannot be
// set up throws. Source: ip-netns(8), setns(2). `ip netns exec` also remounts /sys, which would
// hide a bpffs; here only the network namespace is changed.
#pragma once

#include "proxy/base/unique_fd.h"
#include "test/support/assertion_thread.h"
#include "test/support/process.h"

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace weir::test {

// Skips the test when it does not run as root; where CI=true that is a failure instead, so that
// nothing is ever left out unseen. First line of every test that needs it.
void require_root();

// A name that no other test process uses: "wt-PID-N".
std::string unique_name();

class NetNs {
public:
  NetNs();
  NetNs(const NetNs&) = delete;
  NetNs& operator=(const NetNs&) = delete;
  ~NetNs();

  [[nodiscard]] const std::string& name() const { return x_name; }
  [[nodiscard]] int fd() const { return x_fd.get(); }

  // Programs run inside see this instead of /etc/resolv.conf.
  void set_resolv_conf(std::string path) { x_resolv_conf = std::move(path); }

  // `ip -batch` inside; throws with ip's message when a line fails. One process for all lines.
  void ip(const std::vector<std::string>& lines) const;
  void sysctl(const std::string& key, const std::string& value) const;
  // "" when there is no such key.
  [[nodiscard]] std::string sysctl(const std::string& key) const;

  [[nodiscard]] Outcome run(std::vector<std::string> argv,
                            std::chrono::milliseconds limit = std::chrono::seconds(60)) const;
  [[nodiscard]] Process start(std::vector<std::string> argv, std::string output = {}) const;

  // Calls `work` inside the namespace and hands back its result or exception. A socket made there
  // stays in the namespace and may be used anywhere.
  template <typename Work>
  std::invoke_result_t<Work> on_thread(Work work) const;

private:
  void enter() const; // the calling thread, for good

  std::string x_name;
  UniqueFd x_fd;
  std::string x_resolv_conf;
};

struct VethEnd {
  const NetNs& where;
  std::string interface;
  std::string mac; // empty: the kernel's choice
};

// A veth pair with both ends up, without IPv6 duplicate address detection: addresses work at once.
void connect(const VethEnd& a, const VethEnd& b);

template <typename Work>
std::invoke_result_t<Work> NetNs::on_thread(Work work) const {
  using Value = std::invoke_result_t<Work>;
  const auto await = [this](auto&& body) {
    std::exception_ptr failure;
    std::thread([&, caller_may_assert = may_assert] {
      may_assert = caller_may_assert; // it waits meanwhile
      try {
        enter();
        body();
      } catch (...) {
        failure = std::current_exception();
      }
    }).join();
    if (failure) {
      std::rethrow_exception(failure);
    }
  };
  if constexpr (std::is_void_v<Value>) {
    await(work);
  } else {
    std::optional<Value> value;
    await([&] { value.emplace(work()); });
    return std::move(*value);
  }
}

} // namespace weir::test
