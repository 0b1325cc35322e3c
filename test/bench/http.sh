#!/usr/bin/env bash
# How fast is HTTP through weir?
# sudo ./test/bench/http.sh [--rounds 3] [--seconds 2] [--rows "ROW…"] [--bin DIR]
#
# A row is SIZE-USE-CONNECTIONS: 64, 16k or 1m bytes of body, connections that are kept (keep) or
# one a request (close), how many at once; or 1g, one download of that size. All rows:
#
#   64-keep-32 64-keep-256 16k-keep-32 16k-keep-256 1m-keep-32 1m-keep-256
#   64-close-32 64-close-256 16k-close-32 1g
#
# One node namespace, six pairs of pods, each a client with wrk (curl for 1g) and a server, nginx:
#
#   direct       nobody between them
#   packets      weir's programs alone: policies of both pods allow the port, and nothing is redirected
#   weir         BPF redirection to weir-proxy, a policy with an HTTP rule for each body
#   accelerated  the same with joined sockets (acceleration.enabled)
#   haproxy      nft TPROXY to HAProxy, mode http, "usesrc clientip", 64 KiB buffers, splicing where
#                it finds that worth while, an ACL that says the same
#   nginx        nft TPROXY to nginx, "proxy_bind $remote_addr transparent", the same by location and
#                limit_except; its connections to the server are kept and shared by all clients
#
# All have two threads or workers and keep the client's address; weir and HAProxy hold one
# connection to the server for each of the client's. weir writes its log line a request; the others
# write none, because HAProxy's way of logging to a file costs it a third of its speed and would
# flatter weir. Rounds are interleaved; figures are medians. A round during which more than 5 % of
# the machine's time was stolen by its host is run again. CPU is that of the proxy and that of the
# whole machine, in seconds for 100,000 requests, in row 1g for 100 GiB.
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=common.sh
source test/bench/common.sh

rounds=3 seconds=2 bin=
rows="64-keep-32 64-keep-256 16k-keep-32 16k-keep-256 1m-keep-32 1m-keep-256
  64-close-32 64-close-256 16k-close-32 1g"
take_options "rounds seconds rows bin" "$@"
for row in $rows; do
  [[ $row =~ ^((64|16k|1m)-(keep|close)-[1-9][0-9]*|1g)$ ]] || usage
done
need_root
prepare
need_tools wrk nginx haproxy nft python3

tag=weir-bench-$$
names=(node)
also_clean_up() {
  local name
  mountpoint -q "$dir/bpffs" && umount "$dir/bpffs"
  for name in "${names[@]}"; do ip netns delete "$tag-$name" 2>/dev/null || true; done
}

inside() {
  local name=$1
  shift
  nsenter --net="/run/netns/$tag-$name" "$@"
}

# A background function would be a shell around the program, and its end not the program's.
start() { # start NAME OUTPUT ERRORS COMMAND…: leaves its pid in $!
  local name=$1 output=$2 errors=$3
  shift 3
  nsenter --net="/run/netns/$tag-$name" "$@" >"$output" 2>"$errors" &
  pids+=($!)
}

make_pod() { # make_pod NAME NUMBER
  local mac=ee:ee:ee:ee:ee:ee
  names+=("$1")
  ip netns add "$tag-$1"
  ip -n "$tag-$1" link set lo up
  ip -n "$tag-node" link add "lxc$1" address $mac type veth peer name eth0 netns "$tag-$1"
  ip -n "$tag-node" link set "lxc$1" up
  ip -n "$tag-node" route add "10.0.1.$2" dev "lxc$1" scope link
  ip -n "$tag-$1" -batch - <<END
link set eth0 up
addr add 10.0.1.$2/32 dev eth0
neigh add 169.254.1.1 lladdr $mac dev eth0 nud permanent
route add 169.254.1.1 dev eth0 scope link
route add default via 169.254.1.1
END
}

start_server() { # start_server NAME: nginx with a file of each size
  mkdir -p "$dir/$1"
  cat >"$dir/$1/nginx.conf" <<END
daemon off; worker_processes 2; user root; pid $dir/$1/pid; error_log stderr;
events { worker_connections 4096; }
http {
  client_body_temp_path $dir/$1/a; proxy_temp_path $dir/$1/b; fastcgi_temp_path $dir/$1/c;
  uwsgi_temp_path $dir/$1/d; scgi_temp_path $dir/$1/e;
  access_log off; sendfile on; keepalive_requests 100000000;
  open_file_cache max=10 inactive=1h;
  server { listen 80 backlog=4096 reuseport; root $dir/www; }
}
END
  start "$1" /dev/null "$dir/$1.log" nginx -e stderr -c "$dir/$1/nginx.conf"
}

# --- the node, the pods, the servers
mkdir -p "$dir/state" "$dir/bpffs"
write_pages
write_http_policy
ip netns add "$tag-node"
ip -n "$tag-node" link set lo up
inside node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
number=10
for mode in direct weir haproxy nginx joined packets; do
  make_pod "c-$mode" $((number += 1))
  make_pod "s-$mode" $((number += 1))
  start_server "s-$mode"
done
declare -A server=([direct]=10.0.1.12 [weir]=10.0.1.14 [haproxy]=10.0.1.16 [nginx]=10.0.1.18
  [accelerated]=10.0.1.20 [packets]=10.0.1.22)
declare -A client=([direct]=c-direct [weir]=c-weir [haproxy]=c-haproxy [nginx]=c-nginx
  [accelerated]=c-joined [packets]=c-packets)

# --- weir: knows its own pods only; one pair is joined when acceleration is on
mount -t bpf bpf "$dir/bpffs"
cat >"$dir/endpoints.yaml" <<'END'
endpoints:
  - {name: client, namespace: bench, labels: {app: client}, ips: [10.0.1.13], interface: lxcc-weir}
  - {name: server, namespace: bench, labels: {app: server}, ips: [10.0.1.14], interface: lxcs-weir}
  - {name: joined-client, namespace: bench, labels: {app: client}, ips: [10.0.1.19], interface: lxcc-joined}
  - {name: joined-server, namespace: bench, labels: {app: server}, ips: [10.0.1.20], interface: lxcs-joined}
  - {name: packets-client, namespace: bench, labels: {app: packets}, ips: [10.0.1.21], interface: lxcc-packets}
  - {name: packets-server, namespace: bench, labels: {app: packets}, ips: [10.0.1.22], interface: lxcs-packets}
END
cat >"$dir/policies/packets.yaml" <<'END'
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: packets, namespace: bench}
spec:
  endpointSelector: {matchLabels: {app: packets}}
  egress:
    - toEndpoints: [{matchLabels: {app: packets}}]
      toPorts: [{ports: [{port: "80", protocol: TCP}]}]
  ingress:
    - fromEndpoints: [{matchLabels: {app: packets}}]
      toPorts: [{ports: [{port: "80", protocol: TCP}]}]
END
cat >"$dir/weir.yaml" <<END
policies: {directory: $dir/policies}
endpoints: {file: $dir/endpoints.yaml}
state: {directory: $dir/state}
workers: 2
redirect: {mode: bpf, bpffs: $dir/bpffs}
acceleration: {pods: ["bench/joined-client", "bench/joined-server"]}
accessLog: {path: $dir/access.json}
END
start node /dev/null "$dir/weir.log" "$bin/weir-proxy" --config "$dir/weir.yaml"
weir=$!
wait_for "weir's readiness" inside node curl -sSf http://127.0.0.1:9931/ready

# --- HAProxy and nginx, behind the kernel's own transparent redirection
cat >"$dir/haproxy.cfg" <<END
global
  nbthread 2
  tune.bufsize 65536
defaults
  mode http
  maxconn 4096
  option splice-auto
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend transparent
  bind 0.0.0.0:8080 transparent
  acl allowed_method method GET
  acl allowed_path path /64 /16k /1m /1g
  http-request deny deny_status 403 unless allowed_method allowed_path
  default_backend original
backend original
  source 0.0.0.0 usesrc clientip
  http-reuse never
  server original ${server[haproxy]}:80
END
mkdir -p "$dir/nginx"
cat >"$dir/nginx/nginx.conf" <<END
daemon off; worker_processes 2; user root; pid $dir/nginx/pid; error_log stderr;
events { worker_connections 4096; }
http {
  client_body_temp_path $dir/nginx/a; proxy_temp_path $dir/nginx/b; fastcgi_temp_path $dir/nginx/c;
  uwsgi_temp_path $dir/nginx/d; scgi_temp_path $dir/nginx/e;
  access_log off; keepalive_requests 100000000;
  upstream original { server ${server[nginx]}:80; keepalive 512; keepalive_requests 100000000; }
  server {
    listen 8081 backlog=4096;
    location / { deny all; }
    location ~ ^/(64|16k|1m|1g)$ {
      limit_except GET { deny all; }
      proxy_pass http://original;
      proxy_bind \$remote_addr transparent;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host \$host;
      proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 128k;
      proxy_max_temp_file_size 0;
    }
  }
}
END
inside node nft -f - <<'END'
table ip bench {
  chain prerouting {
    type filter hook prerouting priority mangle;
    iifname "lxcc-haproxy" tcp dport 80 tproxy to :8080 meta mark set 1 accept
    iifname "lxcc-nginx" tcp dport 80 tproxy to :8081 meta mark set 1 accept
    iifname { "lxcs-haproxy", "lxcs-nginx" } socket transparent 1 meta mark set 1 accept
  }
}
END
ip -n "$tag-node" rule add fwmark 1/0xff lookup 101
ip -n "$tag-node" route add local default dev lo table 101
start node "$dir/haproxy-requests" "$dir/haproxy.log" haproxy -db -f "$dir/haproxy.cfg"
haproxy=$!
# nginx cannot listen transparently by itself, but takes over sockets that it is given.
start node /dev/null "$dir/nginx.log" python3 -c '
import os, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", 8081))
listener.listen(4096)
os.set_inheritable(listener.fileno(), True)
os.environ["NGINX"] = f"{listener.fileno()};"
os.execvp(sys.argv[1], sys.argv[1:])' nginx -e stderr -c "$dir/nginx/nginx.conf"
nginx=$!

accelerate() { inside node curl -sSf -X POST "http://127.0.0.1:9931/acceleration?enabled=$1" >/dev/null; }
is_accelerated() { inside node curl -sSf http://127.0.0.1:9931/acceleration | grep -q '"enabled":true'; }
# Bytes that went from socket to socket, and connections that were left to TCP on purpose.
joined() { inside node curl -sSf http://127.0.0.1:9931/acceleration | grep -oE '"(bytes_to_proxy|connections_not_worth_it)":[0-9]*' | awk -F: '{sum += $2} END {printf "%.0f\n", sum}'; }

# Nothing is redirected to a socket that is not there yet: packets would go to the server instead.
listens() { inside node ss -Hltn "sport = :$1" | grep -q .; }
wait_for "HAProxy" listens 8080
wait_for "nginx" listens 8081
for mode in direct packets weir haproxy nginx; do
  wait_for "an answer through $mode" inside "c-$mode" curl -sSf "http://${server[$mode]}/64"
done
for mode in weir haproxy nginx; do # the same ACL: it does deny
  for request in "POST 64" "GET other"; do
    denied=$(inside "c-$mode" curl -s -o /dev/null -w '%{http_code}' -X "${request% *}" \
      "http://${server[$mode]}/${request#* }")
    if [[ $denied != 403 ]]; then
      complain "$mode answers $denied to a request that is to be denied: $request"
      exit 1
    fi
  done
done

# --- measuring
machine() { awk '/^cpu /{print $2 + $3 + $4 + $7 + $8, $9, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9}' /proc/stat; }
memory() { awk -v key="$2:" '$1 == key {print $2}' "/proc/$1/status"; }

inside c-packets curl -s -o /dev/null --max-time 1 "http://${server[packets]}:81/" || true
if ! inside node curl -sSf http://127.0.0.1:9931/metrics | grep -q '^weir_drops_total{.*"policy".*} [1-9]'; then
  complain "a port that no policy allows was not refused"
  exit 1
fi

declare -A proxy=([direct]=0 [packets]=0 [weir]=$weir [accelerated]=$weir [haproxy]=$haproxy [nginx]=$nginx)

load() { # load MODE ROW: prints "RATE P50 P99 UNITS", UNITS being what CPU is counted by
  local mode=$1 row=$2 out size use connections url=http://${server[$1]} header=()
  if [[ $row == 1g ]]; then
    out=$(inside "${client[$mode]}" curl -sSf -o /dev/null -w '%{size_download} %{time_total}' "$url/1g")
    awk '$1 != 2 ^ 30 { exit 1 } { print 1024 / $2, 0, 0, 1000 }' <<<"$out"
    return
  fi
  IFS=- read -r size use connections <<<"$row"
  [[ $use == keep ]] || header=(-H "Connection: close")
  out=$(inside "${client[$mode]}" wrk -t2 -c"$connections" -d"${seconds}s" --latency "${header[@]}" \
    "$url/$size")
  if grep -Eq "Non-2xx|Socket errors" <<<"$out"; then
    complain "$mode $row: $out"
    return 1
  fi
  awk '
    function ms(time) { return time ~ /us$/ ? time / 1000 : time ~ /ms$/ ? time + 0 : time * 1000 }
    $1 == "50%" { p50 = ms($2) }
    $1 == "99%" { p99 = ms($2) }
    /requests in/ { requests = $1 }
    /Requests\/sec/ { rate = $2 }
    END { print rate, p50, p99, requests }' <<<"$out"
}

idle_rss=$(memory "$weir" VmRSS)
one_round() { # one_round MODE ROW: appends a line to the table, or fails when time was stolen
  local mode=$1 row=$2 result before after proxy_before proxy_after joined=0
  if [[ $mode == accelerated ]]; then
    accelerate true
    wait_for "acceleration" is_accelerated
    joined=$(joined)
  fi
  proxy_before=$(group_ticks "${proxy[$mode]}")
  read -r -a before < <(machine)
  result=$(load "$mode" "$row") || exit 1
  read -r -a after < <(machine)
  proxy_after=$(group_ticks "${proxy[$mode]}")
  if [[ $mode == accelerated ]]; then
    accelerate false
    if (($(joined) == joined)); then
      complain "nothing of the accelerated round went from socket to socket, or was left to TCP"
      exit 1
    fi
  fi
  if (((after[1] - before[1]) * 20 > after[2] - before[2])); then
    return 1
  fi
  awk -v mode="$mode" -v row="$row" -v proxy=$((proxy_after - proxy_before)) \
    -v machine=$((after[0] - before[0])) -v hertz="$(getconf CLK_TCK)" \
    '{ print mode, row, $1, $2, $3, proxy / hertz / $4 * 1e5, machine / hertz / $4 * 1e5 }' \
    <<<"$result" >>"$dir/table"
  # The logs are written, as in earnest, but not kept.
  : >"$dir/access.json"
  : >"$dir/haproxy-requests"
}

for row in $rows; do
  for ((round = 0; round < rounds; round++)); do
    for mode in direct packets weir accelerated haproxy nginx; do
      for attempt in 1 2 3 4 5; do
        if one_round $mode "$row"; then break; fi
        complain "$mode $row: more than 5 % of the time was stolen (attempt $attempt)"
        ((attempt < 5)) || exit 1
      done
    done
  done
done

echo "${seconds} s a round, medians of $rounds interleaved rounds, $(nproc) cores, Linux $(uname -r)"
echo "RATE is requests/s, in row 1g MiB/s"
python3 test/bench/medians.py "$dir/table" haproxy
echo "weir's RSS: $((idle_rss / 1024)) MiB idle, $(($(memory "$weir" VmRSS) / 1024)) MiB after the load, $(($(memory "$weir" VmHWM) / 1024)) MiB at most"
