"""Reads a build's compile_commands.json for the checks beside this file."""
import json
import pathlib
import shlex
import subprocess

# Options with a separate value that name files of the original compilation.
_OUTPUT_OPTIONS = {"-o", "-MF", "-MT", "-MQ"}
_OUTPUT_FLAGS = {"-c", "-MD", "-MMD"}


class Unit:
    """One translation unit: its source, and its compiler call without input and output."""

    def __init__(self, entry):
        self.source = pathlib.Path(entry["file"])
        self.directory = entry["directory"]
        self.command = []
        arguments = iter(shlex.split(entry["command"]))
        for argument in arguments:
            if argument in _OUTPUT_OPTIONS:
                next(arguments)
            elif argument not in _OUTPUT_FLAGS and argument != entry["file"]:
                self.command.append(argument)

    def compiler_call(self):
        """Without a compiler launcher such as ccache."""
        return self.command[1:] if pathlib.Path(self.command[0]).name == "ccache" else self.command


def load(build):
    path = pathlib.Path(build) / "compile_commands.json"
    return [Unit(entry) for entry in json.loads(path.read_text())]


def project_files(root, suffixes):
    """Files of the project with one of the suffixes: tracked, or new and not ignored."""
    listing = subprocess.run(["git", "-C", root, "ls-files", "--cached", "--others",
                              "--exclude-standard"], check=True, capture_output=True, text=True)
    return sorted(path for path in listing.stdout.splitlines()
                  if path.endswith(suffixes) and (pathlib.Path(root) / path).is_file())
