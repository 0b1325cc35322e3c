// The server behind a session, in the hands of the test: it sees the raw bytes of each connection
// and answers what it is told to.
#pragma once

#include "proxy/net/connector.h"
#include "test/support/fragmenting_stream.h"
#include "test/support/memory_stream.h"

#include <boost/asio/io_context.hpp>

#include <cstddef>
#include <deque>
#include <memory>

namespace weir::test {

class FakeUpstream {
public:
  explicit FakeUpstream(boost::asio::io_context& context) : x_context(context) {}

  // To be given to the session; refers to this.
  std::unique_ptr<net::Connector> connector() { return std::make_unique<Connector>(*this); }

  [[nodiscard]] std::size_t connections() const { return x_peers.size(); }
  MemoryPeer& connection(std::size_t index) { return x_peers.at(index); }
  MemoryPeer& last() { return x_peers.back(); }

  net::ErrorCode refuse_with; // connecting fails
  std::size_t fragment = 0;   // pieces in which the session sees the answers; 0: as written
  std::size_t limit = 0;      // room for bytes not yet taken; 0: no limit

private:
  class Connector final : public net::Connector {
  public:
    explicit Connector(FakeUpstream& upstream) : x_upstream(upstream) {}
    boost::asio::awaitable<Connected> connect() override {
      if (x_upstream.refuse_with) {
        co_return Connected{x_upstream.refuse_with, nullptr};
      }
      MemoryConnection made = make_memory_connection(x_upstream.x_context);
      if (x_upstream.limit != 0) {
        made.peer.limit(x_upstream.limit);
      }
      x_upstream.x_peers.push_back(made.peer);
      if (x_upstream.fragment != 0) {
        made.stream = std::make_unique<FragmentingStream>(std::move(made.stream),
                                                          x_upstream.fragment, x_upstream.fragment);
      }
      co_return Connected{{}, std::move(made.stream)};
    }

  private:
    FakeUpstream& x_upstream;
  };

  boost::asio::io_context& x_context;
  std::deque<MemoryPeer> x_peers;
};

} // namespace weir::test
