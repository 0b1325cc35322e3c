#!/usr/bin/env bash
# What do policies cost? sudo ./test/bench/policy.sh [--bin DIR] [--large]
#
# Tables: reading, compiling and writing to kernel maps at sizes 10× apart (--large adds a fourth);
# one change of four kinds; map writes for a learned address; HTTP verdicts a second. Times are
# processor time, of changes also that on the clock, which has the kernel's waits in it. Without root
# nothing is written to the kernel.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=build/release/bin large=()
while [[ $# -gt 0 ]]; do
  case $1 in
  --bin)
    bin=$2
    shift
    ;;
  --large) large=(large) ;;
  *)
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
    exit 2
    ;;
  esac
  shift
done
exec "$bin/policy_bench" "${large[@]}"
