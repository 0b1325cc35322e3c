#!/usr/bin/env python3
"""Includes point down only: which folder may include which, and what each must never include.

Usage: check_layers.py [ROOT]      prints FILE:LINE: reason; exit code 1 when there is any
       check_layers.py --self-test shows that it can fail
"""
import pathlib
import re
import subprocess
import sys
import tempfile

# Folder → the folders whose headers its files may include besides its own. A file belongs to the
# longest folder that it lies in; "proxy" itself is only main.cc's. "name/*": that folder and
# everything below it.
BELOW_CONFIG = ["proxy/base", "policy-compiler/*", "redirect-bpf/abi", "redirect-bpf/user"]
BELOW_ENDPOINT = BELOW_CONFIG + ["proxy/config"]
# From here on only the compiled policy is known, not how it is compiled.
BELOW_RUNTIME = ["proxy/base", "policy-compiler/runtime", "redirect-bpf/abi", "redirect-bpf/user",
                 "proxy/config", "proxy/endpoint"]
BELOW_NET = BELOW_RUNTIME + ["proxy/runtime"]
BELOW_HTTP = BELOW_NET + ["proxy/net"]
BELOW_SESSION = BELOW_HTTP + ["proxy/http", "proxy/http2", "proxy/dns", "proxy/tls"]
BELOW_CONTROL = BELOW_SESSION + ["policy-compiler/*", "proxy/session", "proxy/endpoint/kubernetes"]
LAYERS = {
    "redirect-bpf/abi": [],
    "redirect-bpf/bpf": ["redirect-bpf/abi"],
    # decide.h: lifetimes of flows are decided once, for both halves.
    "redirect-bpf/user": ["proxy/base", "redirect-bpf/abi", "redirect-bpf/bpf"],
    "proxy/base": [],
    "policy-compiler/runtime": ["proxy/base", "redirect-bpf/abi"],
    "policy-compiler": ["proxy/base", "redirect-bpf/abi", "policy-compiler/*"],
    "proxy/config": BELOW_CONFIG,
    "proxy/endpoint": BELOW_ENDPOINT,
    "proxy/endpoint/kubernetes": BELOW_HTTP,
    "proxy/runtime": BELOW_RUNTIME,
    "proxy/net": BELOW_NET,
    "proxy/http": BELOW_HTTP,
    "proxy/http2": BELOW_HTTP + ["proxy/http"],
    "proxy/dns": BELOW_HTTP,
    "proxy/tls": BELOW_HTTP,
    "proxy/session": BELOW_SESSION,
    "proxy/admin": BELOW_CONTROL,
    "proxy/control": BELOW_CONTROL + ["proxy/admin"],
    "proxy/ctl": BELOW_CONTROL + ["proxy/admin", "proxy/control"],
    "proxy": BELOW_CONTROL + ["proxy/admin", "proxy/control"],  # main.cc
}

ASIO = r"boost/(asio|beast)"
SOCKETS = r"(sys/socket|netinet/(?!in\.h)|arpa/inet|netdb)"  # in.h: the IPPROTO_ numbers
YAML = r"yaml-cpp"
HTTP = r"(llhttp|nghttp2|boost/beast)"
# Folder, and everything below it unless another line says more → third-party headers it must not
# see, and why.
FORBIDDEN = {
    "redirect-bpf": (rf"{YAML}|{HTTP}|{ASIO}|re2/", "the kernel half speaks in ABI entries only"),
    "policy-compiler": (rf"{ASIO}|{SOCKETS}|{HTTP}", "the compiler has no sockets"),
    "policy-compiler/model": (rf"{ASIO}|{SOCKETS}|{HTTP}|{YAML}", "only parse/ reads YAML"),
    "policy-compiler/sema": (rf"{ASIO}|{SOCKETS}|{HTTP}|{YAML}", "only parse/ reads YAML"),
    "policy-compiler/lower": (rf"{ASIO}|{SOCKETS}|{HTTP}|{YAML}", "only parse/ reads YAML"),
    "policy-compiler/runtime": (rf"{ASIO}|{SOCKETS}|{HTTP}|{YAML}", "the data path links this"),
    "proxy/base": (rf"{ASIO}|{YAML}|{HTTP}", "base stays small: everything includes it"),
    "proxy/runtime": (rf"{YAML}|{HTTP}", "workers know no format"),
    "proxy/net": (rf"{YAML}|llhttp|nghttp2", "net moves bytes"),
    "proxy/http": (rf"{YAML}|boost/asio/(ip/|basic_socket|connect)|{SOCKETS}",
                   "http never opens a socket"),
    "proxy/dns": (YAML, "YAML is read by parse/, config/ and endpoint/"),
    "proxy/session": (YAML, "YAML is read by parse/, config/ and endpoint/"),
    "proxy/admin": (YAML, "YAML is read by parse/, config/ and endpoint/"),
}
SOURCES = (".h", ".cc", ".c")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def folder_of(path, table):
    """The longest key of the table that the path lies in, or None."""
    parts = path.split("/")[:-1]
    for length in range(len(parts), 0, -1):
        folder = "/".join(parts[:length])
        if folder in table and (folder != "proxy" or length == len(parts)):
            return folder
    return None


def allowed(target, folders):
    directory = target.rsplit("/", 1)[0]
    for folder in folders:
        if folder.endswith("/*"):
            if directory == folder[:-2] or directory.startswith(folder[:-1]):
                return True
        elif directory == folder:
            return True
    return False


def check_file(root, path):
    layer = folder_of(path, LAYERS)
    third_party = folder_of(path, FORBIDDEN)
    for number, line in enumerate((root / path).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, target = match.groups()
        if quote == "<":
            if third_party and re.match(FORBIDDEN[third_party][0], target):
                yield f"{path}:{number}: <{target}>: {FORBIDDEN[third_party][1]}"
            continue
        own = target.startswith(("proxy/", "policy-compiler/", "redirect-bpf/"))
        if target.startswith("test/"):
            yield f"{path}:{number}: \"{target}\": no source includes a test's header"
        elif not own and layer == "redirect-bpf/bpf":
            continue  # libbpf's own style: "maps.h", "vmlinux.h"
        elif not own and not (root / target).exists():
            yield f"{path}:{number}: \"{target}\": project headers are named from the root"
        elif own and folder_of(target, LAYERS) != layer and not allowed(target, LAYERS[layer]):
            yield f"{path}:{number}: \"{target}\": {layer} may not include {folder_of(target, LAYERS)}"


def check(root, paths):
    problems = []
    for path in paths:
        if not path.endswith(SOURCES) or not path.startswith(("proxy/", "policy-compiler/",
                                                              "redirect-bpf/")):
            continue
        if folder_of(path, LAYERS) is None:
            problems.append(f"{path}:1: this folder is not in the table of check_layers.py")
        else:
            problems.extend(check_file(root, path))
    return problems


def tracked(root):
    listing = subprocess.run(["git", "-C", root, "ls-files", "--cached", "--others",
                              "--exclude-standard"], check=True, capture_output=True, text=True)
    return [path for path in listing.stdout.splitlines() if (root / path).is_file()]


def self_test():
    cases = {
        'proxy/base/a.h': '#include <boost/asio.hpp>\n',
        'proxy/net/a.cc': '#include "proxy/http/parser.h"\n',
        'proxy/session/a.cc': '#include "policy-compiler/compile.h"\n',
        'policy-compiler/runtime/a.cc': '#include "policy-compiler/parse/yaml_reader.h"\n',
        'redirect-bpf/user/a.cc': '#include <yaml-cpp/yaml.h>\n',
        'proxy/http/a.cc': '#include <sys/socket.h>\n',
        'proxy/admin/a.cc': '#include "test/support/lab.h"\n',
        'proxy/new-folder/a.cc': '',
    }
    fine = {
        'proxy/session/b.cc': '#include "policy-compiler/runtime/program.h"\n#include <boost/asio.hpp>\n',
        'proxy/control/b.cc': '#include "policy-compiler/compile.h"\n#include "proxy/admin/model.h"\n',
        'policy-compiler/lower/b.cc': '#include "policy-compiler/model/policy.h"\n',
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path, text in {**cases, **fine}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        for path in cases:
            if len(check(root, [path])) != 1:
                print(f"self-test: {path} should be refused once: {check(root, [path])}")
                return 1
        for path in fine:
            if check(root, [path]):
                print(f"self-test: {path} is fine: {check(root, [path])}")
                return 1
    print(f"self-test: {len(cases)} bad includes refused, {len(fine)} good files accepted")
    return 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    paths = tracked(root)
    problems = check(root, paths)
    for problem in problems:
        print(problem)
    if not any(path.startswith("proxy/") for path in paths):
        print("check_layers.py: no sources found, so nothing was checked")
        return 2
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
