// Reads what the kernel tells of flows, as soon as it tells it, and hands it on by name: to the log
// of flows that the admin server shows, and, of what was denied, one line a flow to the access log.
//
// Bounded: a flood of dropped packets costs this thread no more than kPerSecond records a second.
// What is not read in time stays in the kernel's buffer, and what finds that full is counted there
// (weir_events_lost_total).
//
// Owner and thread: control.
#pragma once

#include "proxy/admin/flow_log.h"
#include "proxy/base/access_log.h"
#include "proxy/control/controller.h"
#include "proxy/control/flow_rows.h"
#include "redirect-bpf/user/bpf_redirector.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir::control {

class FlowReader {
public:
  static constexpr std::size_t kAtOnce = 512; // then others of this thread have their turn
  static constexpr std::size_t kPerSecond = 10'000;

  // All references outlive it. `writer`: its own number as a writer of the access log.
  FlowReader(boost::asio::io_context& context, redirect::BpfRedirector& redirector,
             const Controller& controller, const dns::FqdnCache& cache, admin::FlowLog& flows,
             AccessLog& access_log, unsigned writer);
  ~FlowReader();
  FlowReader(const FlowReader&) = delete;
  FlowReader& operator=(const FlowReader&) = delete;

  void start();

private:
  // A flow that is dropped packet by packet is one line a minute. A table by hash, so that its size
  // is fixed: two flows that meet in a slot have a line more than they should.
  struct Told {
    std::uint64_t flow = 0;
    std::uint64_t at_ns = 0;
  };
  static constexpr std::size_t kTold = 8192;

  void await_events();
  void read();
  void write_line(const weir_event& event, const admin::FlowRow& row);

  redirect::BpfRedirector& x_redirector;
  const Controller& x_controller;
  admin::FlowLog& x_flows;
  AccessLog& x_access_log;
  const unsigned x_writer;
  FlowRows x_rows;
  boost::asio::posix::stream_descriptor x_events; // the redirector's own
  boost::asio::steady_timer x_pause;
  std::chrono::steady_clock::time_point x_window; // the second that is counted
  std::size_t x_read = 0;                         // in it
  std::vector<Told> x_told{kTold};
};

} // namespace weir::control
