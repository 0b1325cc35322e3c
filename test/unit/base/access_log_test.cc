#include "proxy/base/access_log.h"

#include "proxy/base/file.h"
#include "test/support/temp_folder.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>
#include <vector>

namespace {

constexpr weir::AccessLog::Options kEveryLine{.max_denials_per_second = 10'000'000};

using namespace weir;
using namespace std::chrono_literals;

AccessRecord denied_request() {
  AccessRecord record;
  record.time = std::chrono::sys_days(std::chrono::year(2026) / 11 / 24) + 9h + 5min + 7s + 42us;
  record.verdict = AccessVerdict::kDenied;
  record.direction = "ingress";
  record.protocol = "http";
  record.source = {"shop", "client", *IpAddress::parse("10.0.1.12"), 40123};
  record.destination = {"shop", "web", *IpAddress::parse("fd00:10:1::11"), 80};
  record.method = "POST";
  record.path = "/discount?x=1";
  record.host = "web.shop";
  record.status = 403;
  record.denied_by = "shop/api";
  record.reason = "method";
  record.bytes_in = 0;
  record.bytes_out = 15;
  record.duration = 1234us;
  return record;
}

std::string line_of(const AccessRecord& record) {
  std::string line;
  format_access_record(record, line);
  return line;
}

// The path as whoever parses the line gets it.
std::string parsed_path(std::string_view path) {
  AccessRecord record;
  record.path = path;
  const std::string line = line_of(record);
  CAPTURE(line);
  REQUIRE(line.find('\n') == line.size() - 1);
  return std::string(boost::json::parse(line).at("path").as_string());
}

std::string written_path(std::string_view path) {
  AccessRecord record;
  record.path = path;
  const std::string line = line_of(record);
  const auto start = line.find("\"path\":\"") + 8;
  return line.substr(start, line.rfind("\"}") - start);
}

TEST_CASE("a request is one line with the keys of the contract, in their order") {
  CHECK(line_of(denied_request()) ==
        R"({"time":"2026-11-24T09:05:07.000042Z","verdict":"DENIED","direction":"ingress",)"
        R"("protocol":"http","source":{"namespace":"shop","pod":"client","ip":"10.0.1.12"},)"
        R"("destination":{"namespace":"shop","pod":"web","ip":"fd00:10:1::11","port":80},)"
        R"("method":"POST","path":"/discount?x=1","host":"web.shop","status":403,)"
        R"("denied_by":"shop/api","reason":"method","bytes_in":0,"bytes_out":15,)"
        R"("duration_us":1234})"
        "\n");
}

TEST_CASE("a query has its name and type, and its answer's code as status") {
  AccessRecord record;
  record.time = std::chrono::sys_days(std::chrono::year(1999) / 12 / 31) + 24h - 1us;
  record.verdict = AccessVerdict::kAllowed;
  record.direction = "egress";
  record.protocol = "dns";
  record.source = {"shop", "client", *IpAddress::parse("10.0.1.12"), 40123};
  record.destination = {"", "", *IpAddress::parse("10.0.0.10"), 53};
  record.query_name = "www.example.com.";
  record.query_type = "AAAA";
  record.status = 0;
  CHECK(line_of(record) ==
        R"({"time":"1999-12-31T23:59:59.999999Z","verdict":"ALLOWED","direction":"egress",)"
        R"("protocol":"dns","source":{"namespace":"shop","pod":"client","ip":"10.0.1.12"},)"
        R"("destination":{"ip":"10.0.0.10","port":53},)"
        R"("query":"www.example.com.","qtype":"AAAA","status":0})"
        "\n");
}

TEST_CASE("what is absent is left out") {
  CHECK(line_of(AccessRecord()) ==
        R"({"time":"1970-01-01T00:00:00.000000Z","verdict":"ERROR","source":{},"destination":{}})"
        "\n");
}

TEST_CASE("a line is appended to what is there") {
  std::string lines = "kept\n";
  format_access_record(AccessRecord(), lines);
  CHECK(lines.starts_with("kept\n{"));
}

TEST_CASE("text that would end the string, the line or act on a terminal is escaped") {
  CHECK(written_path("a\"b\\c/d") == R"(a\"b\\c/d)");
  CHECK(written_path("a\r\nb\tc") == R"(a\u000d\u000ab\u0009c)");
  CHECK(written_path(std::string_view("a\0b", 3)) == R"(a\u0000b)");
  CHECK(written_path("\x1b[2J\x7f") == R"(\u001b[2J\u007f)");
  CHECK(written_path("\xc2\x9b"
                     "31m") == R"(\u009b31m)"); // C1: CSI in one character
  CHECK(written_path("\xe2\x80\xa8\xe2\x80\xae") == R"(\u2028\u202e)");
  CHECK(written_path("gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\x8a") ==
        "gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\x8a");
}

TEST_CASE("bytes that are no UTF-8 are escaped one by one") {
  CHECK(written_path("\xff") == R"(\u00ff)");
  CHECK(written_path("\x80 ") == R"(\u0080 )");
  CHECK(written_path("\xc0\xaf") == R"(\u00c0\u00af)"); // over-long "/"
  CHECK(written_path("\xe0\x80\xaf") == R"(\u00e0\u0080\u00af)");
  CHECK(written_path("\xed\xa0\x80") == R"(\u00ed\u00a0\u0080)");           // a surrogate
  CHECK(written_path("\xf4\x90\x80\x80") == R"(\u00f4\u0090\u0080\u0080)"); // past U+10FFFF
  CHECK(written_path("\xe2\x82") == R"(\u00e2\u0082)");                     // cut short by the end
  CHECK(written_path("\xc3\"") == R"(\u00c3\")"); // must not swallow the quote
}

TEST_CASE("every pair of bytes gives one line that a strict parser accepts") {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const char pair[] = {static_cast<char>(first), static_cast<char>(second)};
      AccessRecord record;
      record.host = std::string_view(pair, 2);
      std::string line;
      format_access_record(record, line);
      boost::system::error_code failed;
      const auto value = boost::json::parse(line, failed);
      if (failed || line.find('\n') != line.size() - 1) {
        CAPTURE(line);
        FAIL("not one line of JSON");
      }
    }
  }
}

TEST_CASE("R9: a value is cut at 8 KiB, and never inside a character") {
  CHECK(parsed_path(std::string(8192, 'a')) == std::string(8192, 'a'));
  CHECK(parsed_path(std::string(8193, 'a')) == std::string(8192, 'a') + "…");
  std::string wide(8191, 'a');
  wide += "ü"; // its second byte is the 8193rd
  CHECK(parsed_path(wide) == std::string(8191, 'a') + "…");
  // Continuation bytes without end: the cut steps back a bounded way.
  CHECK(parsed_path(std::string(1'000'000, '\x80')).size() < 8192 * 2 + 4);
}

TEST_CASE("a line of the longest values, each byte of them escaped, is written whole") {
  const std::string longest(8 * 1024, '\x01');
  const IpAddress ip = *IpAddress::parse("2001:db8:1111:2222:3333:4444:5555:6666");
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  AccessRecord record;
  record.time = denied_request().time;
  record.direction = record.protocol = longest;
  record.source = record.destination = {longest, longest, ip, 65535};
  record.method = record.path = record.host = record.query_name = record.query_type = longest;
  record.status = std::numeric_limits<int>::max();
  record.denied_by = record.denying_rule = record.nearest = record.reason = longest;
  record.header_mismatches = longest;
  record.bytes_in = record.bytes_out = record.lines_left_out = kMost;
  record.duration = std::chrono::microseconds::max();
  const auto parsed = boost::json::parse(line_of(record)).as_object();
  CHECK(parsed.size() == 21); // all keys
  CHECK(parsed.at("header_mismatches").as_string().size() == longest.size());
  std::string line;
  format_envoy_record(record, line);
  CHECK(line.ends_with("\"[2001:db8:1111:2222:3333:4444:5555:6666]:65535\"\n"));
}

TEST_CASE("lines of all workers reach the file whole, in each worker's order") {
  const test::TempFolder folder;
  constexpr unsigned kWorkers = 3;
  constexpr std::uint64_t kLines = 5000;
  std::vector<std::uint64_t> lost(kWorkers);
  {
    auto log = AccessLog::open(folder.file("log"), kWorkers, kEveryLine);
    REQUIRE(log.has_value());
    std::vector<std::thread> workers;
    for (unsigned worker = 0; worker < kWorkers; ++worker) {
      workers.emplace_back([&, worker] {
        const std::string name = std::to_string(worker);
        for (std::uint64_t i = 0; i < kLines; ++i) {
          AccessRecord record = denied_request();
          record.host = name;
          record.bytes_in = i;
          lost[worker] += (*log)->write(worker, record) ? 0 : 1;
        }
      });
    }
    for (auto& worker : workers) {
      worker.join();
    }
  } // what is not written yet is written at the end
  const auto text = read_file(folder.file("log"));
  REQUIRE(text.has_value());
  std::vector<std::uint64_t> seen(kWorkers), last(kWorkers);
  for (std::size_t at = 0; at < text->size();) {
    const auto end = text->find('\n', at);
    REQUIRE(end != std::string::npos);
    const auto line = boost::json::parse(std::string_view(*text).substr(at, end - at));
    const auto worker = static_cast<std::size_t>(std::stoi(line.at("host").as_string().c_str()));
    const auto number = line.at("bytes_in").to_number<std::uint64_t>();
    REQUIRE((seen[worker] == 0 || number > last[worker]));
    last[worker] = number;
    ++seen[worker];
    at = end + 1;
  }
  for (unsigned worker = 0; worker < kWorkers; ++worker) {
    CHECK(seen[worker] + lost[worker] == kLines);
    CHECK(seen[worker] > 0);
  }
}

TEST_CASE("after flush the file has everything that was handed over") {
  const test::TempFolder folder;
  auto log = AccessLog::open(folder.file("log"), 1, kEveryLine);
  REQUIRE(log.has_value());
  std::string expected;
  for (std::uint64_t i = 0; i < 50; ++i) {
    AccessRecord record = denied_request();
    record.bytes_in = i;
    REQUIRE((*log)->write(0, record));
    format_access_record(record, expected);
    (*log)->flush();
    REQUIRE(*read_file(folder.file("log")) == expected);
  }
}

TEST_CASE("after reopen lines go to the new file of that name, and the old one is kept") {
  const test::TempFolder folder;
  const std::string path = folder.file("log");
  auto log = AccessLog::open(path, 1, kEveryLine);
  REQUIRE(log.has_value());
  REQUIRE((*log)->write(0, denied_request()));
  (*log)->flush();
  std::filesystem::rename(path, path + ".1");
  REQUIRE((*log)->reopen().has_value());
  REQUIRE((*log)->write(0, denied_request()));
  (*log)->flush();
  CHECK(*read_file(path) == line_of(denied_request()));
  CHECK(*read_file(path + ".1") == line_of(denied_request()));
}

TEST_CASE("a reopen that fails keeps the old file") {
  const test::TempFolder folder;
  const std::string path = folder.file("inner/log");
  std::filesystem::create_directory(folder.file("inner"));
  auto log = AccessLog::open(path, 1, kEveryLine);
  REQUIRE(log.has_value());
  std::filesystem::rename(folder.file("inner"), folder.file("moved"));
  CHECK((*log)->reopen().has_error());
  REQUIRE((*log)->write(0, denied_request()));
  (*log)->flush();
  CHECK(*read_file(folder.file("moved/log")) == line_of(denied_request()));
}

TEST_CASE("a file is appended to, and nobody else may read it") {
  const test::TempFolder folder;
  const std::string path = folder.file("log");
  for (int run = 0; run < 2; ++run) {
    auto log = AccessLog::open(path, 1, kEveryLine);
    REQUIRE(log.has_value());
    REQUIRE((*log)->write(0, denied_request()));
  }
  CHECK(*read_file(path) == line_of(denied_request()) + line_of(denied_request()));
  struct stat status{};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0007) == 0);
}

TEST_CASE("a path that cannot be opened is an error") {
  const test::TempFolder folder;
  CHECK(AccessLog::open(folder.file("no/such/folder/log"), 1, kEveryLine).has_error());
  CHECK(AccessLog::open(folder.file(""), 1, kEveryLine).has_error());
  // A FIFO without a reader is no reason to hang at start.
  REQUIRE(mkfifo(folder.file("fifo").c_str(), 0600) == 0);
  CHECK(AccessLog::open(folder.file("fifo"), 1, kEveryLine).has_error());
}

TEST_CASE("a reader that does not read costs lines, never the worker's time or the end") {
  const test::TempFolder folder;
  const std::string path = folder.file("fifo");
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  std::uint64_t written = 0;
  {
    auto log = AccessLog::open(path, 1, kEveryLine);
    REQUIRE(log.has_value());
    // The pipe and the worker's buffer fill; from then on a write says so, at once.
    while ((*log)->write(0, denied_request())) {
      ++written;
      REQUIRE(written < 1'000'000);
    }
    const std::size_t size = line_of(denied_request()).size();
    CHECK(written * size >= 1024 * 1024 - size);
  }
  ::close(reader);
}

TEST_CASE("a reader that went away does not end the process, and lines continue at a new one") {
  const test::TempFolder folder;
  const std::string path = folder.file("fifo");
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  auto log = AccessLog::open(path, 1, kEveryLine);
  REQUIRE(log.has_value());
  ::close(reader);
  REQUIRE((*log)->write(0, denied_request()));
  (*log)->flush(); // EPIPE: that line is lost
  reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE((*log)->write(0, denied_request()));
  (*log)->flush();
  std::string got(4096, '\0');
  const ssize_t size = ::read(reader, got.data(), got.size());
  REQUIRE(size > 0);
  got.resize(static_cast<std::size_t>(size));
  CHECK(got == line_of(denied_request()));
  ::close(reader);
}

} // namespace

TEST_CASE("R7: a flood of denials is cut to so many lines a second, and what is left out is told") {
  const test::TempFolder folder;
  const std::string path = folder.file("log");
  {
    auto log = AccessLog::open(path, 1, {.max_denials_per_second = 3});
    REQUIRE(log.has_value());
    AccessRecord denied = denied_request();
    denied.verdict = AccessVerdict::kDenied;
    denied.time = std::chrono::system_clock::time_point(std::chrono::seconds(1000));
    AccessRecord allowed = denied;
    allowed.verdict = AccessVerdict::kAllowed;
    for (int i = 0; i < 10; ++i) {
      CHECK((*log)->write(0, denied));
      CHECK((*log)->write(0, allowed));
    }
    allowed.time += std::chrono::seconds(1);
    CHECK((*log)->write(0, allowed));
  }
  std::ifstream file(path);
  std::size_t denials = 0, others = 0;
  std::string told;
  for (std::string line; std::getline(file, line);) {
    if (line.find("lines_left_out") != std::string::npos) {
      told = line;
    } else if (line.find("DENIED") != std::string::npos) {
      ++denials;
    } else {
      ++others;
    }
  }
  CHECK(denials == 3);
  CHECK(others == 11);
  CHECK(told.find("\"lines_left_out\":7") != std::string::npos);
  CHECK(told.find("\"reason\":\"log-limit\"") != std::string::npos);
}

TEST_CASE("a record in Envoy's text format has Envoy's fields and flags") {
  AccessRecord record;
  record.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1500));
  record.verdict = AccessVerdict::kError;
  record.protocol = "http";
  record.method = "GET";
  record.path = "/a\"b\n";
  record.host = "shop";
  record.status = 503;
  record.reason = "upstream-refused";
  record.bytes_in = 10;
  record.bytes_out = 20;
  record.duration = std::chrono::microseconds(4200);
  record.destination.ip = *IpAddress::parse("10.0.0.1");
  record.destination.port = 80;
  std::string line;
  format_envoy_record(record, line);
  CHECK(line ==
        "[1970-01-01T00:00:01.500000Z] \"GET /a\\\"b\\u000a HTTP/1.1\" 503 UF 10 20 4 - \"-\" "
        "\"-\" \"-\" \"shop\" \"10.0.0.1:80\"\n");
  line.clear();
  format_envoy_record({}, line);
  CHECK(line == "[1970-01-01T00:00:00.000000Z] \"- - \" 0 DPE 0 0 0 - \"-\" \"-\" \"-\" \"-\" "
                "\"-\"\n");
}
