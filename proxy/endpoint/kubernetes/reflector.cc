#include "proxy/endpoint/kubernetes/reflector.h"

#include "proxy/base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <utility>

namespace weir::endpoint::kubernetes {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr auto kToken = asio::as_tuple(asio::deferred);
constexpr std::chrono::seconds kListSilence{30};
constexpr int kWatchSeconds = 300; // plus up to as much again, so that nodes do not come at once
constexpr unsigned kOk = 200, kNotFound = 404, kGone = 410;

json::value parse(std::string_view text, boost::system::error_code& failed) {
  json::parse_options options;
  options.max_depth = 128; // objects of custom kinds nest deeper than the default of 32
  return json::parse(json::string_view(text.data(), text.size()), failed, {}, options);
}

const json::object* member_object(const json::object& owner, std::string_view key) {
  const auto* found = owner.if_contains(json::string_view(key.data(), key.size()));
  return found == nullptr ? nullptr : found->if_object();
}

std::string member_text(const json::object* owner, std::string_view key) {
  const auto* found =
      owner == nullptr ? nullptr : owner->if_contains(json::string_view(key.data(), key.size()));
  const auto* text = found == nullptr ? nullptr : found->if_string();
  return text == nullptr ? "" : std::string(text->data(), text->size());
}

// Tokens are opaque, so whatever could end the query is written out.
std::string query_escaped(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

} // namespace

Reflector::Reflector(asio::io_context& context, Client& client, std::string path, Sink& sink,
                     std::chrono::seconds absent_for_good)
    : x_client(client), x_path(std::move(path)), x_sink(sink), x_absent_for_good(absent_for_good),
      x_pause(context) {}

asio::awaitable<void> Reflector::run() {
  // Cancelled operations say so in their results; awaiting the next one must not throw instead.
  co_await asio::this_coro::throw_if_cancelled(false);
  for (;;) {
    x_news = false;
    x_retry_after = {};
    const bool listing = x_version.empty();
    const auto began = std::chrono::steady_clock::now();
    Outcome outcome = Outcome::kFailed;
    if (listing) {
      outcome = co_await list();
    } else {
      outcome = co_await watch();
    }
    const bool cancelled =
        (co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none;
    if (cancelled) {
      co_return;
    }
    // A watch that ends as soon as it began, or is gone right after its list, must not spin.
    const bool idle_loop =
        !listing && !x_news && std::chrono::steady_clock::now() - began < std::chrono::seconds(1);
    const bool well = (outcome == Outcome::kGood || outcome == Outcome::kAbsent) && !idle_loop;
    if (x_news || (well && !listing)) {
      x_failures = 0;
    }
    if (outcome == Outcome::kGone) {
      x_version.clear();
    }
    if (outcome == Outcome::kGood && !idle_loop) {
      continue;
    }
    x_pause.expires_after(delay(outcome));
    const auto [ended] = co_await x_pause.async_wait(kToken);
    if (ended) {
      co_return;
    }
  }
}

std::chrono::milliseconds Reflector::delay(Outcome outcome) {
  std::chrono::milliseconds longest = kAbsentRetry;
  if (outcome != Outcome::kAbsent) {
    const unsigned doublings = std::min(x_failures++, 10u);
    longest = std::min(kFirstDelay * (1 << doublings), kLongestDelay);
  }
  // Half fixed, half at random: a cluster's nodes lose their server at the same moment.
  const auto half = longest.count() / 2;
  const auto jitter = std::uniform_int_distribution<std::int64_t>(0, half)(x_random);
  return std::max<std::chrono::milliseconds>(std::chrono::milliseconds(half + jitter),
                                             x_retry_after);
}

void Reflector::contact() {
  x_last_contact = std::chrono::steady_clock::now();
  if (!x_trouble.empty()) {
    log::info("kubernetes: {} is followed again", x_path);
    x_trouble.clear();
  }
}

Reflector::Outcome Reflector::failed(std::string why) {
  if (x_trouble.empty()) {
    log::warning("kubernetes: {}: {}; what is known stays in force", x_path, why);
  }
  x_trouble = x_path + ": " + std::move(why);
  return Outcome::kFailed;
}

void Reflector::not_found() {
  const auto now = std::chrono::steady_clock::now();
  if (!x_absent_since) {
    x_absent_since = now;
  }
  if (!x_sink.empty() && now - *x_absent_since < x_absent_for_good) {
    failed("the server does not serve this kind any more");
    return;
  }
  contact();
  x_sink.absent();
  x_synced = true;
}

Reflector::Outcome Reflector::status_of(const Reply& reply, std::string_view what) {
  x_retry_after = reply.retry_after;
  switch (reply.status) {
  case kOk:
    return Outcome::kGood;
  case kGone:
    return Outcome::kGone;
  case kNotFound:
    return Outcome::kAbsent;
  default:
    return failed(std::string(what) + " was answered with status " + std::to_string(reply.status));
  }
}

asio::awaitable<Reflector::Outcome> Reflector::list() {
  x_sink.begin_list();
  std::string next;
  std::string version;
  do {
    const Outcome outcome = co_await page(next, version);
    if (outcome == Outcome::kAbsent) {
      not_found();
    } else {
      x_absent_since.reset(); // also when nobody answers: only a server's own word counts
    }
    if (outcome != Outcome::kGood) {
      co_return outcome;
    }
  } while (!next.empty());
  x_version = std::move(version);
  x_synced = true;
  contact();
  x_sink.end_list();
  co_return Outcome::kGood;
}

asio::awaitable<Reflector::Outcome> Reflector::page(std::string& next, std::string& version) {
  std::string target = x_path + "?limit=" + std::to_string(kPage);
  if (!next.empty()) {
    target += "&continue=" + query_escaped(next);
  }
  auto reply = co_await x_client.get(std::move(target), kListSilence);
  if (!reply) {
    co_return failed(reply.error().text());
  }
  if (const Outcome outcome = status_of(**reply, "a list"); outcome != Outcome::kGood) {
    co_return outcome;
  }
  std::string body;
  for (;;) {
    auto piece = co_await (*reply)->read();
    if (!piece) {
      co_return failed(piece.error().text());
    }
    if (piece->empty()) {
      break;
    }
    body += *piece;
    if (body.size() > kMaxPage) {
      co_return failed("a page of the list has no end");
    }
  }
  boost::system::error_code broken;
  const json::value parsed = parse(body, broken);
  const json::object* root = broken ? nullptr : parsed.if_object();
  const json::object* metadata = root == nullptr ? nullptr : member_object(*root, "metadata");
  version = member_text(metadata, "resourceVersion");
  next = member_text(metadata, "continue");
  const json::value* items = root == nullptr ? nullptr : root->if_contains("items");
  if (version.empty() || items == nullptr || !(items->is_array() || items->is_null())) {
    co_return failed("a list is not understood");
  }
  if (items->is_array()) { // Go writes an empty list as null
    for (const auto& item : items->get_array()) {
      if (const auto* object = item.if_object()) {
        x_sink.put(*object);
      }
    }
  }
  co_return Outcome::kGood;
}

asio::awaitable<Reflector::Outcome> Reflector::watch() {
  const int seconds =
      kWatchSeconds + std::uniform_int_distribution<int>(0, kWatchSeconds)(x_random);
  auto reply = co_await x_client.get(
      x_path + "?watch=1&allowWatchBookmarks=true&resourceVersion=" + query_escaped(x_version) +
          "&timeoutSeconds=" + std::to_string(seconds),
      std::chrono::seconds(seconds + 30));
  if (!reply) {
    co_return failed(reply.error().text());
  }
  if (const Outcome outcome = status_of(**reply, "a watch"); outcome != Outcome::kGood) {
    // A kind that was taken away: the list says so and forgets its objects.
    co_return outcome == Outcome::kAbsent ? Outcome::kGone : outcome;
  }
  contact();
  std::string pending;
  for (;;) {
    auto piece = co_await (*reply)->read();
    if (!piece || piece->empty()) {
      // Cut or timed out: what is pending is half an event, and the next watch brings it whole.
      co_return Outcome::kGood;
    }
    std::size_t searched = pending.size();
    pending += *piece;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = pending.find('\n', searched)) != std::string::npos;) {
      const Outcome outcome = event(std::string_view(pending).substr(begin, end - begin));
      if (outcome != Outcome::kGood) {
        co_return outcome;
      }
      begin = searched = end + 1;
    }
    pending.erase(0, begin);
    if (pending.size() > kMaxEvent) {
      failed("an event has no end");
      co_return Outcome::kGone;
    }
  }
}

Reflector::Outcome Reflector::event(std::string_view line) {
  boost::system::error_code broken;
  const json::value parsed = parse(line, broken);
  const json::object* root = broken ? nullptr : parsed.if_object();
  const std::string type = member_text(root, "type");
  const json::object* object = root == nullptr ? nullptr : member_object(*root, "object");
  if (object == nullptr) {
    failed("an event is not understood");
    return Outcome::kGone; // it may have been news: only a list can tell
  }
  if (type == "ERROR") {
    const auto* code = object->if_contains("code");
    if (code == nullptr || *code != kGone) {
      failed("the watch ended with: " + member_text(object, "message"));
    }
    return Outcome::kGone;
  }
  const std::string version = member_text(member_object(*object, "metadata"), "resourceVersion");
  if (version.empty()) {
    failed("an event has no version");
    return Outcome::kGone;
  }
  if (type == "ADDED" || type == "MODIFIED") {
    x_sink.put(*object);
  } else if (type == "DELETED") {
    x_sink.remove(*object);
  } else if (type != "BOOKMARK") {
    failed("an event of an unknown type");
    return Outcome::kGone;
  }
  x_version = version;
  if (type != "BOOKMARK") {
    x_news = true;
    x_sink.end_list();
  }
  return Outcome::kGood;
}

} // namespace weir::endpoint::kubernetes
