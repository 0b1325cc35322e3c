#!/usr/bin/env bash
# How fast is HTTP/2 through weir? ./test/bench/http2.sh [--rounds 3] [--requests 60000] [--bin DIR]
#
# On loopback, no root: nghttpd serves, h2load asks over 8 connections with 100 streams each.
#
#   direct    nobody between them
#   weir      a static listener, a policy with two HTTP rules, one log line a request, two workers
#   nghttpx   nghttp2's own proxy, HTTP/2 on both sides, two workers; it has no rules and no log here
#
# Rounds are interleaved; figures are medians of requests/s, with the proxy's own CPU seconds for
# 100,000 requests beside them.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=3 requests=60000 bin=build/release/bin
while [[ $# -gt 0 ]]; do
  case $1 in
  --rounds) rounds=$2 ;;
  --requests) requests=$2 ;;
  --bin) bin=$2 ;;
  *)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
    ;;
  esac
  shift 2
done
for tool in nghttpd nghttpx h2load curl "$bin/weir-proxy"; do
  command -v "$tool" >/dev/null || {
    echo "http2.sh: $tool is missing (test/tools/setup.sh bench; cmake --build --preset release)" >&2
    exit 2
  }
done

dir=$(mktemp -d /tmp/weir-bench-XXXXXX)
pids=()
clean_up() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
direct=$(free_port) weir=$(free_port) nghttpx=$(free_port) admin=$(free_port) metrics=$(free_port)

mkdir -p "$dir/www" "$dir/policies"
head -c 64 /dev/zero | tr '\0' x >"$dir/www/small"
head -c 16384 /dev/zero | tr '\0' x >"$dir/www/large"
nghttpd --no-tls --address=127.0.0.1 -n 2 -d "$dir/www" "$direct" >"$dir/nghttpd.log" 2>&1 &
pids+=($!)
nghttpx --conf=/dev/null --frontend="127.0.0.1,$nghttpx;no-tls" \
  --backend="127.0.0.1,$direct;;proto=h2" --workers=2 --errorlog-file="$dir/nghttpx.log" \
  >/dev/null 2>&1 &
nghttpx_pid=$!
pids+=("$nghttpx_pid")
cat >"$dir/endpoints.yaml" <<'END'
endpoints:
  - {name: client, namespace: bench, labels: {app: client}, ips: [10.0.1.13]}
  - {name: server, namespace: bench, labels: {app: server}, ips: [10.0.1.14]}
END
cat >"$dir/policies/server.yaml" <<'END'
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: server, namespace: bench}
spec:
  endpointSelector: {matchLabels: {app: server}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules:
            http: [{method: GET, path: "/small"}, {method: GET, path: "/large"}]
END
cat >"$dir/weir.yaml" <<END
policies: {directory: $dir/policies}
endpoints: {file: $dir/endpoints.yaml}
state: {directory: $dir/state}
workers: 2
redirect: {mode: none}
admin: {address: "127.0.0.1:$admin"}
metrics: {address: "127.0.0.1:$metrics"}
accessLog: {path: $dir/access.json}
listeners:
  - {name: bench, type: static, address: "127.0.0.1:$weir", upstream: "127.0.0.1:$direct", protocol: http,
     direction: ingress, endpoint: bench/server, peer: bench/client, port: 80}
END
"$bin/weir-proxy" --config "$dir/weir.yaml" >"$dir/weir.log" 2>&1 &
weir_pid=$!
pids+=("$weir_pid")

declare -A port=([direct]=$direct [weir]=$weir [nghttpx]=$nghttpx)
declare -A proxy=([direct]=0 [weir]=$weir_pid [nghttpx]=$nghttpx_pid)
ask() { curl -sf --http2-prior-knowledge --max-time 5 -o /dev/null "http://127.0.0.1:$1/small"; }
for mode in direct weir nghttpx; do
  deadline=$((SECONDS + 15))
  until ask "${port[$mode]}"; do
    if ((SECONDS >= deadline)); then
      echo "http2.sh: no answer through $mode" >&2
      cat "$dir"/*.log >&2
      exit 1
    fi
    sleep 0.05
  done
done

# nghttpx works in a child; its ticks are those of all processes of its group of two.
ticks() {
  local pid total=0
  [[ $1 -ne 0 ]] || { echo 0 && return; }
  for pid in "$1" $(cat "/proc/$1/task/$1/children"); do
    total=$((total + $(awk '{print $14 + $15}' "/proc/$pid/stat")))
  done
  echo "$total"
}

for file in small large; do
  for ((round = 0; round < rounds; round++)); do
    for mode in direct weir nghttpx; do
      before=$(ticks "${proxy[$mode]}")
      out=$(h2load -n "$requests" -c 8 -m 100 -t 1 "http://127.0.0.1:${port[$mode]}/$file")
      after=$(ticks "${proxy[$mode]}")
      grep -q " $requests succeeded, 0 failed" <<<"$out" || {
        printf 'http2.sh: %s\n%s\n' "$mode" "$out" >&2
        exit 1
      }
      rate=$(sed -n 's/^finished in .*, \([0-9.]*\) req\/s.*/\1/p' <<<"$out")
      awk -v mode="$mode" -v file="$file" -v rate="$rate" -v ticks=$((after - before)) \
        -v requests="$requests" -v hertz="$(getconf CLK_TCK)" \
        'BEGIN { print mode, file, rate, ticks / hertz / requests * 1e5 }' >>"$dir/table"
      : >"$dir/access.json"
    done
  done
done

echo "8 connections, 100 streams each, $requests requests a round, medians of $rounds interleaved rounds, $(nproc) cores"
for file in small large; do
  for mode in direct weir nghttpx; do
    sorted=$(awk -v m=$mode -v f=$file '$1 == m && $2 == f { print $3, $4 }' "$dir/table" | sort -n)
    sed -n "$(((rounds + 1) / 2))p" <<<"$sorted" |
      awk -v m=$mode -v f=$file '{ printf "%-8s %-6s %9.0f requests/s %6.2f s CPU\n", m, f, $1, $2 }'
  done
done
