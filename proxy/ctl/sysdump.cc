#include "proxy/base/rfc3339.h"
#include "proxy/base/unique_fd.h"
#include "proxy/base/version.h"
#include "proxy/ctl/client.h"
#include "proxy/ctl/command.h"

#include <boost/json.hpp>
#include <CLI/CLI.hpp>

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <memory>

namespace weir::ctl {
namespace {

namespace json = boost::json;

// What the admin server shows has no secrets: headers' values, keys and tokens are in none of it.
constexpr std::string_view kLists[] = {"/server_info", "/config_dump",  "/policies",
                                       "/endpoints",   "/identities",   "/listeners",
                                       "/fqdn/cache",  "/fqdn/expired", "/flows"};
constexpr std::string_view kTexts[] = {"/ready", "/logging", "/stats/prometheus"};

json::value kernel() {
  utsname names{};
  if (::uname(&names) != 0) {
    return nullptr;
  }
  return json::string(std::string(names.sysname) + " " + names.release + " " + names.version + " " +
                      names.machine);
}

// An answer, or why there is none: half a dump is worth sending, too.
json::value asked(const Session& session, std::string_view path, bool as_text) {
  if (as_text) {
    auto text = get_text(session.admin, path);
    return text ? json::value(json::string(*text)) : json::value{{"error", text.error().text()}};
  }
  auto value = get_json(session.admin, path);
  return value ? *value : json::value{{"error", value.error().text()}};
}

Result<void> write_new(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) {
    return errno_error("write " + path);
  }
  for (std::size_t done = 0; done < text.size();) {
    const auto written = ::write(file.get(), text.data() + done, text.size() - done);
    if (written < 0) {
      return errno_error("write " + path);
    }
    done += static_cast<std::size_t>(written);
  }
  return {};
}

void dump(Session& session, const std::string& path) {
  if (auto info = get_json(session.admin, "/server_info"); !info) {
    fail(session, info.error());
    return;
  }
  json::object answers;
  for (const auto list : kLists) {
    answers[json::string_view(list.data(), list.size())] = asked(session, list, false);
  }
  for (const auto text : kTexts) {
    answers[json::string_view(text.data(), text.size())] = asked(session, text, true);
  }
  const json::object whole = {{"taken_at", rfc3339(std::chrono::system_clock::now())},
                              {"weirctl", version()},
                              {"kernel", kernel()},
                              {"admin", std::move(answers)}};
  if (const auto written = write_new(path, json::serialize(whole) + "\n"); !written) {
    fail(session, written.error());
    return;
  }
  print(path + ": what weir knows of pods, policies and learned names; no secrets\n");
}

} // namespace

void add_sysdump(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("sysdump", "Everything that helps with a bug, in one file");
  const auto path = std::make_shared<std::string>("weir-sysdump.json");
  command->add_option("--file", *path, "Where to; must not be there yet")->capture_default_str();
  command->callback([&session, path] { dump(session, *path); });
}

} // namespace weir::ctl
