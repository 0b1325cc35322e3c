// Keeps one kind of object as the API server has it: a list in pages, then a watch from where the
// list was. Whatever goes wrong is told apart from news: what is known stays known until a newer
// list replaces it whole. Knows nothing of what the objects mean.
//
//        ┌──────────── gone (410, in the head or as an event), or not understood ───────────┐
//        ▼                                                                                  │
//     list ──page──page──▶ end_list() ──▶ watch ──events, bookmarks──▶ cut or timed out ──▶ watch
//        │ 404: the kind is not there (yet): asked again every kAbsentRetry
//
// A kind that is taken away says so: its objects are deleted one by one while the watch goes on. A
// 404 alone may be a server that has just started and does not serve its custom kinds yet. So of a
// kind that had objects they all stay, said as trouble, until a server that is there has answered
// 404 for kAbsentForGood.
//
// Control thread. run() is spawned once, in a gate that ends before the reflector does.
#pragma once

#include "proxy/endpoint/kubernetes/client.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>

namespace weir::endpoint::kubernetes {

// Told of every change; a list arrives as begin_list(), put() for each object, end_list(), and
// replaces everything at its end. A list that is broken off is begun anew.
class Sink {
public:
  virtual ~Sink() = default;
  virtual void begin_list() = 0;
  virtual void put(const boost::json::object& object) = 0;
  virtual void remove(const boost::json::object& object) = 0;
  virtual void end_list() = 0; // also after a watch's event: what is there may be used
  virtual void absent() = 0;   // the server knows no such kind
  [[nodiscard]] virtual bool empty() const = 0; // nothing would be lost
};

class Reflector {
public:
  static constexpr std::size_t kPage = 250;
  static constexpr std::size_t kMaxPage = 64u << 20; // bytes of one page
  static constexpr std::size_t kMaxEvent = 8u << 20; // etcd holds objects of 1.5 MiB
  static constexpr std::chrono::seconds kAbsentRetry{10};
  static constexpr std::chrono::seconds kAbsentForGood{300};
  static constexpr std::chrono::milliseconds kFirstDelay{200}, kLongestDelay{30'000};

  // `path`: "/api/v1/pods". Client and sink outlive it.
  Reflector(boost::asio::io_context& context, Client& client, std::string path, Sink& sink,
            std::chrono::seconds absent_for_good = kAbsentForGood);

  boost::asio::awaitable<void> run();

  // Whether a list has ever been taken in, or the kind is known to be absent.
  [[nodiscard]] bool synced() const { return x_synced; }
  [[nodiscard]] const std::string& path() const { return x_path; }
  // Nothing while the server is there; otherwise what failed last.
  [[nodiscard]] const std::string& trouble() const { return x_trouble; }
  // When the server was last known to be there.
  [[nodiscard]] std::chrono::steady_clock::time_point last_contact() const {
    return x_trouble.empty() && x_synced ? std::chrono::steady_clock::now() : x_last_contact;
  }

private:
  enum class Outcome : std::uint8_t { kGood, kGone, kAbsent, kFailed };

  boost::asio::awaitable<Outcome> list();
  boost::asio::awaitable<Outcome> watch();
  boost::asio::awaitable<Outcome> page(std::string& next, std::string& version);
  Outcome event(std::string_view line);
  Outcome status_of(const Reply& reply, std::string_view what);
  Outcome failed(std::string why);
  void not_found();
  void contact();
  std::chrono::milliseconds delay(Outcome outcome);

  Client& x_client;
  std::string x_path;
  Sink& x_sink;
  std::chrono::seconds x_absent_for_good;
  boost::asio::steady_timer x_pause;
  std::minstd_rand x_random{std::random_device{}()};
  std::string x_version; // where the watch goes on; empty: list
  std::string x_trouble;
  std::chrono::steady_clock::time_point x_last_contact{};
  std::optional<std::chrono::steady_clock::time_point> x_absent_since;
  std::chrono::seconds x_retry_after{0};
  unsigned x_failures = 0; // in a row
  bool x_synced = false;
  bool x_news = false; // an object changed since the last list or watch began
};

} // namespace weir::endpoint::kubernetes
