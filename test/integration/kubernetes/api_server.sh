#!/usr/bin/env bash
# Makes a real kube-apiserver for the tests, once for each machine: out of Debian 12's own source
# package, with Debian's Go. Prints where it is.
#
#   api_server.sh           builds it where it is not there yet: 6 minutes of processor time,
#                           7.5 minutes on 2 cores beside other builds
#   api_server.sh --where   only prints the place; exit code 1 when there is none
#
# Kept outside the tree: $WEIR_CACHE, else ~/.cache/weir. Where it cannot be had (not Debian 12, not
# root, no package source) it says why and ends with 4, which is a skipped test, or with 1 when
# CI=true.
set -euo pipefail

cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir}/kube-apiserver-1.20.2
program=$cache/kube-apiserver
here() { [[ -x $program ]] && command -v etcd >/dev/null; }

if [[ ${1:-} == --where ]]; then
  here || exit 1
  echo "$program"
  exit 0
fi

missing() {
  echo "api_server.sh: no kube-apiserver for the tests: $*" >&2
  [[ ${CI:-} == true ]] && exit 1
  exit 4
}

if here; then
  echo "$program"
  exit 0
fi
[[ $(id -u) -eq 0 ]] || missing "root is needed to install what builds it"
# shellcheck source=/dev/null
source /etc/os-release
[[ ${VERSION_CODENAME:-} == bookworm ]] || missing "its source package is Debian 12's"
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if here; then
  echo "$program"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial"
chmod 755 "$work"

# The machine's own package source, with its sources switched on.
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } | awk '
  /^URIs:/ && !/security/ && !uri { uri = $2 }
  /^deb / && !/security/ && !uri { for (i = 2; i <= NF; i++) if ($i ~ /^http/ && !uri) uri = $i }
  END { print uri }')
[[ -n $mirror ]] || missing "no package source is configured"
echo "deb-src $mirror bookworm main" >"$work/sources.list"
source_options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
export DEBIAN_FRONTEND=noninteractive
{
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends etcd-server golang-go dpkg-dev \
    golang-github-modern-go-reflect2-dev
  apt-get -qq "${source_options[@]}" update
  (cd "$work" && apt-get -qq "${source_options[@]}" source --download-only kubernetes)
} >"$work/apt.log" 2>&1 || {
  cat "$work/apt.log" >&2
  missing "a package cannot be had"
}
(cd "$work" && tar xzf kubernetes_*.orig.tar.gz)

# Go's layout of before modules: the tree is entered through GOPATH.
export GOPATH=$work/go GOCACHE=$work/go-cache GO111MODULE=off CGO_ENABLED=0 GOFLAGS='' GOPROXY=off
package=k8s.io/kubernetes
mkdir -p "$GOPATH/src/k8s.io" "$work/bin"
ln -s "$(echo "$work"/kubernetes-1.20*)" "$GOPATH/src/$package"
cd "$GOPATH/src/$package"
# The bundled reflect2 does not build with Go 1.18 and newer.
rm -rf vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/reflect2

# One generated file is not in the source package.
go build -o "$work/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
inputs=$(find pkg cmd plugin vendor/k8s.io/*/ -follow -name '*.go' -type f 2>/dev/null |
  grep -vE '^vendor/k8s.io/(code-generator|sample-apiserver|kube-openapi|gengo)/' |
  xargs grep -l '^// *+k8s:openapi-gen=' | xargs -n1 dirname | LC_ALL=C sort -u |
  sed "s#^#$package/#" | paste -sd,)
"$work/bin/openapi-gen" -i "$inputs" -p $package/pkg/generated/openapi -o "$GOPATH/src" \
  -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
  -r "$work/openapi.report"

flags="-s -w"
for where in component-base client-go/pkg; do
  flags+=" -X $package/vendor/k8s.io/$where/version.gitVersion=v1.20.2"
  flags+=" -X $package/vendor/k8s.io/$where/version.gitMajor=1"
  flags+=" -X $package/vendor/k8s.io/$where/version.gitMinor=20"
done
go build -p 2 -ldflags "$flags" -o "$work/bin/kube-apiserver" ./cmd/kube-apiserver
# In one step where it is looked for: a copy that was cut short would pass for the whole.
cp "$work/bin/kube-apiserver" "$program.new"
mv "$program.new" "$program"
chmod -R u+w "$work" # Go makes its cache read-only
echo "$program"
