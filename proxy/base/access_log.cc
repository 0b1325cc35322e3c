#include "proxy/base/access_log.h"

#include "proxy/base/check.h"
#include "proxy/base/log.h"
#include "proxy/base/unique_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace weir {
namespace {

constexpr std::size_t kRingSize = 1024 * 1024;
// After the first line the writer waits this long for more, so that a busy worker pays for no
// wake-up and the kernel for few writes.
constexpr int kGatherMs = 10;
// Once the process ends, a reader that does not read gets this long.
constexpr int kFarewellMs = 1000;

// Bytes from one worker to the writer thread, whole lines only: one producer, one consumer.
class Ring {
public:
  Ring() : x_bytes(std::make_unique_for_overwrite<char[]>(kRingSize)) {}

  // Producer. False: no room.
  bool push(std::string_view line) {
    const std::size_t tail = x_tail.load(std::memory_order_relaxed);
    if (kRingSize - (tail - x_head.load(std::memory_order_acquire)) < line.size()) {
      return false;
    }
    const std::size_t at = tail % kRingSize;
    const std::size_t first = std::min(line.size(), kRingSize - at);
    std::memcpy(x_bytes.get() + at, line.data(), first);
    std::memcpy(x_bytes.get(), line.data() + first, line.size() - first);
    // Sequentially consistent: see Writer::wake().
    x_tail.store(tail + line.size(), std::memory_order_seq_cst);
    return true;
  }
  // Producer.
  [[nodiscard]] bool half_full() const {
    return x_tail.load(std::memory_order_relaxed) - x_head.load(std::memory_order_relaxed) >
           kRingSize / 2;
  }

  // Consumer: up to where it may read.
  [[nodiscard]] std::size_t tail() const { return x_tail.load(std::memory_order_seq_cst); }
  [[nodiscard]] bool empty() const { return tail() == x_head.load(std::memory_order_relaxed); }
  // Consumer: the next bytes up to `tail` that lie in one piece.
  [[nodiscard]] std::string_view piece(std::size_t tail) const {
    const std::size_t head = x_head.load(std::memory_order_relaxed);
    const std::size_t at = head % kRingSize;
    return {x_bytes.get() + at, std::min(tail - head, kRingSize - at)};
  }
  void pop(std::size_t count) {
    x_head.store(x_head.load(std::memory_order_relaxed) + count, std::memory_order_release);
  }

private:
  std::unique_ptr<char[]> x_bytes;
  // Counts of all bytes ever; each on a cache line of its own.
  alignas(64) std::atomic<std::size_t> x_tail{0};
  alignas(64) std::atomic<std::size_t> x_head{0};
};

struct OpenFile {
  UniqueFd fd;
  // Not a regular file: a pipe or terminal, whose reader may have stopped reading.
  bool may_block = false;
};

Result<OpenFile> open_file(const std::string& path) {
  const bool own_output = path == "/dev/stdout";
  // Non-blocking: opening a FIFO that nobody reads is an error, not a wait.
  UniqueFd fd(own_output ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                         : ::open(path.c_str(),
                                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                                  0640));
  struct stat status{};
  if (!fd.valid() || fstat(fd.get(), &status) != 0) {
    return errno_error("access log " + path);
  }
  return OpenFile{std::move(fd), !S_ISREG(status.st_mode)};
}

class FileAccessLog final : public AccessLog {
public:
  FileAccessLog(std::string path, OpenFile file, UniqueFd event, unsigned writers,
                const Options& options)
      : x_path(std::move(path)), x_options(options), x_event(std::move(event)),
        x_file(std::move(file)), x_slots(writers), x_thread([this] { run(); }) {}

  ~FileAccessLog() override {
    x_stopping.store(true);
    signal();
    x_thread.join();
  }

  bool write(unsigned writer, const AccessRecord& record) override {
    WEIR_CHECK(writer < x_slots.size());
    Slot& slot = x_slots[writer];
    slot.line.clear();
    if (!within_budget(slot, record)) {
      return true;
    }
    format(record, slot.line);
    if (!slot.ring.push(slot.line)) {
      return false;
    }
    wake(slot.ring);
    return true;
  }

  void flush() override {
    std::unique_lock lock(x_mutex);
    const std::uint64_t mine = ++x_flush_wanted;
    signal();
    x_flushed.wait(lock, [&] { return x_flush_done >= mine; });
  }

  Result<void> reopen() override {
    if (x_path == "/dev/stdout") {
      return {};
    }
    auto opened = open_file(x_path);
    if (!opened) {
      return std::move(opened).error();
    }
    const std::lock_guard lock(x_mutex);
    x_next_file = std::move(*opened);
    return {};
  }

private:
  enum class State : int { kAwake, kGathering, kSleeping };

  struct Slot {
    Ring ring;
    std::string line; // formatted here, then copied: one allocation for all lines
    std::chrono::seconds second{};
    std::uint32_t denials = 0; // written in that second
    std::uint64_t left_out = 0;
  };

  void format(const AccessRecord& record, std::string& line) const {
    if (x_options.format == Options::Format::kEnvoy) {
      format_envoy_record(record, line);
    } else {
      format_access_record(record, line);
    }
  }

  // A second's first record tells what the second before left out.
  bool within_budget(Slot& slot, const AccessRecord& record) {
    const auto second = std::chrono::floor<std::chrono::seconds>(record.time.time_since_epoch());
    if (second != slot.second) {
      slot.second = second;
      slot.denials = 0;
      if (slot.left_out > 0) {
        AccessRecord summary;
        summary.time = record.time;
        summary.verdict = AccessVerdict::kDenied;
        summary.reason = "log-limit";
        summary.lines_left_out = std::exchange(slot.left_out, 0);
        format(summary, slot.line);
      }
    }
    const bool limited =
        record.verdict == AccessVerdict::kDenied ||
        (record.verdict == AccessVerdict::kError && record.status.value_or(0) < 500);
    if (!limited || slot.denials++ < x_options.max_denials_per_second) {
      return true;
    }
    ++slot.left_out;
    return false;
  }

  // Either the writer's look at the ring comes after the line, or this look at the state comes
  // after the writer went to sleep: both are sequentially consistent, so no line is left lying.
  void wake(const Ring& ring) {
    State state = x_state.load(std::memory_order_seq_cst);
    if (state == State::kSleeping || (state == State::kGathering && ring.half_full())) {
      if (x_state.compare_exchange_strong(state, State::kAwake)) {
        signal();
      }
    }
  }

  void signal() {
    const std::uint64_t one = 1;
    // Cannot fail but by overflow, and then it is readable anyway.
    static_cast<void>(::write(x_event.get(), &one, sizeof one));
  }

  // True when the event came, false after the timeout (-1: never).
  bool wait_for_event(int timeout_ms) {
    pollfd waited{x_event.get(), POLLIN, 0};
    if (poll(&waited, 1, timeout_ms) <= 0) {
      return false;
    }
    std::uint64_t count = 0;
    static_cast<void>(::read(x_event.get(), &count, sizeof count));
    return true;
  }

  void run() {
    // Signals are the main thread's; a reader that went away is EPIPE here, not SIGPIPE.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    while (true) {
      const bool stopping = x_stopping.load();
      const std::uint64_t wanted = flush_wanted();
      drain();
      finish_flush(wanted);
      if (stopping) {
        return;
      }
      x_state.store(State::kSleeping, std::memory_order_seq_cst);
      if (all_empty() && flush_wanted() == wanted && !x_stopping.load()) {
        wait_for_event(-1);
      }
      x_state.store(State::kGathering, std::memory_order_seq_cst);
      if (!x_stopping.load() && flush_wanted() == wanted) {
        wait_for_event(kGatherMs);
      }
      x_state.store(State::kAwake, std::memory_order_seq_cst);
    }
  }

  std::uint64_t flush_wanted() {
    const std::lock_guard lock(x_mutex);
    return x_flush_wanted;
  }

  void finish_flush(std::uint64_t wanted) {
    {
      const std::lock_guard lock(x_mutex);
      x_flush_done = wanted;
    }
    x_flushed.notify_all();
  }

  [[nodiscard]] bool all_empty() const {
    for (const Slot& slot : x_slots) {
      if (!slot.ring.empty()) {
        return false;
      }
    }
    return true;
  }

  void drain() {
    for (Slot& slot : x_slots) {
      const std::size_t tail = slot.ring.tail();
      // After the tail: a line that was written after reopen() returned goes to the new file.
      take_next_file();
      bool good = true;
      for (auto piece = slot.ring.piece(tail); !piece.empty(); piece = slot.ring.piece(tail)) {
        // After a failure the rest goes as well: it may begin inside a line.
        good = good && write_out(piece);
        slot.ring.pop(piece.size());
      }
    }
  }

  void take_next_file() {
    const std::lock_guard lock(x_mutex);
    if (x_next_file) {
      x_file = std::move(*x_next_file);
      x_next_file.reset();
      x_last = '\n';
      x_torn = false;
    }
  }

  bool write_out(std::string_view bytes) {
    if (x_torn && !write_fully("\n")) {
      return false;
    }
    x_torn = false;
    return write_fully(bytes);
  }

  bool write_fully(std::string_view bytes) {
    while (!bytes.empty()) {
      if (x_file.may_block && !wait_writable()) {
        return false; // the end; nothing follows
      }
      // Up to PIPE_BUF a pipe that polls as writable takes it without blocking.
      const std::size_t size =
          x_file.may_block ? std::min<std::size_t>(bytes.size(), PIPE_BUF) : bytes.size();
      const ssize_t written = ::write(x_file.fd.get(), bytes.data(), size);
      if (written <= 0) {
        if (written < 0 && (errno == EINTR || errno == EAGAIN)) {
          continue;
        }
        report_failure(written < 0 ? errno : EIO);
        x_torn = x_last != '\n';
        return false;
      }
      x_last = bytes[static_cast<std::size_t>(written) - 1];
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    x_failing = false;
    return true;
  }

  // False when the process ends and the reader still does not read.
  bool wait_writable() {
    while (true) {
      std::array<pollfd, 2> waited = {{{x_file.fd.get(), POLLOUT, 0}, {x_event.get(), POLLIN, 0}}};
      const bool stopping = x_stopping.load();
      const int ready = stopping ? poll(waited.data(), 1, kFarewellMs) : poll(waited.data(), 2, -1);
      if (waited[0].revents != 0) {
        return true; // an error shows in the write
      }
      if (stopping && ready == 0) {
        return false;
      }
      if (waited[1].revents != 0) {
        std::uint64_t count = 0;
        static_cast<void>(::read(x_event.get(), &count, sizeof count));
      }
    }
  }

  // Once, until it works again: a full disk must not fill the process's own log as well.
  void report_failure(int number) {
    if (!x_failing) {
      x_failing = true;
      log::warning("access log {}: lines are lost: {}", x_path, std::strerror(number));
    }
  }

  const std::string x_path;
  const Options x_options;
  const UniqueFd x_event;
  std::atomic<State> x_state{State::kAwake};
  std::atomic<bool> x_stopping{false};

  // The writer thread's own.
  OpenFile x_file;
  char x_last = '\n';  // the last byte written
  bool x_torn = false; // a failure left the last line without its end
  bool x_failing = false;

  std::mutex x_mutex;
  std::condition_variable x_flushed;
  std::uint64_t x_flush_wanted = 0, x_flush_done = 0;
  std::optional<OpenFile> x_next_file;

  std::vector<Slot> x_slots; // never resized: a worker holds a reference into it
  std::thread x_thread;      // last: it uses all of the above
};

} // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path, unsigned writers,
                                                   const Options& options) {
  auto file = open_file(path);
  if (!file) {
    return std::move(file).error();
  }
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) {
    return errno_error("access log: eventfd");
  }
  return std::make_unique<FileAccessLog>(path, std::move(*file), std::move(event), writers,
                                         options);
}

} // namespace weir
