#!/usr/bin/env bash
# How fast is DNS through weir? sudo ./test/bench/dns.sh [--rounds 5] [--seconds 3] [--bin DIR]
#
# One namespace with nothing but a loopback. dnsmasq answers 500 names from memory; dnsperf asks
# for them, directly and through
#
#   weir         a static listener, one worker, DNS rules, every address learned, a log line a query
#   dnsdist      without its packet cache
#   dnsdist-log  the same with a log line a query, buffered
#   dnsmasq      with its cache off
#   unbound      as forwarder with one thread, its cache off
#
# Rounds are interleaved; figures are medians. CPU is that of the one in between, in microseconds a
# query: unlike queries/s it hardly moves when others use the machine.
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=common.sh
source test/bench/common.sh

rounds=5 seconds=3 bin=
take_options "rounds seconds bin" "$@"
need_root
prepare

netns=weir-bench-dns-$$
declare -A pid_of=() addresses=([direct]=127.0.0.2 [weir]=127.0.0.1 [dnsdist]=127.0.0.3
  [dnsmasq]=127.0.0.4 [unbound]=127.0.0.5 [dnsdist-log]=127.0.0.6)
also_clean_up() { ip netns delete "$netns" 2>/dev/null || true; }

# start NAME COMMAND…: nsenter becomes the command, so that the pid is its own.
start() {
  local name=$1
  shift
  nsenter --net="/run/netns/$netns" "$@" >"$dir/$name.log" 2>&1 &
  pid_of[$name]=$!
  pids+=($!)
}
ip netns add "$netns"
ip -n "$netns" link set lo up

mkdir "$dir/policies"
cat >"$dir/policies/bench.yaml" <<'YAML'
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: bench, namespace: bench}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
    - toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system, k8s:k8s-app: kube-dns}}]
      toPorts:
        - ports: [{port: "53", protocol: ANY}]
          rules: {dns: [{matchName: api.example.test}, {matchPattern: "*.bench.test"}]}
    - toFQDNs: [{matchPattern: "*.bench.test"}]
YAML
cat >"$dir/endpoints.yaml" <<'YAML'
endpoints:
  - {name: client, namespace: bench, labels: {app: client}, ips: [10.0.1.12]}
  - {name: dns, namespace: kube-system, labels: {k8s-app: kube-dns}, ips: [10.0.1.53]}
YAML
cat >"$dir/weir.yaml" <<YAML
policies: {directory: $dir/policies}
endpoints: {file: $dir/endpoints.yaml}
state: {directory: $dir/state}
workers: 1
redirect: {mode: none}
accessLog: {path: $dir/access.log}
listeners:
  - {name: dns, type: static, address: "127.0.0.1:53", upstream: "127.0.0.2:53", protocol: dns,
     direction: egress, endpoint: bench/client, peer: kube-system/dns, port: 53}
YAML
for log in "" -log; do
  cat >"$dir/dnsdist$log.lua" <<LUA
setLocal("${addresses[dnsdist$log]}:53")
newServer({address="127.0.0.2:53", healthCheckMode="up"})
LUA
done
# Name, binary, append, buffered, verbose only, time.
echo "addAction(AllRule(), LogAction(\"$dir/dnsdist.queries\", false, true, true, false, true))" \
  >>"$dir/dnsdist-log.lua"
cat >"$dir/unbound.conf" <<'CONF'
server:
  interface: 127.0.0.5
  num-threads: 1
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
forward-zone:
  name: "."
  forward-addr: 127.0.0.2
  forward-no-cache: yes
CONF
quiet=(-k -C /dev/null --no-resolv --no-hosts --bind-interfaces --pid-file= --dns-forward-max=5000
  -u root)
start direct dnsmasq "${quiet[@]}" --listen-address=127.0.0.2 \
  --address=/bench.test/203.0.113.20 --local-ttl=300
start weir "$bin/weir-proxy" --config "$dir/weir.yaml"
start dnsdist dnsdist --supervised -C "$dir/dnsdist.lua"
start dnsdist-log dnsdist --supervised -C "$dir/dnsdist-log.lua"
start dnsmasq dnsmasq "${quiet[@]}" --cache-size=0 --listen-address=127.0.0.4 --server=127.0.0.2
start unbound unbound -d -c "$dir/unbound.conf"
for number in $(seq 500); do echo "n$number.bench.test A"; done >"$dir/queries"

ask() {
  nsenter --net="/run/netns/$netns" dnsperf -s "${addresses[$1]}" -d "$dir/queries" -c 8 -q 100 \
    -l "$2" 2>&1
}

modes=(direct weir dnsdist dnsdist-log dnsmasq unbound)
for mode in "${modes[@]}"; do
  for ((try = 0; ; ++try)); do
    ask "$mode" 1 | grep -q 'NOERROR' && break
    if ((try == 20)); then
      complain "$mode gives no answer"
      tail -n 5 "$dir/$mode.log" >&2
      exit 1
    fi
  done
done
for ((round = 1; round <= rounds; ++round)); do
  echo "round $round of $rounds" >&2
  for mode in "${modes[@]}"; do
    before=$(ticks "${pid_of[$mode]}")
    ask "$mode" "$seconds" >"$dir/result"
    after=$(ticks "${pid_of[$mode]}")
    awk -v mode="$mode" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '
      /Queries completed/ { completed = $3 }
      /Queries lost/ { lost = $3 }
      /Queries per second/ { rate = $4 }
      /Average Latency/ { latency = $4 * 1000 }
      END { print mode, rate, latency, ticks / hz * 1e6 / completed, lost }' "$dir/result" \
      >>"$dir/rounds"
  done
done
test/bench/dns_medians.py "$dir/rounds"
