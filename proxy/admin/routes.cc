#include "proxy/admin/routes.h"

#include "proxy/admin/stats.h"
#include "proxy/admin/views.h"
#include "proxy/base/check.h"
#include "proxy/base/ip.h"
#include "proxy/base/log.h"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

namespace weir::admin {
namespace {

namespace http = boost::beast::http;

struct Parameter {
  std::string_view name, value;
};
using Parameters = std::vector<Parameter>;

Reply text(std::string body, unsigned status = 200) {
  Reply reply;
  reply.status = status;
  reply.body = std::move(body);
  return reply;
}

Reply json(const boost::json::value& value) {
  Reply reply;
  reply.content_type = "application/json";
  reply.body = boost::json::serialize(value) + "\n";
  return reply;
}

Reply ready(const RouteContext& context, const Parameters& /*parameters*/) {
  const auto readiness = context.source.readiness();
  if (!readiness.ready) {
    return text(readiness.reason + "\n", 503);
  }
  return text(readiness.reason.empty() ? "LIVE\n" : "LIVE, degraded: " + readiness.reason + "\n");
}

// Answering at all is the sign of life; that policies are missing must not restart the process.
Reply alive(const RouteContext& /*context*/, const Parameters& /*parameters*/) {
  return text("ok\n");
}

Reply prometheus(const RouteContext& context, const Parameters& /*parameters*/) {
  Reply reply = text(stats_prometheus(take_stats(context.source, context.started_at)));
  reply.content_type = kPrometheusType;
  return reply;
}

Reply stats(const RouteContext& context, const Parameters& /*parameters*/) {
  return text(stats_text(take_stats(context.source, context.started_at)));
}

Reply server_info(const RouteContext& context, const Parameters& /*parameters*/) {
  const auto readiness = context.source.readiness();
  return json(server_json(context.config, *context.source.view(), readiness,
                          context.source.cluster_health(), context.source.attach_mode(),
                          context.started_at));
}

Reply config_dump(const RouteContext& context, const Parameters& /*parameters*/) {
  return json(config_json(context.config, *context.source.view()));
}

template <boost::json::value (*as_json)(const View&)>
Reply listing(const RouteContext& context, const Parameters& /*parameters*/) {
  return json(as_json(*context.source.view()));
}

template <boost::json::value (*as_json)(const std::vector<EndpointRow>&)>
Reply pods(const RouteContext& context, const Parameters& /*parameters*/) {
  return json(as_json(context.source.endpoints()));
}

template <bool expired>
Reply fqdn(const RouteContext& context, const Parameters& /*parameters*/) {
  return json(fqdn_json(context.source.fqdn(), expired));
}

Reply acceleration(const RouteContext& context, const Parameters& /*parameters*/) {
  return json(acceleration_json(context.source.acceleration()));
}

Reply accelerate(const RouteContext& context, const Parameters& parameters) {
  const std::string_view wish = parameters.empty() ? "" : parameters.front().value;
  if (wish != "true" && wish != "false") {
    return text("?enabled= must be true or false\n", 400);
  }
  context.source.accelerate(wish == "true");
  return text("OK\n");
}

Reply show_level(const RouteContext& /*context*/, const Parameters& /*parameters*/) {
  return text("level: " + std::string(log::level_name()) + "\n");
}

Reply set_level(const RouteContext& context, const Parameters& parameters) {
  if (parameters.empty() || !log::set_level(parameters.front().value)) {
    return text("?level= must be debug, info, warning or error\n", 400);
  }
  return show_level(context, parameters);
}

template <void (Source::*ask)()>
Reply wish(const RouteContext& context, const Parameters& /*parameters*/) {
  (context.source.*ask)();
  return text("OK\n");
}

// %XX and nothing else; nothing when one is broken.
std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    const auto digits = text.substr(i + 1, 2);
    const auto [end, failed] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (failed != std::errc{} || end != digits.data() + 2) {
      return std::nullopt;
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

Reply trace_flow(const RouteContext& context, const Parameters& parameters) {
  TraceQuestion question;
  for (const Parameter& one : parameters) {
    auto value = unescaped(one.value);
    if (!value) {
      return text("?" + std::string(one.name) + "= has a broken escape\n", 400);
    }
    if (one.name == kTraceHeader) {
      question.headers.push_back(std::move(*value));
      continue;
    }
    const auto* parameter =
        std::find_if(std::begin(kTraceParameters), std::end(kTraceParameters),
                     [&](const TraceParameter& known) { return known.name == one.name; });
    WEIR_CHECK(parameter != std::end(kTraceParameters)); // answer() lets no other through
    question.*parameter->text = std::move(*value);
  }
  const auto answer = context.source.trace(question);
  return answer ? json(*answer) : text(answer.error().text() + "\n", 400);
}

template <typename Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed == std::errc{} && end == text.data() + text.size();
}

Reply flows(const RouteContext& context, const Parameters& parameters) {
  std::optional<std::size_t> last;
  FlowQuery query;
  bool follow = false;
  for (const Parameter& one : parameters) {
    const auto value = unescaped(one.value);
    if (!value) {
      return text("?" + std::string(one.name) + "= has a broken escape\n", 400);
    }
    if (one.name == "last" && !read_number(*value, last.emplace())) {
      return text("?last= must be a number\n", 400);
    }
    if (one.name == "pod") {
      query.filter.pod = *value;
      if (value->find('/') == std::string::npos) {
        return text("?pod= must be NAMESPACE/NAME\n", 400);
      }
    }
    if (one.name == "verdict") {
      query.filter.verdict = parse_flow_verdict(*value);
      if (!query.filter.verdict) {
        return text("?verdict= must be FORWARDED, REDIRECTED, DROPPED or AUDIT\n", 400);
      }
    }
    if (one.name == "follow") {
      follow = *value == "true";
      if (!follow && *value != "false") {
        return text("?follow= must be true or false\n", 400);
      }
    }
  }
  if (!follow) {
    return json(flows_json(
        context.source.flows().last(last.value_or(FlowLog::kCapacity), query.filter).rows));
  }
  query.last = last.value_or(0);
  Reply reply;
  reply.content_type = kJsonLinesType;
  reply.follow = std::move(query);
  return reply;
}

Reply probes(const RouteContext& context, const Parameters& /*parameters*/) {
  const auto answer = context.source.probes();
  return answer ? json(*answer) : text(answer.error().text() + "\n", 400);
}

Reply help(const RouteContext& context, const Parameters& parameters);

using Handler = Reply (*)(const RouteContext&, const Parameters&);

struct Route {
  std::string_view path;
  std::string_view help;
  bool on_metrics = false;
  Handler get = nullptr;
  Handler post = nullptr;
  std::string_view parameter = {};                   // the only one that POST takes
  std::span<const std::string_view> asked_with = {}; // those that GET takes
};

constexpr auto kTraceAskedWith = [] {
  std::array<std::string_view, std::size(kTraceParameters) + 1> names{};
  std::transform(std::begin(kTraceParameters), std::end(kTraceParameters), names.begin(),
                 [](const TraceParameter& one) { return one.name; });
  names.back() = kTraceHeader;
  return names;
}();

constexpr std::string_view kFlowsAskedWith[] = {"last", "pod", "verdict", "follow"};

constexpr Route kRoutes[] = {
    {"/", "this list", false, help},
    {"/acceleration", "joined sockets: whether, why not, how much; POST ?enabled=true sets it",
     false, acceleration, accelerate, "enabled"},
    {"/config_dump", "the configuration in force", false, config_dump},
    {"/drain_listeners", "accept no more, let what runs end", false, nullptr, wish<&Source::drain>},
    {"/endpoints", "pods, their identities and policies", false, pods<endpoints_json>},
    {"/flows",
     "what became of new flows and dropped packets: ?last=&pod=&verdict=&follow=",
     false,
     flows,
     nullptr,
     {},
     kFlowsAskedWith},
    {"/fqdn/cache", "addresses learned from DNS", false, fqdn<false>},
    {"/fqdn/expired", "addresses whose time is over, as far as remembered", false, fqdn<true>},
    {"/healthz", "ok while the process lives", true, alive},
    {"/help", "this list", false, help},
    {"/identities", "identities of pods and their labels", false, pods<identities_json>},
    {"/listeners", "where traffic is taken", false, listing<listeners_json>},
    {"/livez", "ok while the process lives", true, alive},
    {"/logging", "level of the process's log; POST ?level=debug sets it", false, show_level,
     set_level, "level"},
    {"/metrics", "metrics for Prometheus", true, prometheus},
    {"/policies", "policy documents, accepted or rejected", false, listing<policies_json>},
    {"/policies/probes", "what `weirctl connectivity test` sends, and what is to come of it", false,
     probes},
    {"/policies/trace",
     "why a flow is allowed or denied: ?from=&to=&port=",
     false,
     trace_flow,
     nullptr,
     {},
     kTraceAskedWith},
    {"/quitquitquit", "drain, then end the process", false, nullptr, wish<&Source::quit>},
    {"/ready", "LIVE, or 503 and why not; asks every worker", true, ready},
    {"/readyz", "as /ready", true, ready},
    {"/reload", "read policies and endpoints again", false, nullptr, wish<&Source::reload>},
    {"/server_info", "version, state and uptime", false, server_info},
    {"/stats", "metrics as text", false, stats},
    {"/stats/prometheus", "metrics for Prometheus", true, prometheus},
};

Reply help(const RouteContext& /*context*/, const Parameters& /*parameters*/) {
  std::string body = "weir admin\n\n";
  for (const auto& route : kRoutes) {
    std::string line = route.get == nullptr ? "  POST " : "  GET  ";
    line += route.path;
    line.resize(std::max<std::size_t>(line.size() + 2, 30), ' ');
    body += line + std::string(route.help) + "\n";
  }
  return text(std::move(body));
}

Parameters split_query(std::string_view query) {
  Parameters parameters;
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto parameter = query.substr(0, end);
    const auto equals = std::min(parameter.find('='), parameter.size());
    if (!parameter.empty()) {
      parameters.push_back(
          {parameter.substr(0, equals), parameter.substr(std::min(equals + 1, parameter.size()))});
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return parameters;
}

Reply wrong_method(const Route& route) {
  Reply reply = text("method not allowed\n", 405);
  reply.allow = route.post == nullptr  ? "GET, HEAD"
                : route.get == nullptr ? "POST"
                                       : "GET, HEAD, POST";
  return reply;
}

} // namespace

bool is_local_host(std::string_view host) {
  if (IpAddress::parse(host) || SocketAddress::parse(host)) {
    return true;
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    return IpAddress::parse(host.substr(1, host.size() - 2)).has_value();
  }
  const auto name = host.substr(0, host.find(':'));
  static constexpr std::string_view kLocal = "localhost";
  return name.size() == kLocal.size() &&
         std::equal(name.begin(), name.end(), kLocal.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
         });
}

Reply answer(const RouteContext& context, Face face, const Request& request) {
  // The metrics face shows nothing that a page may not read, and is asked by service names.
  if (face == Face::kAdmin && !is_local_host(request.host)) {
    return text("the Host must be an address or localhost\n", 403);
  }
  const auto question = std::min(request.target.find('?'), request.target.size());
  const auto path = request.target.substr(0, question);
  const auto route = std::find_if(std::begin(kRoutes), std::end(kRoutes), [&](const Route& known) {
    return known.path == path && (face == Face::kAdmin || known.on_metrics);
  });
  if (route == std::end(kRoutes)) {
    return text(face == Face::kAdmin ? "no such path; / lists them\n" : "no such path\n", 404);
  }
  const bool posted = request.method == http::verb::post;
  const bool read = request.method == http::verb::get || request.method == http::verb::head;
  const Handler handler = posted ? route->post : read ? route->get : nullptr;
  if (handler == nullptr) {
    return wrong_method(*route);
  }
  // A page in a browser on this machine can post here without seeing the answer.
  if (posted && request.from_web_page) {
    return text("refused: sent by a web page\n", 403);
  }
  const auto parameters =
      split_query(request.target.substr(std::min(question + 1, request.target.size())));
  const bool known = std::all_of(parameters.begin(), parameters.end(), [&](const Parameter& one) {
    return posted ? one.name == route->parameter
                  : std::find(route->asked_with.begin(), route->asked_with.end(), one.name) !=
                        route->asked_with.end();
  });
  if (!known || (posted && parameters.size() > 1)) {
    if (!route->asked_with.empty()) {
      return text("unknown parameter; " + std::string(route->help) + "\n", 400);
    }
    return text(route->parameter.empty()
                    ? "takes no parameters\n"
                    : "POST takes ?" + std::string(route->parameter) + "= only\n",
                400);
  }
  return handler(context, parameters);
}

} // namespace weir::admin
