#!/usr/bin/env bash
# How fast is HTTP/2 through weir?
# ./test/bench/http2.sh [--rounds 3] [--requests 30000] [--rows "ROW…"] [--bin DIR]
#
# On loopback, no root: nghttpd serves, h2load asks. A row is SIZE-CONNECTIONS: 64, 16k or 1m bytes
# of body, over so many connections with 100 streams each; of 16k half as many requests are made, of
# 1m a hundredth. All rows: 64-8 64-32 16k-8 16k-32 1m-8
#
#   direct    nobody between them
#   weir      a static listener, a policy with an HTTP rule for each body, one log line a request, two workers
#   nghttpx   nghttp2's own proxy, HTTP/2 on both sides, two workers; it has no rules and no log here
#
# Rounds are interleaved; figures are medians. CPU is that of the proxy and that of the whole machine,
# in seconds for 100,000 requests.
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=common.sh
source test/bench/common.sh

rounds=3 requests=30000 rows="64-8 64-32 16k-8 16k-32 1m-8" bin=build/release/bin
take_options "rounds requests rows bin" "$@"
for row in $rows; do
  [[ $row =~ ^(64|16k|1m)-[1-9][0-9]*$ ]] || usage
done
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
ask() { curl -sf --http2-prior-knowledge --max-time 5 -o /dev/null "http://127.0.0.1:$1/64"; }
for mode in direct weir nghttpx; do
  wait_for "an answer through $mode" ask "${port[$mode]}"
done

machine() { awk '/^cpu /{print $2 + $3 + $4 + $7 + $8}' /proc/stat; }

one_round() { # one_round MODE ROW: appends a line to the table
  local mode=$1 row=$2 size connections count=$requests before after machine_before machine_after out rate
  IFS=- read -r size connections <<<"$row"
  case $size in
  16k) count=$((requests / 2)) ;;
  1m) count=$((requests / 100)) ;;
  esac
  rm -f "$dir/requests"
  before=$(group_ticks "${proxy[$mode]}")
  machine_before=$(machine)
  out=$(h2load -n "$count" -c "$connections" -m 100 -t 1 --log-file="$dir/requests" \
    "http://127.0.0.1:${port[$mode]}/$size")
  machine_after=$(machine)
  after=$(group_ticks "${proxy[$mode]}")
  grep -q " $count succeeded, 0 failed" <<<"$out" || {
    complain "$mode $row: $out"
    exit 1
  }
  rate=$(sed -n 's/^finished in .*, \([0-9.]*\) req\/s.*/\1/p' <<<"$out")
  # A line for each request: when, its status, how many microseconds it took.
  cut -f 3 "$dir/requests" | sort -n | awk -v mode="$mode" -v row="$row" -v rate="$rate" \
    -v proxy=$((after - before)) -v machine=$((machine_after - machine_before)) \
    -v hertz="$(getconf CLK_TCK)" '
    { time[NR] = $1 }
    END {
      print mode, row, rate, time[int((NR + 1) / 2)] / 1000, time[int(NR * 0.99 + 0.5)] / 1000,
        proxy / hertz / NR * 1e5, machine / hertz / NR * 1e5
    }' >>"$dir/table"
  : >"$dir/access.json"
}

for row in $rows; do
  for ((round = 0; round < rounds; round++)); do
    for mode in direct weir nghttpx; do
      one_round $mode "$row"
    done
  done
done

echo "100 streams a connection, $requests requests of 64 bytes a round, medians of $rounds interleaved rounds, $(nproc) cores"
python3 test/bench/medians.py "$dir/table" nghttpx
