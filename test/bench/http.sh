#!/usr/bin/env bash
# How fast is HTTP through weir? sudo ./test/bench/http.sh [--rounds 5] [--seconds 3] [--bin DIR]
#
# One node namespace, three pairs of pods, each a client with wrk and a server with nginx:
#
#   direct       nobody between them
#   weir         BPF redirection to weir-proxy, a policy with two HTTP rules
#   accelerated  the same with joined sockets (acceleration.enabled)
#   haproxy      nft TPROXY to HAProxy, mode http, "usesrc clientip", an ACL with the same two rules
#
# Both proxies have one thread a core, keep the client's address, and hold one connection to the
# server for each of the client's. weir writes its log line a request; HAProxy writes none, because
# its way of logging to a file costs it a third of its speed and would flatter weir.
# Rounds are interleaved; figures are medians. A round during which more than 5 % of the machine's
# time was stolen by its host is run again. CPU is that of the proxy process and that of the whole
# machine, in seconds for 100,000 requests.
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=common.sh
source test/bench/common.sh

rounds=5 seconds=3 connections=32 bin=
take_options "rounds seconds bin" "$@"
need_root
prepare
need_tools wrk nginx haproxy nft

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

start_server() { # start_server NAME: nginx with a file of 64 bytes and one of 16 KiB
  mkdir -p "$dir/$1"
  cat >"$dir/$1/nginx.conf" <<END
daemon off; worker_processes 2; user root; pid $dir/$1/pid; error_log stderr;
events { worker_connections 1024; }
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
for mode in direct weir haproxy; do
  make_pod "c-$mode" $((number += 1))
  make_pod "s-$mode" $((number += 1))
  start_server "s-$mode"
done
declare -A server=([direct]=10.0.1.12 [weir]=10.0.1.14 [accelerated]=10.0.1.14 [haproxy]=10.0.1.16)
declare -A client=([direct]=c-direct [weir]=c-weir [accelerated]=c-weir [haproxy]=c-haproxy)

# --- weir: knows its own two pods only
mount -t bpf bpf "$dir/bpffs"
cat >"$dir/endpoints.yaml" <<'END'
endpoints:
  - {name: client, namespace: bench, labels: {app: client}, ips: [10.0.1.13], interface: lxcc-weir}
  - {name: server, namespace: bench, labels: {app: server}, ips: [10.0.1.14], interface: lxcs-weir}
END
cat >"$dir/weir.yaml" <<END
policies: {directory: $dir/policies}
endpoints: {file: $dir/endpoints.yaml}
state: {directory: $dir/state}
workers: 2
redirect: {mode: bpf, bpffs: $dir/bpffs}
acceleration: {pods: ["bench/*"]}
accessLog: {path: $dir/access.json}
END
start node /dev/null "$dir/weir.log" "$bin/weir-proxy" --config "$dir/weir.yaml"
weir=$!
wait_for "weir's readiness" inside node curl -sSf http://127.0.0.1:9931/ready

# --- HAProxy, behind the kernel's own transparent redirection
cat >"$dir/haproxy.cfg" <<END
global
  nbthread 2
  tune.bufsize 65536
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend transparent
  bind 0.0.0.0:8080 transparent
  acl allowed_method method GET
  acl allowed_path path /small /large
  http-request deny deny_status 403 unless allowed_method allowed_path
  default_backend original
backend original
  source 0.0.0.0 usesrc clientip
  http-reuse never
  server original ${server[haproxy]}:80
END
inside node nft -f - <<'END'
table ip bench {
  chain prerouting {
    type filter hook prerouting priority mangle;
    iifname "lxcc-haproxy" tcp dport 80 tproxy to :8080 meta mark set 1 accept
    iifname "lxcs-haproxy" socket transparent 1 meta mark set 1 accept
  }
}
END
ip -n "$tag-node" rule add fwmark 1/0xff lookup 101
ip -n "$tag-node" route add local default dev lo table 101
start node "$dir/haproxy-requests" "$dir/haproxy.log" haproxy -db -f "$dir/haproxy.cfg"
haproxy=$!

accelerate() { inside node curl -sSf -X POST "http://127.0.0.1:9931/acceleration?enabled=$1" >/dev/null; }
is_accelerated() { inside node curl -sSf http://127.0.0.1:9931/acceleration | grep -q '"enabled":true'; }
joined_bytes() { inside node curl -sSf http://127.0.0.1:9931/acceleration | grep -o '"bytes_to_proxy":[0-9]*' | cut -d: -f2; }

for mode in direct weir haproxy; do
  wait_for "an answer through $mode" inside "c-$mode" curl -sSf "http://${server[$mode]}/small"
done
for mode in weir haproxy; do # the same ACL: it does deny
  denied=$(inside "c-$mode" curl -s -o /dev/null -w '%{http_code}' "http://${server[$mode]}/other")
  if [[ $denied != 403 ]]; then
    complain "$mode answers $denied to a denied request"
    exit 1
  fi
done

# --- measuring
machine() { awk '/^cpu /{print $2 + $3 + $4 + $7 + $8, $9, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9}' /proc/stat; }
memory() { awk -v key="$2:" '$1 == key {print $2}' "/proc/$1/status"; }

idle_rss=$(memory "$weir" VmRSS)
one_round() { # one_round MODE FILE: appends a line to the table, or fails when time was stolen
  local mode=$1 file=$2 pid=0 out used=0 before after proxy_before=0 proxy_after=0 joined=0
  [[ $mode == weir || $mode == accelerated ]] && pid=$weir
  if [[ $mode == accelerated ]]; then
    accelerate true
    wait_for "acceleration" is_accelerated
    joined=$(joined_bytes)
  fi
  [[ $mode == haproxy ]] && pid=$haproxy
  [[ $pid -eq 0 ]] || proxy_before=$(ticks "$pid")
  read -r -a before < <(machine)
  out=$(inside "${client[$mode]}" wrk -t2 -c"$connections" -d"${seconds}s" --latency "http://${server[$mode]}/$file")
  read -r -a after < <(machine)
  [[ $pid -eq 0 ]] || proxy_after=$(ticks "$pid")
  used=$((after[0] - before[0]))
  if [[ $mode == accelerated ]]; then
    accelerate false
    if (($(joined_bytes) == joined)); then
      complain "no byte of the accelerated round went from socket to socket"
      exit 1
    fi
  fi
  if (((after[1] - before[1]) * 20 > after[2] - before[2])); then
    return 1
  fi
  if grep -Eq "Non-2xx|Socket errors" <<<"$out"; then
    complain "$mode: $out"
    exit 1
  fi
  awk -v mode="$mode" -v file="$file" -v proxy=$((proxy_after - proxy_before)) -v machine="$used" \
    -v hertz="$(getconf CLK_TCK)" '
    /99%/ { p99 = $2; ms = p99 ~ /us$/ ? p99 / 1000 : p99 ~ /ms$/ ? p99 + 0 : p99 * 1000 }
    /requests in/ { requests = $1 }
    /Requests\/sec/ { rate = $2 }
    END { print mode, file, rate, ms, proxy / hertz / requests * 1e5, machine / hertz / requests * 1e5 }
  ' <<<"$out" >>"$dir/table"
  # The logs are written, as in earnest, but not kept.
  : >"$dir/access.json"
  : >"$dir/haproxy-requests"
}

for file in small large; do
  for ((round = 0; round < rounds; round++)); do
    for mode in direct weir accelerated haproxy; do
      for attempt in 1 2 3 4 5; do
        if one_round $mode $file; then break; fi
        complain "$mode $file: more than 5 % of the time was stolen (attempt $attempt)"
        ((attempt < 5)) || exit 1
      done
    done
  done
done

echo "$connections connections, ${seconds} s a round, medians of $rounds interleaved rounds, $(nproc) cores, Linux $(uname -r)"
python3 test/bench/medians.py "$dir/table"
echo "weir's RSS: $((idle_rss / 1024)) MiB idle, $(($(memory "$weir" VmRSS) / 1024)) MiB after the load, $(($(memory "$weir" VmHWM) / 1024)) MiB at most"
