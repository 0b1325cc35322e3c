#!/usr/bin/env python3
"""clang-tidy over every translation unit, findings as errors.

Usage: check_tidy.py BUILD [ROOT] [FILE…]
A unit that was clean is not looked at again until its preprocessed text, its flags or .clang-tidy
change: stamps lie in BUILD/tidy. With FILEs only these are checked.
"""
import concurrent.futures
import hashlib
import pathlib
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import compile_commands  # noqa: E402

TIDY = "clang-tidy-19"


def fingerprint(unit, root):
    call = unit.compiler_call()
    text = subprocess.run([*call, "-E", "-P", unit.source], cwd=unit.directory, check=True,
                          capture_output=True).stdout
    digest = hashlib.sha256(text)
    digest.update(" ".join(call).encode())
    digest.update((root / ".clang-tidy").read_bytes())
    return digest.hexdigest()


def check(unit, build, root, stamps):
    stamp = stamps / (str(unit.source.relative_to(root)).replace("/", "_") + ".stamp")
    key = fingerprint(unit, root)
    if stamp.exists() and stamp.read_text() == key:
        return unit, 0, ""
    result = subprocess.run([TIDY, "-p", build, "--quiet", "--warnings-as-errors=*",
                             "--extra-arg=-Wno-error", unit.source],
                            cwd=root, capture_output=True, text=True)
    if result.returncode == 0:
        stamp.write_text(key)
    return unit, result.returncode, result.stdout + result.stderr


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    build = pathlib.Path(sys.argv[1]).resolve()
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".").resolve()
    only = {pathlib.Path(name).resolve() for name in sys.argv[3:]}
    stamps = build / "tidy"
    stamps.mkdir(exist_ok=True)
    # By source: one that belongs to several targets is looked at once.
    units = list({unit.source: unit for unit in compile_commands.load(build)
                  if root in unit.source.parents and build not in unit.source.parents
                  and unit.source.suffix == ".cc" and (not only or unit.source in only)}.values())
    begin = time.monotonic()
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for unit, code, output in pool.map(lambda u: check(u, build, root, stamps), units):
            if code != 0:
                failed += 1
                print(f"--- {unit.source.relative_to(root)}\n{output}")
    print(f"{len(units)} translation units, {failed} with findings, "
          f"{time.monotonic() - begin:.0f} s")
    return 1 if failed or not units else 0


if __name__ == "__main__":
    sys.exit(main())
