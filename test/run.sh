#!/usr/bin/env bash
# Builds weir and runs every test: sudo ./test/run.sh [--preset NAME] [ctest arguments…]
#
#   --preset NAME   release (default), dev, asan-ubsan or tsan
#   --clean         build from nothing
#   --no-install    do not look for missing packages
# What follows is given to ctest: ./test/run.sh -L root, ./test/run.sh -R 'policy swap'
#
# Installs what is missing. Real traffic stays in network namespaces that the tests make. With
# CI=true a test that would be skipped for want of privilege fails instead.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release clean=false install=true
while [[ $# -gt 0 ]]; do
  case $1 in
  --preset)
    preset=${2:?--preset needs a name}
    shift 2
    ;;
  --clean) clean=true && shift ;;
  --no-install) install=false && shift ;;
  --help | -h)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
  *) break ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

if $install; then
  step "packages"
  test/tools/setup.sh test
  echo "all there"
fi

# Pins of BPF objects need a bpffs; the tests mount their own, weir's default place is this one.
if [[ $(id -u) -eq 0 && -d /sys/fs/bpf ]] && ! mountpoint -q /sys/fs/bpf; then
  mount -t bpf bpf /sys/fs/bpf
fi

step "build ($preset)"
$clean && rm -rf "build/$preset"
begin=$SECONDS
cmake --preset "$preset" >"/tmp/weir-configure.$$" 2>&1 || {
  cat "/tmp/weir-configure.$$"
  exit 1
}
rm -f "/tmp/weir-configure.$$"
cmake --build --preset "$preset"
echo "built in $((SECONDS - begin)) s"

step "tests ($preset)"
if [[ $(id -u) -ne 0 ]]; then
  echo "not root: tests that need network namespaces or BPF will be skipped"
fi
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j 2 "$@"
