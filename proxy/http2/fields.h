// Header fields of one head or trailer section, held in one piece of storage that is kept for
// reuse. Bounded: what goes beyond is left out, and remembered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http2 {

struct Field {
  std::string_view name, value;
  bool never_index = false; // a secret: no hop may put it into a compression table (RFC 7541 §7.1)
};

class FieldList {
public:
  void clear() {
    x_text.clear();
    x_entries.clear();
    x_overflow = false;
  }

  // max_size counts as HPACK does: name, value and 32 bytes for each.
  void add(const Field& field, std::size_t max_size, std::size_t max_fields) {
    const std::size_t size = x_text.size() + field.name.size() + field.value.size();
    if (x_entries.size() >= max_fields || size + 32 * (x_entries.size() + 1) > max_size) {
      x_overflow = true;
      return;
    }
    x_entries.push_back({static_cast<std::uint32_t>(x_text.size()),
                         static_cast<std::uint32_t>(field.name.size()),
                         static_cast<std::uint32_t>(field.value.size()), field.never_index});
    x_text.append(field.name).append(field.value);
  }

  [[nodiscard]] std::size_t size() const { return x_entries.size(); }
  // Views good until the next add() or clear().
  [[nodiscard]] Field operator[](std::size_t index) const {
    const Entry& entry = x_entries[index];
    const std::string_view text(x_text);
    return {text.substr(entry.offset, entry.name_size),
            text.substr(entry.offset + entry.name_size, entry.value_size), entry.never_index};
  }
  [[nodiscard]] bool overflow() const { return x_overflow; }
  // Text bytes held.
  [[nodiscard]] std::size_t bytes() const { return x_text.size(); }

private:
  struct Entry {
    std::uint32_t offset, name_size, value_size;
    bool never_index;
  };
  std::string x_text;
  std::vector<Entry> x_entries;
  bool x_overflow = false;
};

} // namespace weir::http2
