#include "proxy/control/folder_watch.h"

#include "proxy/base/log.h"

#include <boost/asio/buffer.hpp>

#include <sys/inotify.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace weir::control {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kQuiet{50};
constexpr std::chrono::milliseconds kLongest{500};
constexpr std::chrono::seconds kRetry{1};

} // namespace

FolderWatch::FolderWatch(boost::asio::io_context& context, std::string folder,
                         std::function<void()> changed)
    : x_folder(std::move(folder)), x_changed(std::move(changed)), x_inotify(context),
      x_quiet(context), x_retry(context) {
  const int inotify = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify < 0) {
    throw std::system_error(errno, std::generic_category(), "inotify for " + x_folder);
  }
  x_inotify.assign(inotify);
  read_events();
  add_watch();
}

void FolderWatch::add_watch() {
  const int watch = ::inotify_add_watch(x_inotify.native_handle(), x_folder.c_str(),
                                        IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM |
                                            IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
  if (watch < 0) {
    log::debug("watch {}: {}", x_folder, std::strerror(errno));
    retry_watch();
  }
}

void FolderWatch::retry_watch() {
  x_retry.expires_after(kRetry);
  x_retry.async_wait([this](boost::system::error_code failed) {
    if (!failed) {
      add_watch();
      note_change();
    }
  });
}

void FolderWatch::read_events() {
  x_inotify.async_read_some(
      boost::asio::buffer(x_events), [this](boost::system::error_code failed, std::size_t got) {
        if (failed) {
          return;
        }
        for (std::size_t at = 0; at + sizeof(inotify_event) <= got;) {
          inotify_event event{};
          std::memcpy(&event, x_events.data() + at, sizeof event);
          at += sizeof event + event.len;
          if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
            retry_watch();
          }
        }
        note_change();
        read_events();
      });
}

void FolderWatch::note_change() {
  const auto now = steady_clock::now();
  if (!std::exchange(x_pending, true)) {
    x_first_change = now;
  }
  x_quiet.expires_at(std::min(now + kQuiet, x_first_change + kLongest));
  x_quiet.async_wait([this](boost::system::error_code failed) {
    if (!failed && std::exchange(x_pending, false)) {
      x_changed();
    }
  });
}

} // namespace weir::control
