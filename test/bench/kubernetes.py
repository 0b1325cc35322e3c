#!/usr/bin/env python3
"""What a big cluster costs a node: time to ready, memory, CPU when nothing changes, one change.

Usage: sudo test/bench/kubernetes.py [--pods N] [--policies N] [--services N] [--local N]
                                     [--bin DIRECTORY]

A real etcd and kube-apiserver (test/integration/kubernetes/api_server.sh) and weir-proxy run in a
network namespace without a way out; --local of the pods are this node's, with veths, the others are
other nodes'. Prints one table.
"""
import argparse
import concurrent.futures
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHANGES = 40


def run(*argv, **more):
    return subprocess.run(argv, check=True, text=True, capture_output=True, **more).stdout


class Api:
    """The API server; one connection a thread."""

    def __init__(self, folder):
        self.folder = folder
        self.token = os.urandom(16).hex()
        self.local = threading.local()
        self.processes = []

    def start(self, program, *options, tokens=""):
        """`tokens`: more lines of its file of tokens."""
        folder = self.folder
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-keyout", f"{folder}/server.key", "-out", f"{folder}/server.crt",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:TRUE")
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
            f"{folder}/sa.key")
        (folder / "tokens.csv").write_text(f'{self.token},admin,1,"system:masters"\n' + tokens)
        (folder / "kubeconfig").write_text(
            "clusters: [{name: c, cluster: {server: \"https://127.0.0.1:6443\", "
            "certificate-authority: server.crt}}]\n"
            f"users: [{{name: u, user: {{token: \"{self.token}\"}}}}]\n"
            "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n")
        self.spawn("etcd", "--data-dir", f"{folder}/etcd", "--listen-client-urls",
                   "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
                   "--listen-peer-urls", "http://127.0.0.1:2380")
        self.spawn(program, "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1",
                   "--secure-port=6443", "--insecure-port=0", "--advertise-address=192.0.2.1",
                   f"--tls-cert-file={folder}/server.crt",
                   f"--tls-private-key-file={folder}/server.key",
                   f"--token-auth-file={folder}/tokens.csv",
                   "--service-cluster-ip-range=10.96.0.0/16",
                   "--service-account-issuer=https://bench",
                   f"--service-account-key-file={folder}/sa.key",
                   f"--service-account-signing-key-file={folder}/sa.key",
                   "--max-requests-inflight=4000", "--max-mutating-requests-inflight=2000",
                   "--disable-admission-plugins=ServiceAccount", *options)
        deadline = time.time() + 120
        while time.time() < deadline:
            try:
                if self.ask("GET", "/readyz")[1] == b"ok":
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.2)
        sys.exit("the API server did not become ready:\n" +
                 (folder / "kube-apiserver.log").read_text()[-2000:])

    def spawn(self, *argv):
        log = open(self.folder / (pathlib.Path(argv[0]).name + ".log"), "w")
        self.processes.append(subprocess.Popen(argv, stdout=log, stderr=log))

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def ask(self, method, path, body=None):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            context = ssl.create_default_context(cafile=self.folder / "server.crt")
            connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=context)
            self.local.connection = connection
        kind = "merge-patch+json" if method == "PATCH" else "json"
        headers = {"Authorization": "Bearer " + self.token, "Content-Type": "application/" + kind}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            self.local.connection = None
            raise

    def must(self, method, path, body=None):
        status, text = self.ask(method, path, body)
        if status // 100 != 2:
            sys.exit(f"{method} {path}: {status} {text[:300]}")


def address(number, local):
    return f"10.0.{number // 250}.{number % 250 + 1}" if local else \
        f"10.{1 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


def make_pod(api, number, local):
    space = f"team-{number % 20}"
    name = f"{'here' if local else 'pod'}-{number}"
    path = f"/api/v1/namespaces/{space}/pods"
    labels = {"app": f"app-{number % 500}", "tier": f"tier-{number % 3}",
              "pod-template-hash": f"{number:08x}"}
    api.must("POST", path, {"metadata": {"name": name, "labels": labels},
                            "spec": {"nodeName": "node-a" if local else f"node-{number % 100}",
                                     "containers": [{"name": "c", "image": "x"}]}})
    ip = address(number, local)
    api.must("PATCH", f"{path}/{name}/status",
             {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})


def policy(number):
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
            "metadata": {"name": f"policy-{number}"},
            "spec": {"endpointSelector": {"matchLabels": {"app": f"app-{number % 500}"}},
                     "ingress": [{"fromEndpoints": [{"matchLabels": {"app": f"app-{number * 7 % 500}"}}],
                                  "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}],
                                               "rules": {"http": [{"method": "GET", "path": f"/{number}/.*"}]}}]}]}}


def make_service(api, number):
    space = f"team-{number % 20}"
    api.must("POST", f"/api/v1/namespaces/{space}/services",
             {"metadata": {"name": f"service-{number}"},
              "spec": {"selector": {"app": f"app-{number}"}, "ports": [{"name": "http", "port": 80}]}})
    api.must("POST", f"/apis/discovery.k8s.io/v1beta1/namespaces/{space}/endpointslices",
             {"metadata": {"name": f"service-{number}-x",
                           "labels": {"kubernetes.io/service-name": f"service-{number}"}},
              "addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
              "endpoints": [{"addresses": [address(number + 500 * i, False)]} for i in range(20)]})


def fill(api, options):
    for number in range(20):
        api.must("POST", "/api/v1/namespaces", {"metadata": {"name": f"team-{number}"}})
    text = (ROOT / "examples/kubernetes/crds/crds.yaml").read_text()
    for document in text.split("---\n"):
        status, reply = api_yaml(api, document)
        if status // 100 != 2:
            sys.exit(f"crds: {status} {reply[:300]}")
    while api.ask("GET", "/apis/cilium.io/v2/ciliumnetworkpolicies")[0] != 200:
        time.sleep(0.2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        work = [pool.submit(make_pod, api, n, False) for n in range(options.pods - options.local)]
        work += [pool.submit(make_pod, api, n, True) for n in range(options.local)]
        work += [pool.submit(make_service, api, n) for n in range(options.services)]
        work += [pool.submit(api.must, "POST",
                             f"/apis/cilium.io/v2/namespaces/team-{n % 20}/ciliumnetworkpolicies",
                             policy(n)) for n in range(options.policies)]
        for one in work:
            one.result()


def api_yaml(api, text):
    context = ssl.create_default_context(cafile=api.folder / "server.crt")
    request = urllib.request.Request(
        "https://127.0.0.1:6443/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        text.encode(), {"Authorization": "Bearer " + api.token, "Content-Type": "application/yaml"})
    with urllib.request.urlopen(request, context=context) as reply:
        return reply.status, reply.read()


def make_interfaces(local):
    lines = ["link set lo up"]
    for number in range(local):
        lines += [f"link add here{number} type veth peer name there{number}",
                  f"link set here{number} up", f"link set there{number} up",
                  f"route add {address(number, True)} dev here{number}"]
    run("ip", "-batch", "-", input="\n".join(lines) + "\n")


class Weir:
    def __init__(self, folder, binary):
        self.folder = folder
        bpffs = folder / "bpffs"
        bpffs.mkdir()
        run("mount", "-t", "bpf", "bpf", str(bpffs))
        (folder / "policies").mkdir()
        (folder / "weir.yaml").write_text(
            f"node: {{name: node-a}}\nkubernetes: {{kubeconfig: {folder}/kubeconfig}}\n"
            f"policies: {{directory: {folder}/policies}}\nstate: {{directory: {folder}/state}}\n"
            f"workers: 2\nredirect: {{mode: bpf, bpffs: {bpffs}}}\n"
            f"accessLog: {{path: {folder}/access.log}}\n")
        self.binary = binary
        self.log = folder / "weir.log"
        self.process = None

    def start(self):
        begin = time.monotonic()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([self.binary, "--config", self.folder / "weir.yaml"],
                                            stdout=log, stderr=log)
        while True:
            try:
                with urllib.request.urlopen("http://127.0.0.1:9931/ready", timeout=5) as reply:
                    if reply.read() == b"LIVE\n":
                        return time.monotonic() - begin
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() - begin > 120:
                sys.exit("weir did not become ready:\n" + self.log.read_text()[-2000:])
            time.sleep(0.005)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def revisions(self):
        return [datetime.datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp()
                for found in re.finditer(r"^(\S+) info policy revision", self.log.read_text(), re.M)]

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
        subprocess.run(["umount", str(self.folder / "bpffs")], check=False)


def changes(api, weir, make):
    """From the server's answer to the policy in force: milliseconds; and CPU seconds of each."""
    latencies, before = [], weir.cpu()
    for number in range(CHANGES):
        known = len(weir.revisions())
        make(number)
        told = time.time()
        while len(weir.revisions()) == known:
            time.sleep(0.002)
            if time.time() - told > 20:
                sys.exit("a change was not taken in")
        latencies.append(max(0, weir.revisions()[known] - told) * 1000)
        time.sleep(0.05)
    return latencies, (weir.cpu() - before) / CHANGES * 1000


def bench(options, folder):
    api = Api(folder)
    weir = Weir(folder, options.bin / "weir-proxy")
    try:
        api.start(run(ROOT / "test/integration/kubernetes/api_server.sh").strip())
        fill(api, options)
        make_interfaces(options.local)
        cold = weir.start()
        time.sleep(5)
        before, begin = weir.cpu(), time.monotonic()
        time.sleep(options.idle)
        idle = (weir.cpu() - before) / (time.monotonic() - begin) * 100

        def relabel(number):
            pod = 1000 + number if options.pods > 2000 else number
            api.must("PATCH", f"/api/v1/namespaces/team-{pod % 20}/pods/pod-{pod}",
                     {"metadata": {"labels": {"app": f"app-{(pod + 1 + number) % 500}"}}})

        def edit(number):
            number %= options.policies
            changed = policy(number)
            changed["spec"]["ingress"][0]["toPorts"][0]["rules"]["http"][0]["path"] = f"/changed/{time.monotonic_ns()}"
            api.must("PATCH", f"/apis/cilium.io/v2/namespaces/team-{number % 20}/"
                     f"ciliumnetworkpolicies/policy-{number}", changed)

        def relabel_namespace(number):
            api.must("PATCH", f"/api/v1/namespaces/team-{number % 20}",
                     {"metadata": {"labels": {"round": str(number)}}})

        pod_ms, pod_cpu = changes(api, weir, relabel)
        space_ms, space_cpu = changes(api, weir, relabel_namespace)
        policy_ms, policy_cpu = changes(api, weir, edit)
        memory = weir.memory()
        weir.process.kill()
        weir.process.wait()
        warm = weir.start()
    finally:
        weir.stop()
        api.stop()

    def p99(values):
        return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]

    print(f"""
| {options.pods} pods ({options.local} here), {options.policies} policies, {options.services} services | |
|---|---|
| start to ready, everything listed | {cold:.2f} s |
| start to ready and listed again, with the state of before | {warm:.2f} s |
| memory (RSS) | {memory:.0f} MiB |
| CPU while nothing changes | {idle:.2f} % of a core |
| a pod is relabelled: in force after, p50 / p99 | {statistics.median(pod_ms):.0f} / {p99(pod_ms):.0f} ms |
| … CPU | {pod_cpu:.0f} ms |
| a namespace is relabelled: in force after, p50 / p99 | {statistics.median(space_ms):.0f} / {p99(space_ms):.0f} ms |
| … CPU | {space_cpu:.0f} ms |
| a policy is edited: in force after, p50 / p99 | {statistics.median(policy_ms):.0f} / {p99(policy_ms):.0f} ms |
| … CPU | {policy_cpu:.0f} ms |""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pods", type=int, default=10000)
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--services", type=int, default=500)
    parser.add_argument("--local", type=int, default=30)
    parser.add_argument("--idle", type=int, default=20, help="seconds")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin")
    options = parser.parse_args()
    if os.environ.get("WEIR_BENCH_INSIDE") != "1":
        os.environ["WEIR_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable] + sys.argv)
    run("ip", "link", "set", "lo", "up")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-kubernetes-"))
    try:
        bench(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
