#!/usr/bin/env python3
"""What the READMEs say is there: links, files, commands.

Usage: check_readme.py [ROOT]
Checks every Markdown file of the project: relative links lead to a file; a path in `code` or in a
```sh block that looks like one of the project's files exists and, called as a command, can be run.
"""
import os
import pathlib
import re
import sys

sys.dont_write_bytecode = True
import compile_commands  # noqa: E402

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# A path of the project: starts with one of its folders.
PATH = re.compile(r"(?<![\w/.-])(\.?/?(?:proxy|policy-compiler|redirect-bpf|examples|test|\.ci)"
                  r"/[\w./-]*[\w-])")
COMMAND = re.compile(r"^\s*(?:\$ )?(?:sudo )?(?:[A-Z_]+=\S+ )*(\./[\w./-]+)", re.MULTILINE)
REQUIRED = {"README.md": ["sudo ./examples/tutorial/run.sh", "sudo ./test/run.sh"]}


def check(root, page):
    text = (root / page).read_text()
    here = (root / page).parent
    for target in LINK.findall(text):
        if "://" not in target and not (here / target).exists():
            yield f"{page}: the link to {target} leads nowhere"
    for path in PATH.findall(text):
        plain = path.removeprefix("./").split("*")[0]
        if not (root / plain).exists() and not (here / plain).exists():
            yield f"{page}: {path} does not exist"
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL):
        for command in COMMAND.findall(block):
            file = root / command
            if not command.startswith("./build/") and not os.access(file, os.X_OK):
                yield f"{page}: {command} cannot be run"
    for needed in REQUIRED.get(page, []):
        if needed not in text:
            yield f"{page}: does not name the command: {needed}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    pages = compile_commands.project_files(root, (".md",))
    if "README.md" not in pages:
        print("README.md is missing")
        return 1
    problems = [problem for page in pages for problem in check(root, page)]
    for problem in problems:
        print(problem)
    print(f"{len(pages)} pages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
