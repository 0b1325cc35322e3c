// Paths, methods, hosts and names that match something else than they seem to.
#include "policy-compiler/lint/findings.h"

#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace weir::policy {
namespace {

bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}

// The first place of an unescaped `c` outside of brackets.
std::size_t find_bare(std::string_view regex, char c, std::size_t from = 0) {
  bool in_class = false;
  for (std::size_t i = from; i < regex.size(); ++i) {
    if (regex[i] == '\\') {
      ++i;
    } else if (in_class) {
      in_class = regex[i] != ']';
    } else if (regex[i] == c) {
      return i;
    } else if (regex[i] == '[') {
      in_class = true;
    }
  }
  return std::string_view::npos;
}

// "/search?q=": a quantifier where a query was meant.
bool has_bare_query(std::string_view path) {
  for (auto at = find_bare(path, '?'); at != std::string_view::npos;
       at = find_bare(path, '?', at + 1)) {
    auto end = at + 1;
    while (end < path.size() && is_name_character(path[end])) {
      ++end;
    }
    if (at > 0 && is_name_character(path[at - 1]) && end > at + 1 && end < path.size() &&
        path[end] == '=') {
      return true;
    }
  }
  return false;
}

// "example.com" but not "example.*" or "a.+": a dot between letters that stands for itself.
bool has_bare_dot(std::string_view host) {
  for (auto at = find_bare(host, '.'); at != std::string_view::npos;
       at = find_bare(host, '.', at + 1)) {
    if (at > 0 && at + 1 < host.size() && is_name_character(host[at - 1]) &&
        is_name_character(host[at + 1])) {
      return true;
    }
  }
  return false;
}

bool is_plain(std::string_view regex) {
  constexpr std::string_view kSpecial = ".+*?()|[]{}";
  return std::none_of(kSpecial.begin(), kSpecial.end(),
                      [&](char c) { return find_bare(regex, c) != std::string_view::npos; });
}

std::string escaped_dots(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool bare = text[i] == '.' && (i == 0 || text[i - 1] != '\\') && i + 1 < text.size() &&
                      is_name_character(text[i + 1]);
    out += bare ? "\\." : std::string(1, text[i]);
  }
  return out;
}

bool is_quantifier(char c) { return c == '*' || c == '?' || c == '{'; }

// What of the expression no canonical path has (proxy/http/normalize.h), and what stands there
// instead. Classes of characters are not looked into, nor what follows the start of a query.
struct Uncanonical {
  std::string_view written;
  std::string instead;
};
std::optional<Uncanonical> find_uncanonical(std::string_view path) {
  path = path.substr(0, path.find("\\?"));
  const auto ends_at = [&](std::size_t i) {
    return i == path.size() || path[i] == '/' || path[i] == '$';
  };
  for (auto at = find_bare(path, '/'); at != std::string_view::npos;
       at = find_bare(path, '/', at + 1)) {
    const std::string_view rest = path.substr(at);
    if (rest.starts_with("//") && (rest.size() == 2 || !is_quantifier(rest[2]))) {
      return Uncanonical{rest.substr(0, 2), "/"};
    }
    for (const std::string_view dots : {"/\\.", "/\\.\\."}) {
      if (rest.starts_with(dots) && ends_at(at + dots.size())) {
        return Uncanonical{dots, ""};
      }
    }
  }
  for (auto at = find_bare(path, '%'); at != std::string_view::npos;
       at = find_bare(path, '%', at + 1)) {
    unsigned char byte = 0;
    const std::string_view digits = path.substr(at + 1, 2);
    if (digits.size() == 2 &&
        std::from_chars(digits.data(), digits.data() + 2, byte, 16).ptr == digits.data() + 2 &&
        (std::isalnum(byte) != 0 || byte == '-' || byte == '.' || byte == '_' || byte == '~')) {
      return Uncanonical{path.substr(at, 3),
                         std::string(byte == '.' ? "\\" : "") + static_cast<char>(byte)};
    }
  }
  return std::nullopt;
}

class Requests {
public:
  Requests(const LintSpec& one, Diagnostics& out) : x_one(one), x_out(out) {}

  void look(const Rule& rule) {
    look_at_fqdns(rule);
    for (const PortRule& ports : rule.ports) {
      for (const HttpRule& http : ports.http) {
        look_at_http(http);
      }
      look_at_ports(rule, ports);
      look_at_names(ports.dns, place_in(*x_one.policy, ports.place));
      for (const std::string& name : ports.server_names) {
        look_at_pattern(name, place_in(*x_one.policy, ports.place));
      }
    }
  }

private:
  void tell(Severity severity, Location where, std::string message, std::string hint,
            std::string code) {
    x_out.push_back(
        {severity, std::move(where), std::move(message), std::move(hint), std::move(code)});
  }

  void look_at_http(const HttpRule& http) {
    const Location where = place_in(*x_one.policy, http.place);
    if (has_bare_query(http.path)) {
      tell(Severity::kWarning, where,
           "`?` in path `" + http.path + "` makes the character before it optional",
           "write `\\?` for the start of a query", "path-query");
    } else if (const auto found = find_uncanonical(http.path)) {
      tell(Severity::kWarning, where,
           "`" + std::string(found->written) + "` in path `" + http.path +
               "` stands in no path that is judged: paths are compared in their canonical form",
           found->instead.empty() ? "write the path that it leads to"
                                  : "write `" + found->instead + "`",
           "path-canonical");
    } else if (!http.path.empty() && is_plain(http.path) &&
               http.path.find('?') == std::string::npos) {
      tell(Severity::kNote, where,
           "path `" + http.path + "` matches exactly that, no path below it and no query",
           "`" + http.path + "(/.*)?` for what lies below, `" + http.path +
               "(\\?.*)?` with queries",
           "path-exact");
    }
    const auto first = http.path.find_first_not_of("^(");
    if (first != std::string::npos &&
        std::isalnum(static_cast<unsigned char>(http.path[first])) != 0) {
      tell(Severity::kWarning, where,
           "path `" + http.path + "` does not begin with `/`, as every path does",
           "it matches nothing: write `/" + http.path + "`", "path-slash");
    }
    if (!http.method.empty() && is_plain(http.method) &&
        std::any_of(http.method.begin(), http.method.end(),
                    [](unsigned char c) { return std::islower(c) != 0; })) {
      tell(Severity::kWarning, where,
           "method `" + http.method + "` is not in capitals, as clients send it",
           "methods are compared by case", "method-case");
    }
    if (has_bare_dot(http.host)) {
      tell(Severity::kWarning, where,
           "`.` in host `" + http.host + "` stands for any character, so it matches look-alikes",
           "write `" + escaped_dots(http.host) + "`", "host-dot");
    }
  }

  void look_at_ports(const Rule& rule, const PortRule& ports) {
    const Location where = place_in(*x_one.policy, ports.place);
    const auto is = [](std::uint16_t port, std::uint8_t protocol) {
      return [=](const PortMatch& one) {
        return one.name.empty() && one.first == port && one.last == port &&
               (one.protocol == protocol || one.protocol == 0);
      };
    };
    const auto& all = ports.ports;
    if (ports.l7 == L7Kind::kHttp && !ports.terminating &&
        std::any_of(all.begin(), all.end(), is(443, IPPROTO_TCP))) {
      tell(Severity::kWarning, where,
           "HTTP rules for port 443: what is encrypted there cannot be read and is refused",
           "use `serverNames`, or `terminatingTLS`", "http-tls-port");
    }
    const bool host = std::any_of(ports.http.begin(), ports.http.end(), [](const HttpRule& one) {
      return !one.host.empty() && is_plain(one.host) && one.host.find(':') == std::string::npos;
    });
    if (host && std::none_of(all.begin(), all.end(), is(80, IPPROTO_TCP))) {
      tell(Severity::kNote, where,
           "the host of requests to other ports than 80 ends in `:PORT`, which these rules do not "
           "match",
           "write `(:[0-9]+)?` behind the host", "host-port");
    }
    if (ports.l7 == L7Kind::kDns && rule.action == Action::kAllow &&
        std::any_of(all.begin(), all.end(), is(53, IPPROTO_UDP)) &&
        std::none_of(all.begin(), all.end(), is(53, IPPROTO_TCP))) {
      tell(Severity::kNote, where, "DNS over UDP only: answers that are too long are asked by TCP",
           "write `protocol: ANY`", "dns-udp-only");
    }
  }

  void look_at_pattern(const std::string& pattern, const Location& where) {
    if (pattern.size() > 1 && pattern[0] == '*' && pattern[1] != '*' && pattern[1] != '.' &&
        pattern.find('.') != std::string::npos) {
      const std::string rest = pattern.substr(1);
      tell(Severity::kWarning, where,
           "`" + pattern + "` matches look-alikes such as `evil" + rest + "`, but not `www." +
               rest + "`",
           "write `*." + rest + "` or `**." + rest + "`, and `" + rest + "` itself beside it",
           "pattern-look-alike");
    } else if (pattern.starts_with("*.") && pattern.size() > 2) {
      const std::string rest = pattern.substr(2);
      tell(Severity::kNote, where,
           "`" + pattern + "` matches `a." + rest + "`, but neither `" + rest + "` nor `a.b." +
               rest + "`",
           "`**." + rest + "` matches names of any depth", "pattern-one-label");
    }
  }

  void look_at_names(const std::vector<NamePattern>& names, const Location& where) {
    for (const NamePattern& name : names) {
      look_at_pattern(name.match_pattern, where);
    }
  }

  void look_at_fqdns(const Rule& rule) {
    look_at_names(rule.peers.fqdns, rule.location);
    for (const NamePattern& name : rule.peers.fqdns) {
      const std::string& text = name.match_name.empty() ? name.match_pattern : name.match_name;
      if (!text.empty() && text.find_first_not_of("*.") == std::string::npos) {
        tell(Severity::kWarning, rule.location,
             "`" + text + "` opens every address that any name resolves to",
             "name the domains, or write `toEntities: [world]` if that is meant", "fqdn-any");
      }
      for (const std::string_view cluster :
           {"svc.cluster.local", "svc.cluster.local.", "cluster.local", "cluster.local."}) {
        if (text.ends_with(cluster)) {
          tell(Severity::kWarning, rule.location,
               "`" + text + "` is a name inside the cluster, whose addresses are never learned",
               "use `toEndpoints` or `toServices`", "fqdn-cluster");
          break;
        }
      }
    }
  }

  const LintSpec& x_one;
  Diagnostics& x_out;
};

} // namespace

void lint_requests(const LintSpec& one, Diagnostics& out) {
  Requests requests(one, out);
  for (const Rule& rule : one.spec->rules) {
    requests.look(rule);
  }
}

} // namespace weir::policy
