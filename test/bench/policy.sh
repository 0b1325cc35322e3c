#!/usr/bin/env bash
# What do policies cost? sudo ./test/bench/policy.sh [--bin DIR] [--large]
#
# Tables: reading, compiling and writing to kernel maps at three sizes (10× each; --large adds a
# fourth), one policy changed, and HTTP verdicts a second with 1,000 rules. Times are processor time. Without root the map
# columns are empty. A learned address is one map write by construction (redirector.h, learn()).
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
