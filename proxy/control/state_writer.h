// A file of the state folder that is written by a thread of its own, beside the control thread,
// which has changes to put in force meanwhile. Writing is never more than a hundredth of what a
// core does, however large the file is and however often it could be written.
//
// Control thread. The destructor waits for what has begun.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include <chrono>
#include <functional>
#include <string>

namespace weir::control {

class StateWriter {
public:
  static constexpr int kShare = 100;

  // From one beginning to the next no less than `least` passes. The context outlives this.
  StateWriter(boost::asio::io_context& context, std::string path,
              std::chrono::steady_clock::duration least);

  [[nodiscard]] const std::string& path() const { return x_path; }

  // Nothing is being written, and it is not too early.
  [[nodiscard]] bool ready() const;
  // Only when ready(). `serialize` is called by the other thread; what fails is logged.
  void write(std::function<std::string()> serialize);

  // Waits for what has begun. Not to be followed by write().
  void stop();
  // After stop(): by the calling thread, at once.
  void write_last(const std::function<std::string()>& serialize) const;

private:
  boost::asio::io_context& x_context;
  const std::string x_path;
  const std::chrono::steady_clock::duration x_least;
  bool x_busy = false;
  std::chrono::steady_clock::time_point x_not_before{};
  boost::asio::thread_pool x_thread{1};
};

} // namespace weir::control
