#!/usr/bin/env bash
# Every C and C++ file is as clang-format would write it. To mend: clang-format-19 -i FILE
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.h' '*.cc' '*.c' |
  while read -r file; do [[ -f $file ]] && echo "$file"; done)
if [[ ${#files[@]} -eq 0 ]]; then
  echo "check_format.sh: no files found, so nothing was checked" >&2
  exit 2
fi
clang-format-19 --dry-run -Werror "${files[@]}"
echo "${#files[@]} files are formatted"
