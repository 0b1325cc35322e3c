#include "proxy/dns/state_file.h"

#include "proxy/base/checksum.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <limits>
#include <optional>

namespace weir::dns {
namespace {

namespace json = boost::json;

constexpr std::int64_t kVersion = 1;
// Far beyond any real date, and far from what a system clock's nanoseconds can hold.
constexpr std::int64_t kLatest = 9'000'000'000; // seconds

const json::value* member(const json::value& object, std::string_view key) {
  const auto* as_object = object.if_object();
  return as_object == nullptr ? nullptr : as_object->if_contains(key);
}

std::optional<std::int64_t> number(const json::value& object, std::string_view key,
                                   std::int64_t least, std::int64_t most) {
  const auto* value = member(object, key);
  const auto* as_number = value == nullptr ? nullptr : value->if_int64();
  if (as_number == nullptr || *as_number < least || *as_number > most) {
    return std::nullopt;
  }
  return *as_number;
}

std::optional<std::string_view> text_of(const json::value& object, std::string_view key) {
  const auto* value = member(object, key);
  const auto* as_string = value == nullptr ? nullptr : value->if_string();
  if (as_string == nullptr) {
    return std::nullopt;
  }
  return std::string_view(*as_string);
}

std::optional<LearnedName> parse_entry(const json::value& value) {
  constexpr std::int64_t kMaxU32 = std::numeric_limits<std::uint32_t>::max();
  const auto endpoint = number(value, "endpoint", 1, kMaxU32);
  const auto name_text = text_of(value, "name");
  const auto address_text = text_of(value, "address");
  const auto ttl = number(value, "ttl", 0, kMaxU32);
  const auto expires = number(value, "expires", 0, kLatest);
  if (!endpoint || !name_text || !address_text || !ttl || !expires) {
    return std::nullopt;
  }
  auto name = DnsName::from_text(*name_text);
  const auto address = IpAddress::parse(*address_text);
  if (!name || !address) {
    return std::nullopt;
  }
  return LearnedName{static_cast<policy::EndpointId>(*endpoint), *std::move(name), *address,
                     static_cast<std::uint32_t>(*ttl),
                     std::chrono::system_clock::time_point(std::chrono::seconds(*expires))};
}

} // namespace

std::string format_state(const std::vector<LearnedName>& entries) {
  json::array array;
  array.reserve(entries.size());
  for (const LearnedName& entry : entries) {
    const auto expires =
        std::chrono::duration_cast<std::chrono::seconds>(entry.expires.time_since_epoch());
    array.push_back(json::object{{"endpoint", static_cast<std::int64_t>(entry.endpoint)},
                                 {"name", entry.name.to_text()},
                                 {"address", entry.address.to_string()},
                                 {"ttl", static_cast<std::int64_t>(entry.ttl)},
                                 {"expires", static_cast<std::int64_t>(expires.count())}});
  }
  const std::string sum = checksum(json::serialize(array));
  return json::serialize(
      json::object{{"version", kVersion}, {"checksum", sum}, {"entries", std::move(array)}});
}

Result<std::vector<LearnedName>> parse_state(std::string_view text) {
  boost::system::error_code error;
  const json::value root = json::parse(text, error);
  if (error) {
    return invalid_error("no JSON: " + error.message());
  }
  if (number(root, "version", kVersion, kVersion) != kVersion) {
    return invalid_error("not of a version that is understood");
  }
  const auto* entries = member(root, "entries");
  const auto* array = entries == nullptr ? nullptr : entries->if_array();
  if (array == nullptr || text_of(root, "checksum") != checksum(json::serialize(*array))) {
    return invalid_error("the checksum does not match");
  }
  std::vector<LearnedName> learned;
  learned.reserve(array->size());
  for (const json::value& value : *array) {
    auto entry = parse_entry(value);
    if (!entry) {
      return invalid_error(fmt::format("entry {} is not valid", learned.size()));
    }
    learned.push_back(*std::move(entry));
  }
  return learned;
}

} // namespace weir::dns
