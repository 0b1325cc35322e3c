// One thread with one io_context: the unit in which connections live and die. Owns nothing of the
// protocols; listeners and sessions are spawned through its gate by whoever wires the process.
//
// publish(), post() and stop() may be called from any thread; everything else is the worker
// thread's own.
#pragma once

#include "proxy/base/metrics.h"
#include "proxy/endpoint/snapshot.h"
#include "proxy/runtime/gate.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <functional>
#include <memory>
#include <thread>

namespace weir::runtime {

class Worker {
public:
  explicit Worker(unsigned index);
  // stop() must have been called if start() was.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();

  // Gives the worker a new snapshot; done is called on the worker's thread once it is in use.
  void publish(std::shared_ptr<const endpoint::Snapshot> snapshot, std::function<void()> done);

  // Runs work on the worker's thread.
  void post(std::function<void()> work);

  // Cancels what still runs, waits for the thread to end.
  void stop();

  [[nodiscard]] unsigned index() const { return x_index; }
  [[nodiscard]] boost::asio::io_context& context() { return x_context; }
  [[nodiscard]] Gate& gate() { return x_gate; }
  [[nodiscard]] WorkerMetrics& metrics() { return x_metrics; }
  // Never null once listeners are open. A session copies the pointer for as long as it judges by
  // it, and takes the newest for each request.
  [[nodiscard]] const std::shared_ptr<const endpoint::Snapshot>& snapshot() const {
    return x_snapshot;
  }

private:
  const unsigned x_index;
  // Sockets are the thread's own, and without locks: eight fewer for a request.
  boost::asio::io_context x_context{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> x_keep_running;
  Gate x_gate;
  WorkerMetrics x_metrics;
  std::shared_ptr<const endpoint::Snapshot> x_snapshot;
  std::thread x_thread;
};

} // namespace weir::runtime
