#!/usr/bin/env bash
# Does a packet cost more where policies are large? sudo ./test/bench/packet.sh [--bin DIR]
#
# One packet of a pod through weir_from_pod (BPF_PROG_TEST_RUN), its policy having 10 to 10,000 rows:
# nanoseconds and the ratio to 10 rows, medians of interleaved rounds.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=build/release/bin
while [[ $# -gt 0 ]]; do
  case $1 in
  --bin)
    bin=$2
    shift
    ;;
  *)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
    ;;
  esac
  shift
done
exec "$bin/packet_bench"
