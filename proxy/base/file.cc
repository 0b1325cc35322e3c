#include "proxy/base/file.h"

#include "proxy/base/unique_fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

namespace weir {

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    return errno_error("open " + path);
  }
  std::string content;
  std::array<char, 64 * 1024> chunk;
  for (;;) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno_error("read " + path);
    }
    if (got == 0) {
      return content;
    }
    content.append(chunk.data(), static_cast<std::size_t>(got));
    if (content.size() > limit) {
      return errno_error(EFBIG, "read " + path);
    }
  }
}

Result<void> replace_file(const std::string& path, std::string_view content) {
  const std::string beside = path + ".tmp";
  const UniqueFd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return errno_error("create " + beside);
  }
  while (!content.empty()) {
    const ssize_t put = ::write(file.get(), content.data(), content.size());
    if (put < 0) {
      if (errno == EINTR) {
        continue;
      }
      Error error = errno_error("write " + beside);
      ::unlink(beside.c_str());
      return error;
    }
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::fsync(file.get()) != 0 || ::rename(beside.c_str(), path.c_str()) != 0) {
    Error error = errno_error("replace " + path);
    ::unlink(beside.c_str());
    return error;
  }
  return {};
}

void set_aside(const std::string& path) { ::rename(path.c_str(), (path + ".corrupt").c_str()); }

} // namespace weir
