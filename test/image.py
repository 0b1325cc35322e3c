#!/usr/bin/env python3
"""Proves the Dockerfile and the DaemonSet where there is no container runtime.

Usage: sudo test/image.py [--work DIRECTORY] [--ccache DIRECTORY] [--keep]

Executes the Dockerfile's own instructions, stage by stage, in Debian roots that mmdebstrap makes
from the package source of this machine. Then runs weir-proxy out of the last stage's root as the
DaemonSet says: its command, environment, capabilities, mounts and read-only root, beside a real API
server (test/integration/kubernetes/api_server.sh) that grants what the manifests grant. Ends well
when /ready says so.

Needs mmdebstrap, python3-yaml, 4 GB of disk, and time: all of weir is compiled (--ccache keeps that
for the next time). With --keep the roots stay in --work, and stages found there are not made again.
"""
import argparse
import fnmatch
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
MANIFESTS = ROOT / "examples/kubernetes/base"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSIDE = "WEIR_IMAGE_INSIDE"
CCACHE = "/var/cache/ccache"  # inside a root


def run(*argv, **more):
    return subprocess.run([str(word) for word in argv], check=True, text=True, **more)


def say(text):
    print(f"== {text}", flush=True)


# The Dockerfile.

def instructions(text):
    """(line number, keyword, rest), comments and continuations taken out."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not joined and not line.strip()):
            continue
        if not joined:
            start = number
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1] + " "
            continue
        keyword, _, rest = (joined + line).strip().partition(" ")
        yield start, keyword.upper(), rest.strip()
        joined = ""


class Stage:
    def __init__(self, base, name, root):
        self.base, self.name, self.root = base, name, root
        self.folder = "/"
        self.environment = {"PATH": PATH}
        self.entrypoint, self.command = [], []

    def inside(self, path):
        return self.root / str(pathlib.PurePosixPath(self.folder, path)).lstrip("/")


def ignored(name):
    file = ROOT / ".dockerignore"
    patterns = file.read_text().split() if file.exists() else []
    return any(fnmatch.fnmatch(name, pattern.strip("/")) for pattern in patterns)


def copy(stage, stages, words):
    source_root = ROOT
    while words[0].startswith("--"):
        option, _, value = words.pop(0).partition("=")
        if option != "--from":
            raise ValueError(f"COPY {option}: not known here")
        source_root = stages[value].root
    *sources, target = words
    destination = stage.inside(target)
    for source in sources:
        path = source_root / source.lstrip("/")
        if path.is_dir():  # its content, as COPY does
            destination.mkdir(parents=True, exist_ok=True)
            for one in path.iterdir():
                if source_root == ROOT and path == ROOT and ignored(one.name):
                    continue
                place = destination / one.name
                if one.is_dir():
                    shutil.copytree(one, place, symlinks=True, dirs_exist_ok=True)
                else:
                    shutil.copy2(one, place, follow_symlinks=False)
        else:
            into = destination / path.name if target.endswith("/") or len(sources) > 1 \
                else destination
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, into)


MOUNTS = """set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
cp --remove-destination /etc/resolv.conf "$1/etc/resolv.conf" 2>/dev/null || true
if [ -n "$2" ]; then mkdir -p "$1$3"; mount --bind "$2" "$1$3"; fi
shift 3
exec "$@"
"""


def run_in(stage, command, ccache):
    """As RUN does: a shell in the stage's folder, with the stage's environment and no other, but
    for the place of ccache's folder."""
    environment = stage.environment | ({"CCACHE_DIR": CCACHE} if ccache else {})
    shell = ["env", "-i", *(f"{key}={value}" for key, value in environment.items()),
             "chroot", stage.root, "/bin/sh", "-c",
             f"cd {shlex.quote(stage.folder)} && {command}"]
    run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", MOUNTS, "sh",
        stage.root, ccache or "", CCACHE, *shell)


def own_source():
    """URI of this machine's package source."""
    for file in sorted(pathlib.Path("/etc/apt").glob("sources.list*")) + \
            sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*")):
        if file.is_file() and file.suffix in (".list", ".sources"):
            found = re.search(r"^(?:URIs:|deb(?: \[.*\])?) *(\S+)", file.read_text(), re.M)
            if found and "security" not in found[1]:
                return found[1]
    sys.exit("image.py: no package source is configured")


def debian_root(base, root, cache):
    """What `FROM debian:13` starts with: Debian's smallest root, with its package source."""
    if not re.fullmatch(r"debian:13(-slim)?", base):
        raise ValueError(f"FROM {base}: only debian:13 is known here")
    archive = cache / "debian-13.tar"
    if not archive.exists():
        options = []
        for file in pathlib.Path("/etc/apt/apt.conf.d").glob("99*"):
            options += [f"--aptopt={line.strip()}" for line in file.read_text().splitlines()
                        if line.strip().startswith("Acquire::")]
        run("mmdebstrap", "--quiet", "--variant=minbase", *options, "trixie", archive,
            own_source())
    root.mkdir()
    run("tar", "-C", root, "-xf", archive, "--exclude=./dev/*")


def build(options):
    stages, stage, made = {}, None, False
    for number, keyword, rest in instructions((ROOT / "Dockerfile").read_text()):
        begin = time.monotonic()
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            root = options.work / (name or "image")
            stage = Stage(base, name, root)
            stages[name] = stages[str(len(stages))] = stage
            made = (options.work / f"{root.name}.done").exists()
            say(f"FROM {rest}" + (": is there" if made else ""))
            if not made:
                shutil.rmtree(root, ignore_errors=True)
                debian_root(base, root, options.work)
        elif keyword == "WORKDIR":
            stage.folder = str(pathlib.PurePosixPath(stage.folder, rest))
            stage.inside("").mkdir(parents=True, exist_ok=True)
        elif keyword == "ENV":
            for word in shlex.split(rest):
                key, _, value = word.partition("=")
                stage.environment[key] = value
        elif keyword in ("LABEL", "EXPOSE"):
            pass
        elif keyword in ("ENTRYPOINT", "CMD"):
            setattr(stage, "entrypoint" if keyword == "ENTRYPOINT" else "command",
                    json.loads(rest))
        elif keyword in ("COPY", "RUN"):
            if not made:
                say(f"{keyword} {rest}")
                if keyword == "COPY":
                    copy(stage, stages, shlex.split(rest))
                else:
                    run_in(stage, rest, options.ccache)
                print(f"   {time.monotonic() - begin:.0f} s", flush=True)
        else:
            raise ValueError(f"Dockerfile:{number}: {keyword} is not known here")
    for one in stages.values():
        (options.work / f"{one.root.name}.done").touch()
    return stage


# The DaemonSet.

def documents(name):
    return [document for document in yaml.safe_load_all((MANIFESTS / name).read_text())
            if document]


def start_api(folder):
    """A real API server, with a token of weir's service account and the rights of the manifests."""
    spec = importlib.util.spec_from_file_location("kubernetes_bench",
                                                  ROOT / "test/bench/kubernetes.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    api = bench.Api(folder)
    program = run(ROOT / "test/integration/kubernetes/api_server.sh",
                  capture_output=True).stdout.strip()
    token = os.urandom(16).hex()
    api.start(program, "--authorization-mode=RBAC",
              tokens=f'{token},system:serviceaccount:weir:weir,2,"system:serviceaccounts"\n')
    for document in documents("rbac.yaml"):
        kind = document["kind"].lower() + "s"
        api.must("POST", f"/apis/rbac.authorization.k8s.io/v1/{kind}", document)
    account = folder / "account"
    account.mkdir()
    (account / "token").write_text(token)
    (account / "ca.crt").write_text((folder / "server.crt").read_text())
    (account / "namespace").write_text("weir")
    return api, account


def volumes(pod, folder):
    """Name of a volume → what stands for it here."""
    maps = {document["metadata"]["name"]: document.get("data") or {}
            for document in documents("config.yaml")}
    sources = {}
    for volume in pod["volumes"]:
        name = volume["name"]
        place = folder / "volumes" / name
        place.mkdir(parents=True)
        if "configMap" in volume:
            for item, text in maps[volume["configMap"]["name"]].items():
                (place / item).write_text(text)
        elif volume["hostPath"]["path"] == "/sys/fs/bpf":
            run("mount", "-t", "bpf", "bpf", place)  # what the init container sees to
        elif volume["hostPath"]["path"] == "/sys/fs/cgroup":
            place = pathlib.Path("/sys/fs/cgroup")
        sources[name] = place
    return sources


def mount_all(image, container, sources, account):
    """The mounts that kubelet and the runtime make; the root is read-only after that."""
    mounts = [(sources[one["name"]] / one.get("subPath", ""), one["mountPath"],
               one.get("readOnly", False)) for one in container["volumeMounts"]]
    mounts.append((account, "/var/run/secrets/kubernetes.io/serviceaccount", True))
    root = image.root
    run("mount", "--bind", root, root)
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev")
    for name in ("null", "zero", "random", "urandom", "full"):
        (root / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", root / "dev" / name)
    for name, target in (("stdout", "1"), ("stderr", "2"), ("fd", "")):
        (root / "dev" / name).symlink_to(f"/proc/self/fd/{target}")
    for source, target, read_only in mounts:
        place = root / os.path.realpath(root / target.lstrip("/")).removeprefix(str(root)) \
            .lstrip("/")
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        run("mount", "--rbind", source, place)
        if read_only:
            run("mount", "-o", "remount,bind,ro", place)
    if container["securityContext"]["readOnlyRootFilesystem"]:
        run("mount", "-o", "remount,bind,ro", root)


def container_command(image, container):
    """The container's process, its rights taken away first."""
    security = container["securityContext"]
    assert not security["privileged"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"]["drop"] == ["ALL"]
    kept = ["-all"] + ["+" + name.lower() for name in security["capabilities"]["add"]]
    environment = {"PATH": PATH, "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                   "KUBERNETES_SERVICE_PORT": "6443"}
    for variable in container["env"]:
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
        environment[variable["name"]] = "node-a"
    return ["env", "-i", *(f"{key}={value}" for key, value in environment.items()),
            "chroot", str(image.root), "setpriv", "--no-new-privs",
            f"--reuid={security['runAsUser']}", "--clear-groups",
            "--bounding-set=" + ",".join(kept), "--inh-caps=-all",
            *container.get("command", image.entrypoint), *container.get("args", image.command)]


def ask(path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:9931{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.read().decode().strip()
    except OSError as failed:
        return str(failed)


def prove(image, folder):
    (daemon_set,) = documents("daemonset.yaml")
    pod = daemon_set["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    run("ip", "link", "set", "lo", "up")
    api, account = start_api(folder)
    weir = None
    try:
        mount_all(image, container, volumes(pod, folder), account)
        command = container_command(image, container)
        say(shlex.join(command))
        log = open(folder / "weir.log", "w")
        begin = time.monotonic()
        weir = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while (answer := ask("/ready")) != "LIVE":
            if weir.poll() is not None or time.monotonic() - begin > 60:
                print((folder / "weir.log").read_text())
                sys.exit(f"not ready: {answer}")
            time.sleep(0.05)
        say(f"/ready after {time.monotonic() - begin:.1f} s: {answer}")
        status = pathlib.Path(f"/proc/{weir.pid}/status").read_text()
        print("\n".join(line for line in status.splitlines()
                        if line.startswith(("Uid", "Cap", "NoNewPrivs"))))
        say("weirctl status, in the same root")
        run("chroot", image.root, "weirctl", "status")
        # The cgroup root has to be there, and to be found, though it is mounted read-only.
        ask("/acceleration?enabled=true", "POST")
        while (state := json.loads(ask("/acceleration")))["reason"] == "switched off":
            time.sleep(0.05)
        if not state["enabled"]:
            sys.exit(f"acceleration: {state['reason']}")
        say("acceleration can be switched on")
        weir.send_signal(signal.SIGTERM)
        if weir.wait(timeout=40) != 0:
            sys.exit(f"weir-proxy ended with {weir.returncode}")
        say("SIGTERM: ended with 0")
        print((folder / "weir.log").read_text())
    finally:
        if weir is not None and weir.poll() is None:
            weir.kill()
            weir.wait()
        api.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=None)
    parser.add_argument("--ccache", type=pathlib.Path, default=None)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if os.environ.get(INSIDE) is None:
        work = options.work or pathlib.Path(tempfile.mkdtemp(prefix="weir-image-"))
        work.mkdir(parents=True, exist_ok=True)
        if options.ccache:
            options.ccache.mkdir(parents=True, exist_ok=True)
        options.work = work.resolve()
        try:
            image = build(options)
            # Namespaces of its own: what is mounted and every interface goes with the process.
            sys.exit(subprocess.run(
                ["unshare", "--mount", "--net", "--propagation", "private", sys.executable,
                 __file__],
                env=dict(os.environ, **{INSIDE: json.dumps(
                    [str(image.root), image.entrypoint, image.command])}), check=False).returncode)
        finally:
            if not options.keep:
                shutil.rmtree(work, ignore_errors=True)
    root, entrypoint, command = json.loads(os.environ[INSIDE])
    image = Stage("", "", pathlib.Path(root))
    image.entrypoint, image.command = entrypoint, command
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-image-run-"))
    try:
        prove(image, folder)
    finally:
        for mount in (folder / "volumes").glob("bpffs"):
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
