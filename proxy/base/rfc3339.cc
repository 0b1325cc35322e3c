#include "proxy/base/rfc3339.h"

namespace weir {
namespace {

template <int width>
void write_digits(unsigned number, TextWriter& out) {
  char digits[width];
  for (int at = width; at > 0; number /= 10) {
    digits[--at] = static_cast<char>('0' + number % 10);
  }
  out.put({digits, width});
}

} // namespace

void write_rfc3339(std::chrono::system_clock::time_point time, TextWriter& out) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::microseconds>(time - day));
  write_digits<4>(static_cast<unsigned>(static_cast<int>(date.year())), out);
  out.put('-');
  write_digits<2>(static_cast<unsigned>(date.month()), out);
  out.put('-');
  write_digits<2>(static_cast<unsigned>(date.day()), out);
  out.put('T');
  write_digits<2>(static_cast<unsigned>(clock.hours().count()), out);
  out.put(':');
  write_digits<2>(static_cast<unsigned>(clock.minutes().count()), out);
  out.put(':');
  write_digits<2>(static_cast<unsigned>(clock.seconds().count()), out);
  out.put('.');
  write_digits<6>(static_cast<unsigned>(clock.subseconds().count()), out);
  out.put('Z');
}

std::string rfc3339(std::chrono::system_clock::time_point time) {
  std::string text;
  append_written(text, kRfc3339, [&](TextWriter& out) { write_rfc3339(time, out); });
  return text;
}

} // namespace weir
