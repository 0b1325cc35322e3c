#!/usr/bin/env bash
# Runs shellcheck over every script, whatever its name; and every script that is meant to be run can be.
set -euo pipefail
cd "$(dirname "$0")/../.."

scripts=() failed=0
while read -r file; do
  [[ -f $file ]] || continue
  first=$(head -n 1 "$file" | tr -d '\0')
  case $first in
  '#!'*bash | '#!/bin/sh') scripts+=("$file") ;;
  '#!'*) ;;
  *) continue ;;
  esac
  if [[ ! -x $file ]]; then
    echo "$file: has a #! line but no run bit" >&2
    failed=1
  fi
done < <(git ls-files --cached --others --exclude-standard -- . ':!*.h' ':!*.cc' ':!*.md')
if [[ ${#scripts[@]} -eq 0 ]]; then
  echo "check_scripts.sh: no scripts found, so nothing was checked" >&2
  exit 2
fi
shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
echo "${#scripts[@]} scripts are clean"
exit "$failed"
