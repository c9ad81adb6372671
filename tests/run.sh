#!/usr/bin/env bash
# Run every test binary given; print a line per failure and one closing line.
#
#   TACIT_BUILD=build/release tests/run.sh build/release/tests/base/test_arena …
#
# Each binary runs alone with a time limit, so that a hang is a failure with a
# name. End-to-end tests (tests/e2e/test_*.py) run after them; in the
# sanitiser builds only those that name the variant in a "# variants:" line.
set -u
build=${TACIT_BUILD:-build/release}
variant=${build##*/}
limit=${TACIT_TEST_LIMIT:-1800}
export TACIT_BIN=$build/bin
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/tests/tsan.supp
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

one() { # name, command…
    local name=$1 start status
    shift
    start=$(date +%s%N)
    timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null
    status=$?
    local ms=$((($(date +%s%N) - start) / 1000000))
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        printf 'ok      %6d ms  %s\n' $ms "$name"
        grep -E 'SKIPPED  \] .*(:|not here)' "$log" | sort -u |
            sed 's/^/          /' || true
    elif [ $status -eq 77 ]; then
        skipped=$((skipped + 1))
        printf 'skipped %6d ms  %s: %s\n' $ms "$name" "$(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        printf 'FAILED  %6d ms  %s (status %d%s)\n' $ms "$name" $status \
            "$([ $status -eq 124 ] && echo ', over the time limit')"
        tail -n 60 "$log" | sed 's/^/    | /'
    fi
}

for t in "$@"; do one "${t#"$build"/tests/}" "$t"; done
for t in tests/e2e/test_*.py; do
    [ -e "$t" ] || continue
    if [ "$variant" != release ]; then
        grep -qE "^# variants:.*\b$variant\b" "$t" || continue
    fi
    one "${t#tests/}" python3 "$t"
done
printf '%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed -eq 0 ]
