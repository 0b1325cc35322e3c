#!/usr/bin/env python3
"""Every row of the security checklist is named by a test.

Usage: check_checklist.py [ROOT]
A row is an id such as W7; it has to stand in the name of a TEST_CASE or of an add_test(). The
tables below say what each row is about; their order is the rows' numbering.
"""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
import compile_commands  # noqa: E402

ROWS = {
    "H": ["dot segments", "encoded dots, decoded once", "repeated slashes",
          "encoded separators and backslashes", "path parameters", "fragments",
          "the query stays out of path segments", "bytes that no target has",
          "absolute targets and Host", "targets of other forms, paths above the root",
          "what is matched is what is forwarded", "methods", "Host", "segment boundaries",
          "expressions too large to compile"],
    "W": ["Content-Length", "Transfer-Encoding", "chunks", "line ends and fields", "versions",
          "limits, 8-bit bytes", "pipelining", "requests inside bodies", "Upgrade and CONNECT",
          "Expect", "repeated fields", "responses", "fields that are weir's own"],
    "X": ["rapid reset", "MadeYouReset", "CONTINUATION flood", "HPACK bomb, cookie crumbs",
          "floods of frames that cost nothing", "slow window readers", "malformed heads",
          "trailers", "GOAWAY and changes of policy", "gRPC, prior knowledge, Upgrade: h2c",
          "a preface where HTTP/2 is not spoken"],
    "D": ["answers to another question, from elsewhere", "chains of names",
          "authority and additional sections", "odd questions and opcodes", "malformed messages",
          "odd labels", "wildcards", "addresses that no name may open", "times to live",
          "floods of names and addresses", "servers that nobody trusts", "forged answers",
          "what is no question", "TCP", "slow servers, ids and ports", "answer after the map",
          "refusals and search lists", "volume by pod"],
    "N": ["IPv6", "extension headers and options", "fragments", "ICMP", "raw protocols",
          "services", "the node", "tags and second interfaces", "spoofed sources", "TCP's corners",
          "flows when things change", "reuse of ports"],
    "R": ["slow head", "slow body", "slow reader", "idle connections", "connection floods",
          "distinct paths without end", "floods of log lines", "no file descriptors left",
          "long values in the log"],
    "T": ["no server name", "upper case", "trailing dot", "IP literal", "two names",
          "more than 255 bytes", "bytes beyond ASCII", "hello in many records and segments",
          "hello of more than 16 KiB", "GREASE", "ECH", "SSLv2 hello", "HTTP on the port",
          "STARTTLS", "server name and Host differ", "NUL in a certificate's name",
          "expired certificate, wrong authority"],
    "A": ["not reachable from pods", "changes by POST only, no web page", "no secrets shown",
          "no HTML", "slow and greedy readers", "no values of credentials in logs"],
}

CATCH = re.compile(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
CTEST = re.compile(r'add_test\(NAME "([^"]*)"')
ID = re.compile(r"\b[A-Z][0-9]+\b")


def ids_in_names(root):
    found = set()
    for path in compile_commands.project_files(root, (".cc", "CMakeLists.txt")):
        pattern = CTEST if path.endswith(".txt") else CATCH
        for name in pattern.findall((root / path).read_text()):
            found.update(ID.findall(name))
    return found


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = ids_in_names(root)
    missing = 0
    for section, rows in ROWS.items():
        for number, about in enumerate(rows, 1):
            if f"{section}{number}" not in found:
                print(f"{section}{number} ({about}) is in no test's name")
                missing += 1
    print(f"{sum(map(len, ROWS.values()))} rows, {missing} without a test")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
