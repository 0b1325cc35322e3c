// Runs programs for tests: one that ends by itself (run) and one that stays until it is stopped
// (Process). Knows nothing of namespaces but the descriptor it is given.
//
// Ownership: a Process ends its child when it is destroyed, after a failed assertion too; should
// the test itself be killed, the kernel ends the child with it. So a child lives no longer than the
// thread that started it.
// Thread: any; one object on one thread at a time.
// Errors: what cannot be started throws; how it ended is data for the test to judge.
#pragma once

#include "proxy/base/unique_fd.h"

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace weir::test {

struct Command {
  std::vector<std::string> argv = {}; // argv[0] is looked up in PATH
  int net_namespace = -1;             // entered before exec; only the network namespace changes
  // Stands in for /etc/resolv.conf, seen by this program alone; empty: the machine's own.
  std::string resolv_conf = {};
  std::string output = {}; // file that stdout and stderr are appended to; Process only
};

struct Outcome {
  int exit_code = -1; // 128 + signal when a signal ended it
  std::string out, err;

  // For INFO(): everything there is to see.
  [[nodiscard]] std::string text() const;
};

// Runs to the end and collects what was printed. After `limit` the program is killed, and that
// throws: a test names its own, shorter limits (curl --max-time).
Outcome run(const Command& command, std::chrono::milliseconds limit = std::chrono::seconds(60));

class Process {
public:
  static Process start(const Command& command);
  Process(Process&&) noexcept = default;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  [[nodiscard]] pid_t pid() const { return x_pid; }
  [[nodiscard]] bool running();
  void send_signal(int signal) const;
  // As Outcome::exit_code; nothing when it still runs after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit);
  // SIGTERM, and SIGKILL for one that does not heed it within 10 s.
  int stop();

private:
  Process(pid_t pid, UniqueFd handle) : x_pid(pid), x_handle(std::move(handle)) {}
  void end() noexcept;

  pid_t x_pid = -1;
  UniqueFd x_handle; // pidfd; not valid once the child was reaped
  std::optional<int> x_exit_code;
};

} // namespace weir::test
