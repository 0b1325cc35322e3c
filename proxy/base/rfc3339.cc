#include "proxy/base/rfc3339.h"

namespace weir {
namespace {

void append_digits(std::int64_t number, int width, std::string& out) {
  char digits[8];
  for (int at = width; at > 0; number /= 10) {
    digits[--at] = static_cast<char>('0' + number % 10);
  }
  out.append(digits, static_cast<std::size_t>(width));
}

} // namespace

void append_rfc3339(std::chrono::system_clock::time_point time, std::string& out) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::microseconds>(time - day));
  append_digits(static_cast<int>(date.year()), 4, out);
  out.push_back('-');
  append_digits(static_cast<unsigned>(date.month()), 2, out);
  out.push_back('-');
  append_digits(static_cast<unsigned>(date.day()), 2, out);
  out.push_back('T');
  append_digits(clock.hours().count(), 2, out);
  out.push_back(':');
  append_digits(clock.minutes().count(), 2, out);
  out.push_back(':');
  append_digits(clock.seconds().count(), 2, out);
  out.push_back('.');
  append_digits(clock.subseconds().count(), 6, out);
  out.push_back('Z');
}

std::string rfc3339(std::chrono::system_clock::time_point time) {
  std::string text;
  append_rfc3339(time, text);
  return text;
}

} // namespace weir
