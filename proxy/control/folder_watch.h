// Calls back when anything in a folder changed: a file written, renamed into it or removed, which
// includes the swap of a mounted ConfigMap's ..data link. Bursts are gathered: one call when the
// folder has been quiet for 50 ms, at the latest 500 ms after the first change. A folder that does
// not exist (yet, or any more) is looked for once a second.
//
// Lives on one io_context's thread; destroying it ends everything.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <chrono>
#include <functional>
#include <string>

namespace weir::control {

class FolderWatch {
public:
  // Start-up only: throws std::system_error where inotify is exhausted.
  FolderWatch(boost::asio::io_context& context, std::string folder, std::function<void()> changed);
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

private:
  void add_watch();
  void retry_watch();
  void read_events();
  void note_change();

  std::string x_folder;
  std::function<void()> x_changed;
  boost::asio::posix::stream_descriptor x_inotify;
  boost::asio::steady_timer x_quiet, x_retry;
  std::chrono::steady_clock::time_point x_first_change;
  bool x_pending = false;
  alignas(8) std::array<char, 4096> x_events;
};

} // namespace weir::control
