#include "proxy/http/denial.h"

#include "proxy/base/json_text.h"
#include "proxy/http/ascii.h"

namespace weir::http {
namespace {

constexpr std::size_t kMaxText = 256;
constexpr std::size_t kMaxNearest = 1024;

// Thousandths; a quality that is none counts as 0 (RFC 9110 §12.4.2).
int quality_of(std::string_view parameters) {
  int quality = 1000;
  while (!parameters.empty()) {
    const std::size_t end = parameters.find(';');
    const std::string_view parameter = trim(parameters.substr(0, end));
    if (parameter.size() >= 2 && lower(parameter[0]) == 'q' && parameter[1] == '=') {
      const std::string_view value = parameter.substr(2);
      if (value.empty() || value.size() > 5 || (value[0] != '0' && value[0] != '1') ||
          (value.size() > 1 && value[1] != '.')) {
        return 0;
      }
      quality = (value[0] - '0') * 1000;
      int weight = 100;
      for (const char digit : value.substr(value.size() > 1 ? 2 : 1)) {
        if (!is(kDigitByte, digit)) {
          return 0;
        }
        quality += (digit - '0') * weight;
        weight /= 10;
      }
      return quality <= 1000 ? quality : 0;
    }
    parameters.remove_prefix(end == std::string_view::npos ? parameters.size() : end + 1);
  }
  return quality;
}

// The quality that the most specific range gives to a type.
struct Quality {
  int specificity = -1, value = 0;
  void offer(int how_specific, int quality) {
    if (how_specific > specificity || (how_specific == specificity && quality > value)) {
      specificity = how_specific;
      value = quality;
    }
  }
};

void append_member(std::string_view name, std::string_view value, std::size_t most,
                   std::string& out) {
  if (!value.empty()) {
    out.append(",\"").append(name).append("\":");
    append_json_text(value, most, out);
  }
}

} // namespace

bool prefers_problem(std::span<const Header> fields) {
  Quality problem, text;
  for (const Header& field : fields) {
    if (!equals_lower(field.name, "accept")) {
      continue;
    }
    for_each_element(field.value, [&](std::string_view element) {
      const std::size_t end = element.find(';');
      const std::string_view range = trim(element.substr(0, end));
      const int quality =
          quality_of(end == std::string_view::npos ? std::string_view{} : element.substr(end + 1));
      if (equals_lower(range, "*/*")) {
        problem.offer(0, quality);
        text.offer(0, quality);
      } else if (equals_lower(range, "application/*")) {
        problem.offer(1, quality);
      } else if (equals_lower(range, "text/*")) {
        text.offer(1, quality);
      } else if (equals_lower(range, kProblemType)) {
        problem.offer(2, quality);
      } else if (equals_lower(range, "text/plain")) {
        text.offer(2, quality);
      }
    });
  }
  if (problem.value == 0) {
    return false;
  }
  return problem.specificity == 2 ? problem.value >= text.value : problem.value > text.value;
}

void write_problem(const Denial& denial, std::string& out) {
  out.append(R"({"type":"urn:weir:denied","title":"Access denied","status":403)");
  append_member("policy", denial.policy, kMaxText, out);
  append_member("rule", denial.rule, kMaxText, out);
  append_member("reason", denial.reason, kMaxText, out);
  append_member("detail", denial.nearest.empty() ? "no policy allows this" : denial.nearest,
                kMaxNearest, out);
  out.append("}\n");
}

} // namespace weir::http
