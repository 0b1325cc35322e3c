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

# shellcheck source=common.sh
source test/bench/common.sh

rounds=3 requests=60000 bin=build/release/bin
take_options "rounds requests bin" "$@"
need_tools nghttpd nghttpx h2load curl "$bin/weir-proxy"

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
direct=$(free_port) weir=$(free_port) nghttpx=$(free_port) admin=$(free_port) metrics=$(free_port)

write_pages
write_http_policy
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
  wait_for "an answer through $mode" ask "${port[$mode]}"
done

# nghttpx works in a child; its ticks are those of all processes of its group of two.
group_ticks() {
  local pid total=0
  [[ $1 -ne 0 ]] || { echo 0 && return; }
  for pid in "$1" $(cat "/proc/$1/task/$1/children"); do
    total=$((total + $(ticks "$pid")))
  done
  echo "$total"
}

for file in small large; do
  for ((round = 0; round < rounds; round++)); do
    for mode in direct weir nghttpx; do
      before=$(group_ticks "${proxy[$mode]}")
      out=$(h2load -n "$requests" -c 8 -m 100 -t 1 "http://127.0.0.1:${port[$mode]}/$file")
      after=$(group_ticks "${proxy[$mode]}")
      grep -q " $requests succeeded, 0 failed" <<<"$out" || {
        complain "$mode: $out"
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
