#include "proxy/control/flow_reader.h"

#include "proxy/base/clocks.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <string_view>

namespace weir::control {
namespace {

constexpr std::chrono::seconds kWindow{1};
// So many connections begin at once that a wake-up for each would cost more than reading it.
constexpr std::chrono::milliseconds kGather{10};
constexpr std::uint64_t kToldForNs = 60'000'000'000;

std::uint64_t hash_of(const weir_event& event) {
  const std::string_view tuple(reinterpret_cast<const char*>(&event.tuple), sizeof(event.tuple));
  const std::size_t whose = event.endpoint * 2U + event.direction;
  return std::hash<std::string_view>{}(tuple) ^ (whose * 0x9E37'79B9'7F4A'7C15U);
}

AccessRecord::Peer peer_of(const admin::FlowRow::End& end) {
  return {.peer_namespace = end.pod_namespace, .pod = end.pod, .ip = end.ip, .port = end.port};
}

} // namespace

FlowReader::FlowReader(boost::asio::io_context& context, redirect::BpfRedirector& redirector,
                       const Controller& controller, const dns::FqdnCache& cache,
                       admin::FlowLog& flows, AccessLog& access_log, unsigned writer)
    : x_redirector(redirector), x_controller(controller), x_flows(flows), x_access_log(access_log),
      x_writer(writer), x_rows(cache, boottime_ns()), x_events(context, redirector.event_fd()),
      x_pause(context) {}

FlowReader::~FlowReader() { static_cast<void>(x_events.release()); }

void FlowReader::start() { await_events(); }

void FlowReader::await_events() {
  x_events.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this](boost::system::error_code failed) {
                        if (!failed) {
                          read();
                        }
                      });
}

void FlowReader::read() {
  const auto now = std::chrono::steady_clock::now();
  if (now - x_window >= kWindow) {
    x_window = now;
    x_read = 0;
  }
  const Controller::InForce in_force = x_controller.in_force();
  const auto events = x_redirector.read_events(kAtOnce);
  x_read += events.size();
  for (const weir_event& event : events) {
    admin::FlowRow row = x_rows.row_of(event, in_force);
    // The proxy has a line itself for what is redirected.
    if (event.verdict == WEIR_DENY ||
        (event.verdict == WEIR_ALLOW && event.reason == WEIR_DROP_AUDIT)) {
      write_line(event, row);
    }
    x_flows.add(std::move(row));
  }
  if (events.size() == kAtOnce && x_read < kPerSecond) {
    await_events();
    return;
  }
  x_pause.expires_at(x_read < kPerSecond ? now + kGather : x_window + kWindow);
  x_pause.async_wait([this](boost::system::error_code failed) {
    if (!failed) {
      await_events();
    }
  });
}

void FlowReader::write_line(const weir_event& event, const admin::FlowRow& row) {
  const std::uint64_t flow = hash_of(event);
  Told& told = x_told[flow % kTold];
  if (told.flow == flow && event.time_ns < told.at_ns + kToldForNs) {
    return;
  }
  told = {flow, event.time_ns};
  std::string protocol = row.protocol;
  std::transform(protocol.begin(), protocol.end(), protocol.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  AccessRecord record;
  record.time = row.time;
  record.verdict =
      row.verdict == admin::FlowVerdict::kAudit ? AccessVerdict::kAudit : AccessVerdict::kDenied;
  record.direction = row.direction;
  record.protocol = protocol;
  record.source = peer_of(row.source);
  record.destination = peer_of(row.destination);
  record.denied_by = row.policy;
  record.denying_rule = row.rule;
  record.nearest = row.nearest;
  record.reason = row.reason;
  if (!x_access_log.write(x_writer, record)) {
    x_flows.note_unlogged();
  }
}

} // namespace weir::control
