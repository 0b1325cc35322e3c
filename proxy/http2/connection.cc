#include "proxy/http2/connection.h"

#include "proxy/base/check.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <new>

namespace weir::http2 {
namespace {

// nghttp2 fails in two ways where it should not: out of memory, which is std::bad_alloc here as
// everywhere, and wrong use, which is a bug.
void must(int result) {
  if (result == NGHTTP2_ERR_NOMEM) {
    throw std::bad_alloc();
  }
  WEIR_CHECK(result == 0);
}

std::vector<nghttp2_nv>& to_nghttp2(std::span<const Field> fields) {
  // One a thread: filled and used up within a call.
  thread_local std::vector<nghttp2_nv> list;
  list.clear();
  for (const Field& field : fields) {
    const auto bytes = [](std::string_view text) {
      return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
    };
    list.push_back({bytes(field.name), bytes(field.value), field.name.size(), field.value.size(),
                    static_cast<std::uint8_t>(field.never_index ? NGHTTP2_NV_FLAG_NO_INDEX
                                                                : NGHTTP2_NV_FLAG_NONE)});
  }
  return list;
}

} // namespace

void Connection::Delete::operator()(nghttp2_session* session) const {
  nghttp2_session_del(session);
}

struct Connection::Callbacks {
  static Connection& self(void* user) { return *static_cast<Connection*>(user); }

  static StreamEnd* end_of(nghttp2_session* session, std::int32_t stream) {
    return static_cast<StreamEnd*>(nghttp2_session_get_stream_user_data(session, stream));
  }

  static int begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Connection& connection = self(user);
    connection.x_block_decoded = 0;
    if (frame->hd.type != NGHTTP2_HEADERS) {
      return 0;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      StreamEnd* end = connection.x_over ? nullptr : connection.x_events.on_open();
      if (end == nullptr) {
        must(nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                       NGHTTP2_REFUSED_STREAM));
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      }
      end->id = frame->hd.stream_id;
      end->open = true;
      must(nghttp2_session_set_stream_user_data(session, end->id, end));
    }
    if (StreamEnd* end = end_of(session, frame->hd.stream_id)) {
      end->incoming.clear();
    }
    return 0;
  }

  static int header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
                    std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                    std::uint8_t flags, void* user) {
    Connection& connection = self(user);
    connection.x_block_decoded += name_size + value_size + 32;
    if (connection.x_block_decoded > 4 * connection.x_limits.max_head) {
      connection.x_flood = Http2Flood::kHeaderBlock;
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (StreamEnd* end = end_of(session, frame->hd.stream_id)) {
      end->incoming.add({{reinterpret_cast<const char*>(name), name_size},
                         {reinterpret_cast<const char*>(value), value_size},
                         (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0},
                        connection.x_limits.max_head, connection.x_limits.max_fields);
    }
    return 0;
  }

  // Fields that nghttp2 would leave out of the head and go on: the stream is refused instead.
  static int invalid_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t*,
                            std::size_t, const std::uint8_t*, std::size_t, std::uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int frame_received(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Connection& connection = self(user);
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        connection.x_settings_received = true;
        connection.x_events.on_settings();
      }
      return 0;
    case NGHTTP2_GOAWAY:
      connection.x_events.on_goaway();
      return 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
      break;
    default:
      return 0;
    }
    StreamEnd* end = end_of(session, frame->hd.stream_id);
    if (end == nullptr || end->reset_by_owner) {
      return 0;
    }
    const bool last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    end->peer_ended = end->peer_ended || last;
    if (frame->hd.type == NGHTTP2_HEADERS) {
      connection.headers_received(*end, last);
    } else if (last) {
      connection.x_events.on_end(*end);
    }
    return 0;
  }

  static int data_chunk(nghttp2_session* session, std::uint8_t, std::int32_t stream,
                        const std::uint8_t* data, std::size_t size, void* user) {
    Connection& connection = self(user);
    StreamEnd* end = end_of(session, stream);
    if (end == nullptr || end->reset_by_owner) {
      must(nghttp2_session_consume(session, stream, size));
      return 0;
    }
    if (end->stop_peer_after_end && end->local_ended) {
      must(nghttp2_session_consume(session, stream, size));
      if (size > end->discard_left) {
        connection.reset(*end, ErrorCode::kNoError);
      } else {
        end->discard_left -= size;
      }
      return 0;
    }
    connection.x_events.on_body(*end, {data, size});
    return 0;
  }

  static int stream_closed(nghttp2_session* session, std::int32_t stream, std::uint32_t error,
                           void* user) {
    if (StreamEnd* end = end_of(session, stream)) {
      end->open = false;
      self(user).x_events.on_closed(*end, static_cast<ErrorCode>(error));
    }
    return 0;
  }

  static int frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Connection& connection = self(user);
    switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM: {
      const StreamEnd* end = end_of(session, frame->hd.stream_id);
      if ((end == nullptr || !end->reset_by_owner) &&
          !connection.x_budget.provoked_reset(connection.x_now)) {
        connection.flooded(Http2Flood::kReset);
      }
      return 0;
    }
    case NGHTTP2_GOAWAY:
      if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !connection.x_over) {
        connection.x_over = true;
        connection.count_violation();
      }
      return 0;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
      break;
    default:
      return 0;
    }
    if (frame->hd.type == NGHTTP2_DATA) {
      connection.x_budget.data_sent();
    }
    StreamEnd* end = end_of(session, frame->hd.stream_id);
    if (end != nullptr && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      end->local_ended = true;
    }
    return 0;
  }

  // How much of the queue goes into the next DATA frame.
  static ssize_t read_body(nghttp2_session* session, std::int32_t stream, std::uint8_t*,
                           std::size_t size, std::uint32_t* flags, nghttp2_data_source* source,
                           void* user) {
    const auto& end = *static_cast<const StreamEnd*>(source->ptr);
    const std::size_t taken = std::min(size, end.outgoing.size());
    if (taken == 0 && !end.outgoing.ended()) {
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (taken == end.outgoing.size() && end.outgoing.ended()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (end.outgoing.trailers().size() > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const auto& list = to_nghttp2(self(user).trailers_of(end));
        must(nghttp2_submit_trailer(session, stream, list.data(), list.size()));
      }
    }
    return static_cast<ssize_t>(taken);
  }

  static int send_body(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header,
                       std::size_t size, nghttp2_data_source* source, void* user) {
    Connection& connection = self(user);
    if (connection.x_out->size() >= connection.x_enough) {
      return NGHTTP2_ERR_WOULDBLOCK;
    }
    auto& end = *static_cast<StreamEnd*>(source->ptr);
    connection.x_out->append(reinterpret_cast<const char*>(header), kFrameHeaderSize);
    const auto bytes = end.outgoing.front(size);
    connection.x_out->append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    end.outgoing.pop(size);
    end.stalled_since.reset();
    connection.x_events.on_body_sent(end, size);
    return 0;
  }

  static const nghttp2_session_callbacks* shared() {
    static const nghttp2_session_callbacks* const kMade = [] {
      nghttp2_session_callbacks* list = nullptr;
      must(nghttp2_session_callbacks_new(&list));
      nghttp2_session_callbacks_set_on_begin_headers_callback(list, begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(list, header);
      nghttp2_session_callbacks_set_on_invalid_header_callback(list, invalid_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(list, frame_received);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(list, data_chunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(list, stream_closed);
      nghttp2_session_callbacks_set_on_frame_send_callback(list, frame_sent);
      nghttp2_session_callbacks_set_send_data_callback(list, send_body);
      return list;
    }();
    return kMade;
  }
};

Connection::Connection(Role role, const Limits& limits, ConnectionEvents& events,
                       WorkerMetrics& metrics)
    : x_role(role), x_limits(limits), x_events(events), x_metrics(metrics),
      x_scanner(role == Role::kServer ? kPreface.size() : 0),
      x_budget(limits, role == Role::kClient) {
  nghttp2_option* option = nullptr;
  must(nghttp2_option_new(&option));
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_max_outbound_ack(option, limits.max_outbound_frames);
  // Counted by the Budget, more closely.
  nghttp2_option_set_stream_reset_rate_limit(option, 100'000, 100'000);
  nghttp2_option_set_max_continuations(option, limits.max_continuations + 1);
  // Closed streams are remembered for priorities only, which are not used.
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session* session = nullptr;
  must(role == Role::kServer
           ? nghttp2_session_server_new2(&session, Callbacks::shared(), this, option)
           : nghttp2_session_client_new2(&session, Callbacks::shared(), this, option));
  nghttp2_option_del(option);
  x_session.reset(session);

  const auto window = static_cast<std::uint32_t>(limits.stream_window);
  const auto max_head = static_cast<std::uint32_t>(limits.max_head);
  const std::array server_settings = {
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_streams},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, max_head},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
  const std::array client_settings = {
      nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, max_head}};
  must(role == Role::kServer
           ? nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, server_settings.data(),
                                     server_settings.size())
           : nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, client_settings.data(),
                                     client_settings.size()));
  must(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                             limits.connection_window));
}

Connection::~Connection() = default;

bool Connection::feed(std::span<const std::uint8_t> bytes, TimePoint now) {
  if (x_over) {
    return false;
  }
  x_now = now;
  std::optional<Http2Flood> flood;
  std::size_t good = 0;
  bool frame_begun = false, violation = false;
  while (good < bytes.size()) {
    const FrameScanner::Step step = x_scanner.next(bytes.subspan(good));
    if (step.complete) {
      frame_begun = true;
      const FrameHeader& frame = x_scanner.header();
      if (x_role == Role::kServer && frame.type == FrameType::kPriority && frame.stream == 0) {
        // nghttp2 does not look at PRIORITY where the settings say that it is not used.
        violation = true;
        break;
      }
      flood = x_budget.received(frame, now);
      if (flood) {
        break;
      }
    }
    good += step.taken;
  }
  if (!settle(nghttp2_session_mem_recv(x_session.get(), bytes.data(), good))) {
    return false;
  }
  if (flood) {
    flooded(*flood);
    return false;
  }
  if (violation) {
    violated();
    return false;
  }
  if (nghttp2_session_get_outbound_queue_size(x_session.get()) > x_limits.max_outbound_frames) {
    flooded(Http2Flood::kOutboundQueue);
    return false;
  }
  const bool unfinished = x_budget.inside_block() ||
                          (x_scanner.inside_frame() && x_scanner.header().type != FrameType::kData);
  if (!unfinished) {
    x_unfinished_since.reset();
  } else if (!x_unfinished_since || (frame_begun && !x_budget.inside_block())) {
    x_unfinished_since = now;
  }
  return !x_over;
}

// The result of nghttp2_session_mem_recv.
bool Connection::settle(std::int64_t result) {
  if (result >= 0) {
    return !x_over;
  }
  if (result == NGHTTP2_ERR_NOMEM) {
    throw std::bad_alloc();
  }
  if (result == NGHTTP2_ERR_FLOODED) {
    flooded(x_flood.value_or(Http2Flood::kOutboundQueue));
  } else if (x_flood) {
    flooded(*x_flood);
  } else {
    // Not even a preface, or a state that nghttp2 cannot go on from.
    violated();
  }
  return false;
}

void Connection::violated() {
  close_now(ErrorCode::kProtocolError);
  count_violation();
}

void Connection::count_violation() {
  if (x_role == Role::kServer) {
    x_metrics.http2_protocol_errors.add();
  } else {
    x_metrics.upstream_protocol_errors.add();
  }
}

void Connection::flooded(Http2Flood flood) {
  if (!x_over) {
    x_flood = flood;
    x_metrics.http2_floods[static_cast<std::size_t>(flood)].add();
    close_now(ErrorCode::kEnhanceYourCalm);
  }
}

void Connection::close_now(ErrorCode error) {
  x_over = true;
  must(nghttp2_session_terminate_session(x_session.get(), static_cast<std::uint32_t>(error)));
}

void Connection::headers_received(StreamEnd& end, bool last) {
  if (x_role == Role::kServer) {
    if (!end.final_head) {
      end.final_head = true;
      x_events.on_head(end, last);
    } else {
      x_events.on_trailers(end);
    }
    return;
  }
  if (end.final_head) {
    x_events.on_trailers(end);
    return;
  }
  const Field status = end.incoming.size() > 0 ? end.incoming[0] : Field{};
  if (status.name == ":status" && status.value.starts_with('1')) {
    ++end.informational_heads;
    x_events.on_informational(end);
    return;
  }
  end.final_head = true;
  x_events.on_head(end, last);
}

void Connection::produce(std::string& out, std::size_t enough) {
  x_out = &out;
  x_enough = enough;
  while (out.size() < enough) {
    const std::uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(x_session.get(), &data);
    if (size == NGHTTP2_ERR_NOMEM) {
      throw std::bad_alloc();
    }
    WEIR_CHECK(size >= 0);
    if (size == 0) {
      break;
    }
    out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
  }
  x_out = nullptr;
}

bool Connection::wants_write() const { return nghttp2_session_want_write(x_session.get()) != 0; }

bool Connection::finished() const {
  return !wants_write() && (x_over || nghttp2_session_want_read(x_session.get()) == 0);
}

namespace {
nghttp2_data_provider body_of(StreamEnd& end, nghttp2_data_source_read_callback read) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &end;
  provider.read_callback = read;
  return provider;
}
} // namespace

void Connection::respond(StreamEnd& end, std::span<const Field> fields, bool end_stream) {
  if (!end.open || end.reset_by_owner || x_over) {
    return;
  }
  const auto& list = to_nghttp2(fields);
  const nghttp2_data_provider body = body_of(end, Callbacks::read_body);
  must(nghttp2_submit_response(x_session.get(), end.id, list.data(), list.size(),
                               end_stream ? nullptr : &body));
}

void Connection::send_informational(StreamEnd& end, std::span<const Field> fields) {
  if (!end.open || end.reset_by_owner || x_over) {
    return;
  }
  const auto& list = to_nghttp2(fields);
  must(nghttp2_submit_headers(x_session.get(), NGHTTP2_FLAG_NONE, end.id, nullptr, list.data(),
                              list.size(), nullptr));
}

bool Connection::send_request(StreamEnd& end, std::span<const Field> fields, bool end_stream) {
  if (x_over || nghttp2_session_check_request_allowed(x_session.get()) == 0) {
    return false;
  }
  const auto& list = to_nghttp2(fields);
  const nghttp2_data_provider body = body_of(end, Callbacks::read_body);
  const std::int32_t stream = nghttp2_submit_request(
      x_session.get(), nullptr, list.data(), list.size(), end_stream ? nullptr : &body, &end);
  if (stream == NGHTTP2_ERR_NOMEM) {
    throw std::bad_alloc();
  }
  if (stream < 0) {
    return false; // out of stream identifiers
  }
  end.id = stream;
  end.open = true;
  x_budget.request_sent();
  return true;
}

std::uint32_t Connection::max_streams_of_peer() const {
  return nghttp2_session_get_remote_settings(x_session.get(),
                                             NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

void Connection::resume(StreamEnd& end) {
  if (end.open && !x_over) {
    // Fails where nothing was put off; then the bytes are found without it.
    static_cast<void>(nghttp2_session_resume_data(x_session.get(), end.id));
  }
}

void Connection::reset(StreamEnd& end, ErrorCode error) {
  if (end.open && !end.reset_by_owner && !x_over) {
    end.reset_by_owner = true;
    must(nghttp2_submit_rst_stream(x_session.get(), NGHTTP2_FLAG_NONE, end.id,
                                   static_cast<std::uint32_t>(error)));
  }
}

void Connection::consume(const StreamEnd& end, std::size_t bytes) {
  if (bytes > 0 && !x_over) {
    must(nghttp2_session_consume(x_session.get(), end.id, bytes));
  }
}

std::span<const Field> Connection::trailers_of(const StreamEnd& end) {
  const FieldList& trailers = end.outgoing.trailers();
  x_fields.clear();
  for (std::size_t i = 0; i < trailers.size(); ++i) {
    x_fields.push_back(trailers[i]);
  }
  return x_fields;
}

void Connection::announce_shutdown() {
  if (!x_over) {
    must(nghttp2_submit_shutdown_notice(x_session.get()));
  }
}

void Connection::shut_down() {
  if (!x_over) {
    must(nghttp2_submit_goaway(x_session.get(), NGHTTP2_FLAG_NONE,
                               nghttp2_session_get_last_proc_stream_id(x_session.get()),
                               NGHTTP2_NO_ERROR, nullptr, 0));
  }
}

bool Connection::check_deadlines(TimePoint now) {
  if (x_over) {
    return false;
  }
  if (!x_settings_received && !x_unfinished_since) {
    x_unfinished_since = now;
  }
  if (x_unfinished_since && now - *x_unfinished_since > x_limits.head_timeout) {
    x_metrics.http2_stalls.add();
    close_now(x_settings_received ? ErrorCode::kEnhanceYourCalm : ErrorCode::kSettingsTimeout);
    return false;
  }
  return true;
}

bool Connection::window_shut(const StreamEnd& end) const {
  return nghttp2_session_get_remote_window_size(x_session.get()) <= 0 ||
         nghttp2_session_get_stream_remote_window_size(x_session.get(), end.id) <= 0;
}

} // namespace weir::http2
