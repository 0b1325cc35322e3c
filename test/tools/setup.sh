#!/usr/bin/env bash
# Installs what weir needs on Debian 12 or 13, and nothing that is there already.
#
#   setup.sh build     compiler, clang for BPF, libraries
#   setup.sh run       only what the finished binaries link (the image's last stage)
#   setup.sh test      build + servers and clients that the tests and the tutorial drive
#   setup.sh bench     test + the peers that the benches compare with
#
# Debian 12 lacks a few versions. They come from its backports and from Debian 13, taken from the
# same mirror that this machine's own apt source names, pinned so that nothing else follows.
set -euo pipefail

tier=${1:-test}
# shellcheck source=/dev/null
source /etc/os-release
case ${VERSION_CODENAME:-} in
bookworm | trixie) ;;
*)
  echo "setup.sh: Debian 12 (bookworm) or 13 (trixie) is needed, this is ${PRETTY_NAME:-unknown}" >&2
  exit 2
  ;;
esac

if [[ $VERSION_CODENAME == bookworm ]]; then
  boost=1.81
else
  boost=1.83
fi

run_packages=(libbpf1 libc-ares2 libssl3 libyaml-cpp0.7 libre2-9 libspdlog1.10 libfmt9 libllhttp9.2
  libnghttp2-14 iproute2 ca-certificates)
if [[ $VERSION_CODENAME == trixie ]]; then
  run_packages=(libbpf1 libcares2 libssl3t64 libyaml-cpp0.8 libre2-11 libspdlog1.15 libfmt10
    libllhttp9.2 libnghttp2-14 iproute2 ca-certificates)
fi
build_packages=(g++ cmake ninja-build pkg-config ccache lld git ca-certificates
  clang-19 clang-format-19 clang-tidy-19 llvm-19 libclang-rt-19-dev bpftool
  "libboost$boost-dev" libllhttp-dev libc-ares-dev libbpf-dev libelf-dev zlib1g-dev libssl-dev
  libyaml-cpp-dev libre2-dev libcli11-dev libspdlog-dev libnghttp2-dev catch2 linux-libc-dev)
test_packages=(iproute2 iptables iputils-ping procps curl nginx-light dnsmasq-base bind9-dnsutils
  netcat-openbsd nghttp2-client nghttp2-server wrk apache2-utils openssl
  python3 python3-grpcio python3-requests
  bind9 knot knot-dnsutils unbound musl-tools shellcheck jq)
bench_packages=(haproxy nftables nghttp2-proxy linux-perf dnsperf dnsdist)

case $tier in
run) packages=("${run_packages[@]}") ;;
build) packages=("${build_packages[@]}") ;;
test) packages=("${build_packages[@]}" "${test_packages[@]}") ;;
bench) packages=("${build_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}") ;;
*)
  echo "setup.sh: unknown tier '$tier' (build, run, test or bench)" >&2
  exit 2
  ;;
esac

# package=least version, for those that Debian 12 itself carries too old
backports=(libbpf-dev libbpf1 bpftool catch2)
newer_suite=(libllhttp-dev libllhttp9.2)

installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

new_enough() {
  local least
  case $1 in
  libbpf-dev | libbpf1) least=1:1.4 ;;
  bpftool) least=7.4 ;;
  catch2) least=3 ;;
  *) return 0 ;;
  esac
  dpkg --compare-versions "$(dpkg-query -W -f='${Version}' "$1")" ge "$least"
}

missing=()
for package in "${packages[@]}"; do
  if ! installed "$package" || ! new_enough "$package"; then
    missing+=("$package")
  fi
done
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi
if [[ $(id -u) -ne 0 ]]; then
  echo "setup.sh: these packages are missing, run it as root to install them: ${missing[*]}" >&2
  exit 2
fi

weir_sources=/etc/apt/sources.list.d/weir.sources

# The mirror of this machine's own suite, in either of apt's two formats. A stanza of the newer one
# is a paragraph whose fields come in any order and may be switched off.
own_mirror() {
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [[ -e $file && $file != "$weir_sources" ]] || continue
    awk -v suite="$VERSION_CODENAME" '
      function flush(   i, n, words) {
        n = split(suites, words)
        for (i = 1; i <= n; i++) if (words[i] == suite && uri != "" && enabled) print uri
        uri = suites = ""; enabled = 1
      }
      BEGIN { enabled = 1 }
      /^[ \t]*$/ { flush(); next }
      tolower($1) == "uris:" { uri = $2 }
      tolower($1) == "suites:" { suites = $0; sub(/^[^:]*:/, "", suites) }
      tolower($1) == "enabled:" && tolower($2) ~ /^(no|false|off|0)$/ { enabled = 0 }
      END { flush() }' "$file"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -e $file ]] || continue
    sed -E 's/^deb[ \t]+\[[^]]*\]/deb/' "$file" |
      awk -v suite="$VERSION_CODENAME" '$1 == "deb" && $3 == suite { print $2 }'
  done
}

if [[ $VERSION_CODENAME == bookworm ]]; then
  mirror=$(own_mirror | sed -n 1p)
  if [[ -z $mirror ]]; then
    echo "setup.sh: no apt source for bookworm found; add one, then run this again" >&2
    exit 2
  fi
  cat >"$weir_sources" <<EOF
Types: deb
URIs: $mirror
Suites: bookworm-backports trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
  cat >/etc/apt/preferences.d/weir <<EOF
Package: *
Pin: release n=trixie
Pin-Priority: -1

Package: ${newer_suite[*]}
Pin: release n=trixie
Pin-Priority: 500

Package: ${backports[*]}
Pin: release n=bookworm-backports
Pin-Priority: 600
EOF
fi

export DEBIAN_FRONTEND=noninteractive
# A server package must not start its server: the tests start their own, in namespaces.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
