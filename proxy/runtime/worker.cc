#include "proxy/runtime/worker.h"

#include <boost/asio/post.hpp>

#include <pthread.h>
#include <string>
#include <utility>

namespace weir::runtime {
namespace asio = boost::asio;

Worker::Worker(unsigned index)
    : x_index(index), x_keep_running(asio::make_work_guard(x_context)), x_gate(x_context) {}

Worker::~Worker() = default;

void Worker::start() {
  x_thread = std::thread([this] {
    pthread_setname_np(pthread_self(), ("weir-worker-" + std::to_string(x_index)).c_str());
    x_context.run();
  });
}

void Worker::publish(std::shared_ptr<const endpoint::Snapshot> snapshot,
                     std::function<void()> done) {
  asio::post(x_context, [this, snapshot = std::move(snapshot), done = std::move(done)]() mutable {
    x_snapshot = std::move(snapshot);
    done();
  });
}

void Worker::post(std::function<void()> work) { asio::post(x_context, std::move(work)); }

void Worker::stop() {
  asio::post(x_context, [this] {
    x_gate.close();
    x_gate.on_empty([this] { x_keep_running.reset(); });
  });
  if (x_thread.joinable()) {
    x_thread.join();
  }
}

} // namespace weir::runtime
