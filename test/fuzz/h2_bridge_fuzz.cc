// An HTTP/2 client, its servers and the time, all made of the input, with weir in between. The
// input is a list of steps (raw bytes, frames, heads from a small dictionary, events), so that few
// bytes reach deep. Whatever happens, what a server is sent is well-formed HTTP/2, canonical, and
// allowed by policy; and what the client is sent is well-formed.
#include "proxy/base/check.h"
#include "proxy/http/normalize.h"
#include "test/unit/http2/bridge_fixture.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

using namespace weir;
using namespace weir::test;
using http2::FrameType;

namespace {

const std::pair<const char*, const char*> kFields[] = {
    {":method", "GET"},
    {":method", "POST"},
    {":method", "HEAD"},
    {":method", "CONNECT"},
    {":scheme", "http"},
    {":authority", "shop.test"},
    {":authority", "SHOP.test.:80"},
    {":path", "/"},
    {":path", "/public/../admin"},
    {":path", "/a/b?c"},
    {":path", "/%61dmin"},
    {":path", "admin"},
    {":protocol", "websocket"},
    {":status", "200"},
    {":status", "100"},
    {":status", "204"},
    {":status", "101"},
    {"host", "shop.test"},
    {"host", "other.test"},
    {"content-length", "5"},
    {"content-length", "0"},
    {"content-type", "application/grpc"},
    {"te", "trailers"},
    {"cookie", "a=b"},
    {"connection", "close"},
    {"transfer-encoding", "chunked"},
    {"expect", "100-continue"},
    {"x-weir-denied-by", "me"},
    {"Upper", "1"},
    {"a", "b\r\nc: d"},
    {"grpc-status", "0"},
    {"x", "y"},
};

class Input {
public:
  Input(const std::uint8_t* data, std::size_t size)
      : x_left(reinterpret_cast<const char*>(data), size) {}
  [[nodiscard]] bool empty() const { return x_left.empty(); }
  std::uint8_t byte() {
    if (x_left.empty()) {
      return 0;
    }
    const char first = x_left.front();
    x_left.remove_prefix(1);
    return static_cast<std::uint8_t>(first);
  }
  std::string_view bytes(std::size_t count) {
    const std::string_view taken = x_left.substr(0, count);
    x_left.remove_prefix(taken.size());
    return taken;
  }

private:
  std::string_view x_left;
};

std::string frame_of(Input& input) {
  const std::uint8_t type = input.byte(), flags = input.byte(), stream = input.byte();
  return frame(type, flags, stream, input.bytes(input.byte()));
}

// A request or an answer that is whole but for what the input adds.
std::string head_of(Input& input, bool of_client) {
  const std::uint8_t shape = input.byte(), stream = input.byte(), count = input.byte() % 8;
  Pairs fields;
  if ((shape & 2) != 0) {
    fields = of_client
                 ? request((shape & 4) != 0 ? "POST" : "GET", (shape & 8) != 0 ? "/a" : "/admin")
                 : Pairs{{":status", "200"}};
  }
  for (std::uint8_t i = 0; i < count; ++i) {
    const auto& [name, value] = kFields[input.byte() % std::size(kFields)];
    fields.emplace_back(name, value);
  }
  return headers(stream, fields, (shape & 1) != 0);
}

void check_request(const Frame& head) {
  constexpr std::string_view kPseudo[] = {":method", ":scheme", ":authority", ":path"};
  WEIR_CHECK(head.fields.size() >= 4);
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    const auto& [name, value] = head.fields[i];
    WEIR_CHECK((i < 4) == name.starts_with(':'));
    WEIR_CHECK(i >= 4 || name == kPseudo[i]);
    WEIR_CHECK(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
    for (const char byte : name) {
      WEIR_CHECK(byte > ' ' && (byte < 'A' || byte > 'Z'));
    }
    for (const std::string_view forbidden :
         {"connection", "transfer-encoding", "upgrade", "host", "keep-alive", "x-weir-denied-by"}) {
      WEIR_CHECK(name != forbidden);
    }
  }
  const std::string path = head.field(":path"), host = head.field(":authority");
  std::string again;
  WEIR_CHECK(head.field(":method") != "CONNECT");
  WEIR_CHECK(!path.starts_with("/admin"));
  WEIR_CHECK(path == "*" || (!http::canonical_path(path, again) && again == path));
  WEIR_CHECK(!http::canonical_host(host, again) && again == host);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  session::Http2Bridge::Options options;
  // Small bounds are reached by small inputs.
  options.limits.max_streams = 8;
  options.limits.max_head = 2000;
  options.limits.max_fields = 20;
  options.limits.stream_window = 300;
  options.limits.connection_window = 65535;
  options.limits.resets = {10, 1};
  options.limits.max_outbound_frames = 50;
  BridgeFixture f(options);
  Input input(data, size);
  f.client(hello() + settings_ack());

  const auto server = [&f](std::uint8_t index, std::string_view bytes) {
    if (!f.servers.empty() && !f.servers[index % f.servers.size()]->closed) {
      f.server(bytes, index % f.servers.size());
    }
  };
  while (!input.empty() && f.servers.size() < 20) {
    const std::uint8_t step = input.byte();
    switch (step % 8) {
    case 0:
      f.client(input.bytes(input.byte()));
      break;
    case 1:
      f.client(frame_of(input));
      break;
    case 2:
      f.client(head_of(input, true));
      break;
    case 3:
      server(step / 8, input.bytes(input.byte()));
      break;
    case 4:
      server(step / 8, frame_of(input));
      break;
    case 5:
      server(step / 8, head_of(input, false));
      break;
    case 6:
      f.pass(std::chrono::milliseconds(100) * input.byte());
      break;
    default:
      if (f.servers.empty()) {
        break;
      }
      ServerPeer& peer = *f.servers[step / 32 % f.servers.size()];
      switch (step / 8 % 4) {
      case 0:
        if (!peer.closed) {
          peer.upstream->connected(f.now);
          f.flow();
        }
        break;
      case 1:
        if (!peer.closed) {
          f.bridge->upstream_lost(*peer.upstream, 503, "lost");
          f.flow();
        }
        break;
      case 2: {
        const bool strict = (input.byte() & 1) != 0;
        f.judge.allows = [strict](const policy::HttpRequest& r) {
          return !r.path.starts_with("/admin") && (!strict || r.path != "/a");
        };
        break;
      }
      default:
        if ((input.byte() & 1) != 0) {
          f.bridge->drain();
        } else {
          f.judge.open = (input.byte() & 7) != 0;
        }
        f.flow();
      }
    }
  }
  for (const auto& peer : f.servers) {
    std::uint32_t newest = 0;
    for (const Frame& each : peer->from_weir.frames()) {
      if (each.type == FrameType::kHeaders && each.stream > newest) {
        newest = each.stream;
        check_request(each);
      }
    }
  }
  return 0;
}
