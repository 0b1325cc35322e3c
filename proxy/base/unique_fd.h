// Owns a file descriptor. Move only; closes on destruction.
#pragma once

#include <unistd.h>

#include <utility>

namespace weir {

class UniqueFd {
public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : x_fd(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : x_fd(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return x_fd; }
  [[nodiscard]] bool valid() const { return x_fd >= 0; }
  [[nodiscard]] int release() { return std::exchange(x_fd, -1); }
  void reset(int fd = -1) {
    if (x_fd >= 0 && x_fd != fd) {
      ::close(x_fd);
    }
    x_fd = fd;
  }

private:
  int x_fd = -1;
};

} // namespace weir
