#!/usr/bin/env python3
"""Every header compiles alone: whoever includes it needs to know nothing else.

Usage: check_headers.py BUILD [ROOT]
A source that includes its own header first proves it in every build: x.h by x.cc. The others are
compiled here, one translation unit each, two at a time, with the flags of a source of the same
folder. The compiler launcher (ccache) is kept, so a second run is quick.
"""
import concurrent.futures
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import compile_commands  # noqa: E402

C_HEADERS = ("redirect-bpf/abi/",)  # checked as C11 as well
FIRST_INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
NOT_ALONE = ("redirect-bpf/bpf/",)  # kernel side: compiled by clang for BPF, by its own targets


def unit_for(header, units, root):
    """A unit of the header's folder, or of the nearest one above."""
    folder = (root / header).parent
    while True:
        for unit in units:
            if folder in unit.source.parents and unit.source.suffix == ".cc":
                return unit
        if folder == root:
            raise SystemExit(f"check_headers.py: no flags known for {header}")
        folder = folder.parent


def proven_by_build(header, units, root):
    source = (root / header).with_suffix(".cc")
    if not any(unit.source == source for unit in units):
        return False
    first = FIRST_INCLUDE.search(source.read_text())
    return first is not None and first.group(1) == header


def compile_alone(header, unit, root, scratch, suffix):
    source = scratch / (header + suffix)
    source.parent.mkdir(parents=True, exist_ok=True)
    text = f'#include "{header}"\n'
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    command = unit.command
    if suffix == ".c":
        command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{root}"]
    result = subprocess.run([*command, "-c", source, "-o", f"{source}.o"], cwd=unit.directory,
                            capture_output=True, text=True)
    return header, result.returncode, result.stderr


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    build = pathlib.Path(sys.argv[1]).resolve()
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".").resolve()
    units = compile_commands.load(build)
    headers = [header for header in compile_commands.project_files(root, (".h",))
               if not header.startswith(NOT_ALONE)]
    scratch = build / "header_check"
    jobs = [(header, unit_for(header, units, root), root, scratch, ".cc")
            for header in headers if not proven_by_build(header, units, root)]
    jobs += [(*job[:4], ".c") for job in jobs if job[0].startswith(C_HEADERS)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for header, code, errors in pool.map(lambda job: compile_alone(*job), jobs):
            if code != 0:
                failed += 1
                print(f"{header}: does not compile alone\n{errors}")
    print(f"{len(headers)} headers, {len(jobs)} compiled here, {failed} do not compile alone")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
