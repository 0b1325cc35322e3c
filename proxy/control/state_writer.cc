#include "proxy/control/state_writer.h"

#include "proxy/base/file.h"
#include "proxy/base/log.h"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

namespace weir::control {

using Clock = std::chrono::steady_clock;

StateWriter::StateWriter(boost::asio::io_context& context, std::string path, Clock::duration least)
    : x_context(context), x_path(std::move(path)), x_least(least) {}

bool StateWriter::ready() const { return !x_busy && Clock::now() >= x_not_before; }

void StateWriter::write(std::function<std::string()> serialize) {
  x_busy = true;
  boost::asio::post(x_thread, [this, begun = Clock::now(), serialize = std::move(serialize)] {
    write_last(serialize);
    const Clock::duration rest = std::max(x_least, kShare * (Clock::now() - begun));
    boost::asio::post(x_context, [this, next = begun + rest] {
      x_not_before = next;
      x_busy = false;
    });
  });
}

void StateWriter::stop() { x_thread.join(); }

void StateWriter::write_last(const std::function<std::string()>& serialize) const {
  const auto saved = replace_file(x_path, serialize());
  if (!saved) {
    log::error("state: {}", saved.error().text());
  }
}

} // namespace weir::control
