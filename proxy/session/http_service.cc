#include "proxy/session/http_service.h"

#include "proxy/session/read_buffer.h"

#include <cstddef>

namespace weir::session {
namespace {

// Beside a head, a block has room for this much of a body: a read worth its system call.
constexpr std::size_t kBodyRoom = 48 * 1024;

std::size_t block_size(const config::Http& config) {
  constexpr std::size_t kPage = 4096;
  return (config.max_head + ReadBuffer::kMaxHeadOffset + kBodyRoom + kPage - 1) / kPage * kPage;
}

} // namespace

HttpService::HttpService(const config::Http& http, WorkerMetrics& worker_metrics, AccessLog& log,
                         unsigned worker)
    : config(http), metrics(worker_metrics), access_log(log), writer(worker),
      pool(block_size(http)) {}

} // namespace weir::session
