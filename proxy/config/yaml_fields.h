// Strict reading of a YAML document of our own making (weir.yaml, endpoints.yaml): every value has
// its place, every key that nobody asked for is an error, and all errors are collected, so that a
// file is mended in one go. Knows nothing of what the keys mean. Policies have a reader of their
// own (policy-compiler/parse), which must follow Kubernetes' rules.
//
//   YamlDocument document(file, text);
//   YamlFields root = document.root();
//   for (YamlFields& item : root.mappings("endpoints")) {
//     auto name = item.required<std::string>("name");
//     auto ips = item.list<IpAddress>("ips");
//     item.finish();
//   }
//   root.finish();
//   if (!document.errors().empty()) { … }
//
// Nothing throws on input. One thread; fields must not outlive their document.
#pragma once

#include "proxy/base/ip.h"

#include <yaml-cpp/yaml.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::config {

// 1-based; line 0: the file as a whole.
struct YamlError {
  std::string file;
  int line = 0;
  int column = 0;
  std::string message; // "unknown key `adress`"
  std::string hint;    // "did you mean `address`?"; may be empty

  // "file:line:column: error: message, hint"
  [[nodiscard]] std::string text() const;
};
using YamlErrors = std::vector<YamlError>;

struct YamlScalar {
  std::string_view text;
  bool quoted = false;
};

// "60KiB"; units B, KiB, MiB.
struct YamlBytes {
  std::size_t count = 0;
};

// How a scalar becomes a T, and what people are told that it should have been. A caller may
// specialise it for a type of its own.
template <typename T>
struct YamlType;
template <>
struct YamlType<std::string> {
  static constexpr std::string_view kExpected = "a text that is not empty";
  static std::optional<std::string> read(const YamlScalar& scalar);
};
template <>
struct YamlType<bool> {
  static constexpr std::string_view kExpected = "true or false";
  static std::optional<bool> read(const YamlScalar& scalar);
};
template <>
struct YamlType<std::uint16_t> {
  static constexpr std::string_view kExpected = "a whole number up to 65535";
  static std::optional<std::uint16_t> read(const YamlScalar& scalar);
};
template <>
struct YamlType<std::uint32_t> {
  static constexpr std::string_view kExpected = "a whole number";
  static std::optional<std::uint32_t> read(const YamlScalar& scalar);
};
template <>
struct YamlType<YamlBytes> {
  static constexpr std::string_view kExpected = "a size such as 60KiB (units: B, KiB, MiB)";
  static std::optional<YamlBytes> read(const YamlScalar& scalar);
};
template <>
struct YamlType<std::chrono::milliseconds> {
  static constexpr std::string_view kExpected = "a duration such as 3000ms (units: ms, s, m, h)";
  static std::optional<std::chrono::milliseconds> read(const YamlScalar& scalar);
};
template <>
struct YamlType<std::chrono::seconds> {
  static constexpr std::string_view kExpected = "a duration such as 10s (units: s, m, h)";
  static std::optional<std::chrono::seconds> read(const YamlScalar& scalar);
};
template <>
struct YamlType<IpAddress> {
  static constexpr std::string_view kExpected = "an IPv4 or IPv6 address";
  static std::optional<IpAddress> read(const YamlScalar& scalar);
};
template <>
struct YamlType<IpPrefix> {
  static constexpr std::string_view kExpected = "an address block such as 10.0.0.0/8";
  static std::optional<IpPrefix> read(const YamlScalar& scalar);
};
template <>
struct YamlType<SocketAddress> {
  static constexpr std::string_view kExpected =
      "an address and a port such as 127.0.0.1:80 or [::1]:80";
  static std::optional<SocketAddress> read(const YamlScalar& scalar);
};

class YamlFields;

// A file's single document. A file that is empty or only comments is an empty mapping.
class YamlDocument {
public:
  YamlDocument(std::string file, const std::string& text);
  YamlDocument(const YamlDocument&) = delete;
  YamlDocument& operator=(const YamlDocument&) = delete;

  [[nodiscard]] YamlFields root();
  // In order of their place in the file.
  [[nodiscard]] YamlErrors errors() const;
  void add_error(int line, int column, std::string message, std::string hint = {});

private:
  std::string x_file;
  YAML::Node x_root;
  YamlErrors x_errors;
};

// The keys of one mapping. An absent mapping has no keys, so that all its defaults apply. Getters
// mark a key as known; a value of the wrong kind is reported and read as absent.
class YamlFields {
public:
  // `path` names the mapping in messages: "listeners[0]"; the root's is empty.
  YamlFields(YamlDocument& document, std::string path, const YAML::Node& node);
  YamlFields(YamlDocument& document, std::string path);
  YamlFields(const YamlFields&) = default;
  YamlFields(YamlFields&&) = default;
  // Assigning a YAML::Node would write to the node it stands for.
  YamlFields& operator=(const YamlFields&) = delete;

  // Absent: nothing.
  template <typename T>
  [[nodiscard]] std::optional<T> find(std::string_view key) {
    const auto scalar = scalar_of(key, YamlType<T>::kExpected);
    return scalar ? convert<T>(key, *scalar) : std::nullopt;
  }
  template <typename T>
  [[nodiscard]] T optional(std::string_view key, T fallback) {
    return find<T>(key).value_or(std::move(fallback));
  }
  // Absent: an error.
  template <typename T>
  [[nodiscard]] std::optional<T> required(std::string_view key) {
    return require(key) ? find<T>(key) : std::nullopt;
  }
  // Whether the key is there; reports it as missing if not. For the getters below.
  bool require(std::string_view key);
  [[nodiscard]] bool has(std::string_view key);

  // One word of a fixed set.
  template <typename T>
  using Choices = std::span<const std::pair<std::string_view, T>>;
  template <typename T>
  [[nodiscard]] std::optional<T> choice(std::string_view key, Choices<T> choices) {
    std::vector<std::string_view> words;
    for (const auto& [word, value] : choices) {
      words.push_back(word);
    }
    const auto index = choice_index(key, words);
    return index ? std::optional<T>(choices[*index].second) : std::nullopt;
  }

  // A sequence of scalars.
  template <typename T>
  [[nodiscard]] std::vector<T> list(std::string_view key) {
    std::vector<T> values;
    for (const Item& item : items(key)) {
      const auto scalar = scalar_of(item.node, item.path, YamlType<T>::kExpected);
      auto value = scalar ? YamlType<T>::read(*scalar) : std::nullopt;
      if (scalar && !value) {
        report_kind(item.node, item.path, YamlType<T>::kExpected);
      }
      if (value) {
        values.push_back(std::move(*value));
      }
    }
    return values;
  }
  // A sequence of mappings; finish() each.
  [[nodiscard]] std::vector<YamlFields> mappings(std::string_view key);
  // A mapping; finish() it.
  [[nodiscard]] YamlFields mapping(std::string_view key);
  // A mapping whose keys are free names and whose values are mappings: `namespaces`.
  [[nodiscard]] std::vector<std::pair<std::string, YamlFields>> named(std::string_view key);
  // A mapping of texts: labels. Numbers and booleans without quotes are refused, as Kubernetes
  // refuses them.
  [[nodiscard]] std::map<std::string, std::string> texts(std::string_view key);

  // At the key's value, or at the mapping where the key is absent.
  void error(std::string_view key, std::string message, std::string hint = {});
  // The key with where its mapping stands: "listeners[0].address", for messages.
  [[nodiscard]] std::string path_of(std::string_view key) const;

  // Reports the keys that no getter asked for. The last call.
  void finish();

private:
  struct Field {
    std::string key;
    YAML::Mark mark;
    YAML::Node value;
    bool known = false;
  };
  struct Item {
    YAML::Node node;
    std::string path;
  };

  Field* field(std::string_view key);
  // Null where the key is absent, or has no value: that is reported.
  Field* with_value(std::string_view key);
  std::optional<YamlScalar> scalar_of(std::string_view key, std::string_view expected);
  std::optional<YamlScalar> scalar_of(const YAML::Node& node, const std::string& path,
                                      std::string_view expected);
  std::optional<std::size_t> choice_index(std::string_view key,
                                          const std::vector<std::string_view>& words);
  std::vector<Item> items(std::string_view key);
  void report_kind(const YAML::Node& node, const std::string& path, std::string_view expected);
  template <typename T>
  std::optional<T> convert(std::string_view key, const YamlScalar& scalar) {
    auto value = YamlType<T>::read(scalar);
    if (!value) {
      report_kind(field(key)->value, path_of(key), YamlType<T>::kExpected);
    }
    return value;
  }

  YamlDocument* x_document;
  std::string x_path;
  YAML::Mark x_mark;
  bool x_refused = false; // it is no mapping: what it lacks is not worth a word
  std::vector<Field> x_fields;
  std::vector<std::string> x_asked; // also keys that are absent: candidates for "did you mean"
};

// The candidate that `word` was most likely meant to be; empty when none is near.
[[nodiscard]] std::string_view nearest_word(std::string_view word,
                                            std::span<const std::string_view> candidates);

} // namespace weir::config
