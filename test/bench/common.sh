# shellcheck shell=bash
# What the benches share. They source it from the project's root, under `set -euo pipefail`; their
# first comment is what usage() prints.

bench=$(basename "$0")

complain() { echo "$bench: $*" >&2; }

usage() {
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
  exit 2
}

take_options() { # take_options "NAME…" ARGUMENT…: "--NAME VALUE" sets the variable NAME
  local known=" $1 "
  shift
  while (($# > 0)); do
    [[ $1 == --* && $known == *" ${1#--} "* && $# -ge 2 ]] || usage
    printf -v "${1#--}" %s "$2"
    shift 2
  done
}

need_root() {
  if [[ $(id -u) -ne 0 ]]; then
    complain "needs root"
    exit 2
  fi
}

need_tools() { # need_tools TOOL…
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || {
      complain "$tool is missing (test/tools/setup.sh bench; cmake --build --preset release)"
      exit 2
    }
  done
}

# Installs what is missing, builds weir-proxy where $bin names no folder with one, makes $bin absolute.
prepare() {
  test/tools/setup.sh bench
  if [[ -z $bin ]]; then
    cmake --preset release >/dev/null
    cmake --build --preset release --target weir-proxy
    bin=build/release/bin
  fi
  bin=$(cd "$bin" && pwd)
}

# $dir is the run's own; what is in $pids ends with it. A bench may define also_clean_up.
dir=$(mktemp -d /tmp/weir-bench-XXXXXX)
pids=()
clean_up() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  if declare -F also_clean_up >/dev/null; then also_clean_up; fi
  rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

wait_for() { # wait_for WHAT COMMAND…
  local what=$1 deadline=$((SECONDS + 15))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      complain "$what did not come about"
      cat "$dir"/*.log >&2
      exit 1
    fi
    sleep 0.05
  done
}

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; } # for names without a space

# Of a process and its children, where a proxy works in these. 0: no process.
group_ticks() {
  local pid total=0
  if [[ $1 -ne 0 ]]; then
    for pid in "$1" $(cat "/proc/$1/task/$1/children"); do
      total=$((total + $(ticks "$pid")))
    done
  fi
  echo "$total"
}

# What HTTP servers serve, by its size, and the policy that lets the client have it.
write_pages() {
  mkdir -p "$dir/www"
  head -c 64 /dev/zero | tr '\0' x >"$dir/www/64"
  head -c 16384 /dev/zero | tr '\0' x >"$dir/www/16k"
  head -c 1048576 /dev/zero | tr '\0' x >"$dir/www/1m"
  truncate -s 1G "$dir/www/1g"
}
write_http_policy() {
  mkdir -p "$dir/policies"
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
            http:
              - {method: GET, path: "/64"}
              - {method: GET, path: "/16k"}
              - {method: GET, path: "/1m"}
              - {method: GET, path: "/1g"}
END
}
