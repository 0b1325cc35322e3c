#!/usr/bin/env bash
# The tutorial: sudo ./examples/tutorial/run.sh
#
#   --bin DIR   use the binaries in DIR instead of building the release preset
#
# Installs what is missing, builds weir, makes a node with five pods and a small world as network
# namespaces, starts weir, and shows scene by scene what policy files let curl do. Prints each
# command, its output and what was expected; exit code 1 if any expectation did not come true.
# Everything it makes is its own and is removed at the end; nothing leads out of the machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

bin=
case ${1:-} in
--bin) bin=${2:?--bin needs a folder} ;;
"") ;;
*)
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
  exit 2
  ;;
esac
if [[ $(id -u) -ne 0 ]]; then
  echo "run.sh: network namespaces and BPF need root: sudo $0" >&2
  [[ ${CI:-} == true ]] && exit 2
  exit 4
fi

# --- words on the screen

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'
else
  bold='' green='' red='' dim='' plain=''
fi
met=0 failed=0

scene() { printf '\n%s=== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }

verdict() { # verdict TRUE-OR-FALSE WHAT-WAS-EXPECTED
  if $1; then
    met=$((met + 1))
    printf '%s  [ok] expected: %s%s\n\n' "$green" "$2" "$plain"
  else
    failed=$((failed + 1))
    printf '%s  [FAILED] expected: %s%s\n\n' "$red" "$2" "$plain"
  fi
}

# expect WHERE EXIT-CODE PATTERN EXPLANATION COMMAND…: runs the command in pod (or node) WHERE; its
# exit code must be EXIT-CODE (several: "7|28") and its output must match PATTERN, an extended regular expression.
expect() {
  local where=$1 code=$2 pattern=$3 explanation=$4 output actual=0
  shift 4
  printf '%s%s$%s%s\n' "$dim" "$where" "$plain" "$(quoted "$@")"
  output=$(inside "$where" "$@" 2>&1) || actual=$?
  [[ -z $output ]] || printf '%s\n' "$output" | sed 's/\r$//; s/^/    /'
  [[ $actual -eq 0 ]] || printf '    [exit code %s]\n' "$actual"
  # Lines end in CR where HTTP wrote them; with -z the text is one record, and "." spans lines.
  if [[ "|$code|" == *"|$actual|"* ]] && tr -d '\r' <<<"$output" | grep -Eqz -- "$pattern"; then
    verdict true "$explanation"
  else
    verdict false "$explanation (exit code $code, output like: $pattern)"
  fi
}

quoted() {
  local word
  for word in "$@"; do
    [[ $word == "$bin/weirctl" ]] && word=weirctl
    if [[ $word =~ ^[][A-Za-z0-9@%+=:,./_-]+$ ]]; then printf ' %s' "$word"; else printf " '%s'" "$word"; fi
  done
}

# --- set-up

if [[ -z $bin ]]; then
  scene "Installing what is missing and building"
  "$root/test/tools/setup.sh" test
  (cd "$root" && cmake --preset release >/dev/null && cmake --build --preset release)
  bin=$root/build/release/bin
fi
bin=$(cd "$bin" && pwd)
curl=(curl -sS --max-time 5)
quick=(curl -sS --max-time 2)
status=(-o /dev/null -w '%{http_code}\n')

dir=$(mktemp -d /tmp/weir-tutorial-XXXXXX)
tag=weir-$$
pids=()

inside() { # inside PLACE COMMAND…
  local place=$1
  shift
  if [[ $place == node ]]; then
    # nsenter, not "ip netns exec": that one would also hide the bpffs.
    nsenter --net="/run/netns/$tag-node" "$@"
  else
    ip netns exec "$tag-$place" "$@"
  fi
}

clean_up() {
  local pid name
  for pid in "${pids[@]}"; do
    kill "$pid" 2>/dev/null || true
  done
  for pid in "${pids[@]}"; do
    wait "$pid" 2>/dev/null || true
  done
  mountpoint -q "$dir/bpffs" && umount "$dir/bpffs"
  for name in node world backend customer stranger web dns; do
    ip netns delete "$tag-$name" 2>/dev/null || true
    rm -rf "/etc/netns/$tag-$name"
  done
  rmdir /etc/netns 2>/dev/null || true
  rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

make_namespace() {
  ip netns add "$tag-$1"
  ip -n "$tag-$1" link set lo up
  inside "$1" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad'
}

# As Calico connects a pod: an address of its own, everything by way of the host's end of the veth,
# whose MAC address the pod knows.
make_pod() { # make_pod NAME NUMBER
  local mac=ee:ee:ee:ee:ee:ee gateway6=fe80::ecee:eeff:feee:eeee
  make_namespace "$1"
  ip -n "$tag-node" link add "lxc$1" address $mac type veth peer name eth0 netns "$tag-$1"
  ip -n "$tag-node" link set "lxc$1" up
  ip -n "$tag-$1" -batch - <<END
link set eth0 up
addr add 10.0.1.$2/32 dev eth0
addr add fd00:10:1::$2/128 dev eth0
neigh add 169.254.1.1 lladdr $mac dev eth0 nud permanent
neigh add $gateway6 lladdr $mac dev eth0 nud permanent
route add 169.254.1.1 dev eth0 scope link
route add default via 169.254.1.1
route add default via $gateway6 dev eth0
END
  ip -n "$tag-node" -batch - <<END
route add 10.0.1.$2 dev lxc$1 scope link
route add fd00:10:1::$2 dev lxc$1
END
  mkdir -p "/etc/netns/$tag-$1"
  printf 'nameserver 10.0.1.53\noptions timeout:5 attempts:1\n' >"/etc/netns/$tag-$1/resolv.conf"
}

make_node_and_world() {
  make_namespace node
  make_namespace world
  inside node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
  ip -n "$tag-node" link add uplink type veth peer name eth0 netns "$tag-world"
  ip -n "$tag-node" -batch - <<'END'
link set uplink up
addr add 172.31.0.1/24 dev uplink
addr add fd00:172:31::1/64 dev uplink
route add default via 172.31.0.254
route add default via fd00:172:31::254
END
  ip -n "$tag-world" -batch - <<'END'
link set eth0 up
addr add 172.31.0.254/24 dev eth0
addr add fd00:172:31::254/64 dev eth0
addr add 203.0.113.10/32 dev eth0
addr add 2001:db8:203::10/128 dev eth0
addr add 203.0.113.20/32 dev eth0
addr add 2001:db8:203::20/128 dev eth0
route add 10.0.1.0/24 via 172.31.0.1
route add fd00:10:1::/64 via fd00:172:31::1
END
}

start_nginx() { # start_nginx PLACE TEXT: answers everything with TEXT, logs to $dir/PLACE.log
  mkdir "$dir/nginx-$1"
  cat >"$dir/nginx-$1/nginx.conf" <<END
daemon off;
master_process off;
pid $dir/nginx-$1/pid;
error_log stderr;
events {}
http {
  client_body_temp_path $dir/nginx-$1/a; proxy_temp_path $dir/nginx-$1/b;
  fastcgi_temp_path $dir/nginx-$1/c; uwsgi_temp_path $dir/nginx-$1/d; scgi_temp_path $dir/nginx-$1/e;
  log_format short '\$remote_addr \$request_method \$request_uri';
  access_log $dir/$1.log short;
  server { listen 80; listen [::]:80; location / { return 200 "$2\n"; } }
}
END
  : >"$dir/$1.log"
  ip netns exec "$tag-$1" nginx -e stderr -c "$dir/nginx-$1/nginx.conf" &
  pids+=($!)
}

start_dns() {
  ip netns exec "$tag-dns" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
    --user=root --pid-file= --local=/test/ --log-facility="$dir/dns.log" \
    --host-record=api.example.test,203.0.113.10,2001:db8:203::10 \
    --host-record=other.example.test,203.0.113.20,2001:db8:203::20 &
  pids+=($!)
}

wait_until() { # wait_until WHAT COMMAND…
  local what=$1 deadline=$((SECONDS + 15))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      echo "run.sh: $what did not happen within 15 s" >&2
      [[ -e $dir/weir.log ]] && cat "$dir/weir.log" >&2
      exit 1
    fi
    sleep 0.02
  done
}

start_weir() {
  nsenter --net="/run/netns/$tag-node" "$bin/weir-proxy" --config "$dir/weir.yaml" \
    >>"$dir/weir.log" 2>&1 &
  weir=$!
  pids+=("$weir")
  wait_until "weir's readiness" inside node curl -sSf http://127.0.0.1:9931/ready
}

# The folder as kubelet lays out a mounted ConfigMap: files are links into ..data, and ..data is
# exchanged by renaming.
generation=0
publish() { # publish FILE…: these, and nothing else, are the policies now
  local file old
  old=$(readlink "$dir/policies/..data" || true)
  generation=$((generation + 1))
  mkdir "$dir/policies/..$generation"
  cp "$@" "$dir/policies/..$generation/"
  ln -s "..$generation" "$dir/policies/..data_tmp"
  mv -T "$dir/policies/..data_tmp" "$dir/policies/..data"
  for file in "$dir/policies/..$generation"/*; do
    ln -sfn "..data/$(basename "$file")" "$dir/policies/$(basename "$file")"
  done
  [[ -z $old ]] || rm -rf "$dir/policies/${old:?}"
}

scene "The cast: a node, five pods, a world"
say "      shop/backend   shop/customer   shop/stranger   shop/web   kube-system/dns"
say "            |              |               |             |             |"
say "            +--------------+------- node (weir) ---------+-------------+"
say "                                      |"
say "                      world: api.example.test, other.example.test"
make_node_and_world
make_pod backend 11
make_pod customer 12
make_pod stranger 13
make_pod web 14
make_pod dns 53
start_nginx web "hello from shop/web"
start_nginx world "hello from the world"
start_dns
wait_until "nginx's start" ip netns exec "$tag-web" curl -sS http://127.0.0.1/
wait_until "nginx's start" ip netns exec "$tag-world" curl -sS http://127.0.0.1/
wait_until "dnsmasq's start" ip netns exec "$tag-dns" dig +time=1 +tries=1 @10.0.1.53 api.example.test
mkdir "$dir/policies" "$dir/state" "$dir/bpffs"
mount -t bpf bpf "$dir/bpffs"
cp "$here/endpoints.yaml" "$dir/"
sed "s|/run/weir-tutorial|$dir|g" "$here/weir.yaml" >"$dir/weir.yaml"
say
say "Without weir every pod reaches every other one and the world:"
expect backend 0 "^200" "the other name answers" "${curl[@]}" "${status[@]}" http://other.example.test/
expect stranger 0 "^200" "the web pod answers anybody" "${curl[@]}" "${status[@]}" http://10.0.1.14/admin
wait_until "nginx's log" grep -q 10.0.1.13 "$dir/web.log"
: >"$dir/web.log"
publish "$here"/policies/*.yaml
start_weir
say "Now weir runs on the node, with two policies. Nothing was changed in the pods."
expect node 0 "web-ingress.*accepted|accepted.*web-ingress" "both policies are in force" \
  "$bin/weirctl" policies
expect node 0 "shop.*backend" "the pods that weir knows" "$bin/weirctl" endpoints

scene "1. Egress by name"
sed 's/^/    /' "$here/policies/fqdn-egress.yaml"
say
for family in 4 6; do
  if [[ $family == 4 ]]; then type=A server=10.0.1.53 api=203.0.113.10 other=203.0.113.20; else
    type=AAAA server=fd00:10:1::53 api=2001:db8:203::10 other=2001:db8:203::20
  fi
  expect backend 0 "^$api" "the allowed name resolves over UDP" dig +short "@$server" api.example.test $type
  expect backend 0 "^$other" "another name resolves too, here over TCP" \
    dig +short +tcp "@$server" other.example.test $type
  expect backend 0 "^hello from the world" "the allowed name answers over IPv$family" \
    "${curl[@]}" -$family http://api.example.test/
  expect backend 28 "" "the other name does not: dropped, so curl waits until it gives up (28)" \
    "${quick[@]}" -$family http://other.example.test/
done
expect node 0 "api.example.test +203.0.113.10|203.0.113.10.*api.example.test" \
  "weir shows which addresses it learned, for which pod" "$bin/weirctl" fqdn

scene "2. Ingress by HTTP method and path"
sed 's/^/    /' "$here/policies/http-ingress.yaml"
say
for web in 10.0.1.14 "[fd00:10:1::14]"; do
  expect customer 0 "^hello from shop/web" "GET /discount is allowed" \
    "${curl[@]}" "http://$web/discount"
  expect customer 0 "^Access denied" "POST /discount is not" "${curl[@]}" -d code=1 "http://$web/discount"
  expect customer 0 "HTTP/1.1 403.*x-weir-denied-by: shop/web-ingress" \
    "another path is 403, and a header says which policy" "${curl[@]}" -i "http://$web/admin"
  expect stranger 28 "" "a pod without the label gets no answer at all" \
    "${quick[@]}" "http://$web/discount"
done
say "The web server's own log. It saw the customer's address, and nothing but what was allowed:"
expect node 0 "^10.0.1.12 GET /discount.fd00:10:1::12 GET /discount.?\$" \
  "two requests, from the customer pod itself" cat "$dir/web.log"

scene "3. A pod that no policy selects is left alone"
expect stranger 0 "^hello from the world" "the stranger reaches any name" \
  "${curl[@]}" http://other.example.test/
expect node 1 "^0" "and the access log has no line of that: its packets never met the proxy" \
  grep -c '"pod":"stranger".*"203.0.113' "$dir/access.log"

scene "4. Files are the interface"
say "A second path is added to the policy. The folder is exchanged as kubelet exchanges a ConfigMap."
sed 's|path: "/discount"|path: "/discount\|/menu"|' "$here/policies/http-ingress.yaml" >"$dir/http-ingress.yaml"
expect customer 0 "^403" "before: /menu is denied" "${curl[@]}" "${status[@]}" http://10.0.1.14/menu
begin=$(date +%s%N)
publish "$here/policies/fqdn-egress.yaml" "$dir/http-ingress.yaml"
# As each worker judges: a request may meet any of them.
wait_until "the change" inside node "$bin/weirctl" policy trace --from shop/customer --to shop/web \
  --port 80 --method GET --path /menu
took=$((($(date +%s%N) - begin) / 1000000))
expect customer 0 "^200" "after $took ms, without a restart: /menu is allowed" \
  "${curl[@]}" "${status[@]}" http://10.0.1.14/menu
say "A spelling mistake: fromEndpoint in the place of fromEndpoints."
sed 's/fromEndpoints/fromEndpoint/' "$dir/http-ingress.yaml" >"$dir/broken.yaml"
expect node 1 "broken.yaml:[0-9]+:[0-9]+: .*fromEndpoint" \
  "weirctl says where, what and how to mend it (exit code 1)" "$bin/weirctl" policy check "$dir/broken.yaml"
cp "$dir/broken.yaml" "$dir/http-ingress.yaml"
publish "$here/policies/fqdn-egress.yaml" "$dir/http-ingress.yaml"
wait_until "the rejection" sh -c "nsenter --net=/run/netns/$tag-node curl -sS http://127.0.0.1:9931/policies | grep -q rejected"
expect node 0 "rejected" "published all the same, the file is shown as rejected" "$bin/weirctl" policies
expect customer 0 "^200" "and the last good version of it stays in force" \
  "${curl[@]}" "${status[@]}" http://10.0.1.14/menu
expect customer 0 "^403" "with all its limits" "${curl[@]}" "${status[@]}" http://10.0.1.14/admin

scene "5. Without the proxy nothing is let through"
say "weir-proxy is killed: kill -9."
kill -9 "$weir"
wait "$weir" 2>/dev/null || true
expect customer "28|7|56" "" "even the allowed request gets no answer now" "${quick[@]}" http://10.0.1.14/discount
expect backend 28 "" "and the forbidden address is as closed as before" "${quick[@]}" http://203.0.113.20/
start_weir
expect customer 0 "^200" "weir runs again: the allowed request is answered" \
  "${curl[@]}" "${status[@]}" http://10.0.1.14/discount
expect backend 0 "^200" "and the learned address is still open, with no new look-up" \
  "${curl[@]}" "${status[@]}" http://203.0.113.10/

scene "Result"
say "$met expectations met, $failed not."
say "The policies, pods and configuration are in ${here#"$root"/}; its README says more."
[[ $failed -eq 0 ]]
