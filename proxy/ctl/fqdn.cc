// weirctl fqdn: what pods learned from DNS, and why an address is open or closed to one of them.
#include "proxy/base/dns_name.h"
#include "proxy/ctl/client.h"
#include "proxy/ctl/listing.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::ctl {
namespace {

namespace json = boost::json;

const std::vector<Column>& columns() {
  static const std::vector<Column> kColumns = {
      {"POD", "pod"}, {"NAME", "name"},          {"ADDRESS", "address"},
      {"TTL", "ttl"}, {"EXPIRES", "expires_at"}, {"STATE", "state"}};
  return kColumns;
}

// Rows of both lists, each with its state; nothing when weir could not be asked.
std::optional<json::array> learned(Session& session,
                                   const std::function<bool(const json::value&)>& wanted) {
  json::array rows;
  for (const auto& [path, state] :
       {std::pair("/fqdn/cache", "open"), std::pair("/fqdn/expired", "expired")}) {
    const auto answer = get_json(session.admin, path);
    if (!answer) {
      fail(session, answer.error());
      return std::nullopt;
    }
    const auto* list = answer->if_array();
    if (list == nullptr) {
      fail(session, invalid_error(std::string(path) + " is no list; is that weir-proxy?"));
      return std::nullopt;
    }
    for (const auto& row : *list) {
      if (row.is_object() && wanted(row)) {
        json::object with_state = row.as_object();
        with_state["state"] = state;
        rows.push_back(std::move(with_state));
      }
    }
  }
  return rows;
}

void show_name(Session& session, const std::string& asked) {
  const auto name = DnsName::from_text(asked);
  if (!name) {
    fail(session, invalid_error("`" + asked + "` is no domain name"));
    return;
  }
  const auto rows = learned(session, [&](const json::value& row) {
    return DnsName::from_text(cell(row, "name")) == name;
  });
  if (rows) {
    show_rows(session, *rows, "learned addresses of " + name->to_text(), columns());
  }
}

void show_why(Session& session, const std::string& asked, const std::string& pod) {
  const auto address = IpAddress::parse(asked);
  if (!address) {
    fail(session, invalid_error("`" + asked + "` is no address"));
    return;
  }
  const auto rows = learned(session, [&](const json::value& row) {
    return cell(row, "pod") == pod && IpAddress::parse(cell(row, "address")) == address;
  });
  if (!rows) {
    return;
  }
  bool open = false;
  for (const auto& row : *rows) {
    open = open || cell(row, "state") == "open";
  }
  session.exit_code = open ? kFine : kFindings;
  if (!session.json && rows->empty()) {
    print(asked + ": " + pod +
          " has not learned it from DNS for any name that its toFQDNs rules want.\n");
    return;
  }
  show_rows(session, *rows, "names of " + asked, columns());
}

} // namespace

void add_fqdn(CLI::App& app, Session& session) {
  auto* fqdn = app.add_subcommand("fqdn", "Addresses that pods learned from DNS");
  fqdn->require_subcommand(0, 1);
  fqdn->add_subcommand("list", "As `weirctl fqdn`: all that is open");

  auto name = std::make_shared<std::string>();
  auto* show = fqdn->add_subcommand("show", "The addresses of one name, expired ones too");
  show->add_option("NAME", *name, "domain name")->required();

  auto address = std::make_shared<std::string>();
  auto pod = std::make_shared<std::string>();
  auto* why = fqdn->add_subcommand(
      "why", "By which names an address is open to a pod, or was; exit code 1: it is not open");
  why->add_option("ADDRESS", *address, "IPv4 or IPv6 address")->required();
  why->add_option("--pod", *pod, "NAMESPACE/NAME")->required();

  fqdn->callback([&session, show, why, name, address, pod] {
    if (*show) {
      show_name(session, *name);
    } else if (*why) {
      show_why(session, *address, *pod);
    } else {
      show_list(session, "/fqdn/cache", "learned addresses",
                {{"POD", "pod"},
                 {"NAME", "name"},
                 {"ADDRESS", "address"},
                 {"TTL", "ttl"},
                 {"EXPIRES", "expires_at"}});
    }
  });
}

} // namespace weir::ctl
