#!/usr/bin/env bash
# Fails if a package has more production lines of Rust than tests/sizes.txt allows. A line counts unless it is blank, a comment, an import, or
# of tests: a file or folder with `test` in its name, or what follows `#[cfg(test)]`.
#   tests/sizes.sh          compares
#   tests/sizes.sh print    prints the present sizes, as tests/sizes.txt has them
set -euo pipefail
cd "$(dirname "$0")/.."

# lines FOLDER: the production lines of its Rust files.
lines() {
    git ls-files --cached --others --exclude-standard "$1" | grep '\.rs$' | grep -v test | xargs awk '
        FNR == 1 { in_tests = in_use = 0 }
        /^#\[cfg\(test\)\]/ { in_tests = 1 }
        in_tests || /^[[:space:]]*(\/\/|$)/ { next }
        /^[[:space:]]*(pub(\([a-z]+\))? )?use / { in_use = 1 }
        !in_use { count++ }
        /;$/ { in_use = 0 }
        END { print count + 0 }'
}

sizes() { for folder in crates/* src; do printf '%-24s %6d\n' "$folder" "$(lines "$folder")"; done; }

[ "${1:-}" != print ] || { sizes && exit; }
sizes | awk '
    FNR == NR { if (!/^#/) allowed[$1] = $2; next }
    !($1 in allowed) { print $1 " is not in tests/sizes.txt"; failed = 1; next }
    $2 > allowed[$1] { print $1 " has " $2 " production lines, tests/sizes.txt allows " allowed[$1]; failed = 1 }
    END { exit failed }' tests/sizes.txt -
