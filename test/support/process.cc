#include "test/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" { // glibc 2.36 forgot to say so itself
#include <sys/pidfd.h>
}

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace weir::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void throw_errno(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

int exit_code_of(const siginfo_t& info) {
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

// Between fork and exec: system calls only, because another thread may have held any lock.
[[noreturn]] void become(const Command& command, char* const* argv, pid_t parent, int out,
                         int err) {
  const auto give_up = [](const char* what) {
    const char* reason = ::strerrordesc_np(errno);
    for (const char* part : {what, ": ", reason != nullptr ? reason : "error", "\n"}) {
      [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, part, std::strlen(part));
    }
    ::_exit(127);
  };
  // The test framework's handlers are not for this process: they would write a report from here.
  for (int signal = 1; signal < NSIG; ++signal) {
    ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(127); // it died before the line above took hold
  }
  if (command.net_namespace >= 0 && ::setns(command.net_namespace, CLONE_NEWNET) != 0) {
    give_up("setns");
  }
  if (!command.resolv_conf.empty()) {
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      give_up("mount namespace");
    }
    if (::mount(command.resolv_conf.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) != 0) {
      give_up("bind /etc/resolv.conf");
    }
  }
  ::execvp(argv[0], argv);
  give_up(argv[0]);
  ::_exit(127);
}

pid_t spawn(const Command& command, int out, int err) {
  std::vector<char*> argv;
  argv.reserve(command.argv.size() + 1);
  for (const std::string& argument : command.argv) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before); // until the child has dropped our handlers
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, STDIN_FILENO);
    become(command, argv.data(), parent, out >= 0 ? out : null, err >= 0 ? err : null);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    throw_errno("fork");
  }
  return pid;
}

struct Pipe {
  UniqueFd read, write;

  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) {
      throw_errno("pipe");
    }
    read.reset(fds[0]);
    write.reset(fds[1]);
  }
};

// Reads both until both are closed. False when the deadline came first.
bool drain_pipes(Pipe& out, Pipe& err, Outcome& outcome, Clock::time_point deadline) {
  pollfd fds[2] = {{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
  std::string* const texts[2] = {&outcome.out, &outcome.err};
  int open_pipes = 2;
  while (open_pipes > 0) {
    const int ready = ::poll(fds, 2, milliseconds_until(deadline));
    if (ready == 0) {
      return false;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) {
        continue;
      }
      char buffer[16384];
      const ssize_t size = ::read(fds[i].fd, buffer, sizeof buffer);
      if (size > 0) {
        texts[i]->append(buffer, static_cast<std::size_t>(size));
      } else if (size == 0 || errno != EINTR) {
        fds[i].fd = -1;
        --open_pipes;
      }
    }
  }
  return true;
}

} // namespace

std::string Outcome::text() const {
  return "exit code " + std::to_string(exit_code) + "\nstdout: " + out + "\nstderr: " + err;
}

Outcome run(const Command& command, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  Pipe out, err;
  Outcome outcome;
  const pid_t pid = spawn(command, out.write.get(), err.write.get());
  out.write.reset();
  err.write.reset();
  const bool ended = drain_pipes(out, err, outcome, deadline);
  if (!ended) {
    ::kill(pid, SIGKILL);
  }
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED);
  outcome.exit_code = exit_code_of(info);
  if (!ended) {
    throw std::runtime_error(command.argv[0] + " did not end in time\n" + outcome.text());
  }
  return outcome;
}

Process Process::start(const Command& command) {
  UniqueFd output;
  if (!command.output.empty()) {
    output.reset(::open(command.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!output.valid()) {
      throw_errno("open " + command.output);
    }
  }
  const pid_t pid = spawn(command, output.get(), output.get());
  UniqueFd handle(::pidfd_open(pid, 0));
  if (!handle.valid()) {
    throw_errno("pidfd_open");
  }
  return {pid, std::move(handle)};
}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    end();
    x_pid = other.x_pid;
    x_handle = std::move(other.x_handle);
    x_exit_code = other.x_exit_code;
  }
  return *this;
}

Process::~Process() { end(); }

void Process::end() noexcept {
  if (x_handle.valid()) {
    stop();
  }
}

bool Process::running() { return !wait(std::chrono::milliseconds(0)).has_value(); }

void Process::send_signal(int signal) const {
  if (x_handle.valid()) {
    ::pidfd_send_signal(x_handle.get(), signal, nullptr, 0);
  }
}

std::optional<int> Process::wait(std::chrono::milliseconds limit) {
  if (!x_handle.valid()) {
    return x_exit_code;
  }
  const auto deadline = Clock::now() + limit;
  pollfd fd{x_handle.get(), POLLIN, 0};
  while (::poll(&fd, 1, milliseconds_until(deadline)) < 0 && errno == EINTR) {
  }
  if ((fd.revents & POLLIN) == 0) {
    return std::nullopt;
  }
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(x_pid), &info, WEXITED);
  x_handle.reset();
  x_exit_code = exit_code_of(info);
  return x_exit_code;
}

int Process::stop() {
  send_signal(SIGTERM);
  if (const auto code = wait(std::chrono::seconds(10))) {
    return *code;
  }
  send_signal(SIGKILL);
  return wait(std::chrono::seconds(10)).value_or(-1);
}

} // namespace weir::test
