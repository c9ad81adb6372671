#!/usr/bin/env bash
# What machines find by reading: clang-tidy, cppcheck and gcc -fanalyzer over
# every C file outside tests/ (those run under ASan, UBSan and valgrind), after
# the self-test of tidy.py. A finding is repaired, or silenced here or beside
# the line, with the reason.
#
# clang-tidy's checks that are off:
#   easily-swappable-parameters, narrowing-conversions,
#   implicit-widening-…, misplaced-widening-cast
#                          -Wconversion and the types say it; size_t and
#                          int64_t are equally wide here
#   reserved-identifier    feature macros
#   assignment-in-if-condition, branch-clone, macro-parentheses
#                          style that X-macros and switches use on purpose
#   sizeof-expression      calloc(n, sizeof *p) of an array of pointers
#   not-null-terminated-…  memcpy of a known length is not meant to end a text
#   DeprecatedOrUnsafe…    wants Annex K
#   mpi.MPI-Checker        wants a wait without a limit beside each request
#   valist.Uninitialized   false in the second file of one run (clang 14)
# gcc -fanalyzer (12) loses who owns what lies in an array or behind another
# file, so its malloc-leak and file-leak are off; LeakSanitizer and tests/fault
# see leaks. It takes a vector of n numbers for a type of log2 n bits, so its
# shift-count-overflow is off too; UBSan sees the shifts of whole numbers. Its
# -Wno-… flags come last: -w would silence the analyser as well.
set -u
cd "$(dirname "$0")/../.." || exit 1
mkdir -p build
log=$(mktemp -d build/analyse-XXXXXX)
trap 'rm -rf "$log"' EXIT
mapfile -t sources < <(git ls-files '*.c' | grep -v '^tests/')
flags=(-std=c11 -D_GNU_SOURCE -I.)
read -r -a mpi < <(pkg-config --cflags ompi-c 2>/dev/null || true)
flags+=("${mpi[@]/#-I/-isystem}")
failed=0

for tool in clang-tidy cppcheck gcc; do
    command -v "$tool" >/dev/null && continue
    echo "$tool is missing: make deps-dev" >&2
    exit 1
done

verdict() { # name, log
    local bad='(warning|error|ERROR|FAIL|Error):'
    if grep -qE "$bad" "$2"; then
        printf '%-14s FAILED\n' "$1"
        grep -E "$bad" "$2" | sort -u | head -40
        failed=1
    else
        printf '%-14s ok\n' "$1"
    fi
}

python3 tests/tidy/test_tidy.py >"$log/self" 2>&1
verdict self-test "$log/self"

checks='-*,clang-analyzer-*,bugprone-*'
for off in bugprone-easily-swappable-parameters \
    bugprone-narrowing-conversions bugprone-misplaced-widening-cast \
    bugprone-implicit-widening-of-multiplication-result \
    bugprone-reserved-identifier bugprone-assignment-in-if-condition \
    bugprone-branch-clone bugprone-macro-parentheses \
    bugprone-sizeof-expression bugprone-not-null-terminated-result \
    clang-analyzer-valist.Uninitialized \
    clang-analyzer-optin.mpi.MPI-Checker \
    clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling; do
    checks+=",-$off"
done
tidy_some() { # checks, files…
    clang-tidy --quiet --checks="$1" "${@:2}" -- "${flags[@]}" 2>/dev/null
}
analyse_one() {
    gcc -fanalyzer -O1 "${flags[@]}" -DTACIT_ONE_TARGET \
        -Wno-analyzer-malloc-leak -Wno-analyzer-file-leak \
        -Wno-analyzer-shift-count-overflow \
        -c "$1" -o /dev/null
}
# Bash functions and arrays do not cross xargs; these two lines do.
export -f tidy_some analyse_one
export FLAGS="${flags[*]}"
each='read -r -a flags <<<"$FLAGS";'

printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 4 \
    bash -c "$each"' tidy_some "$@"' _ "$checks" >"$log/clang-tidy"
verdict clang-tidy "$log/clang-tidy"

folders=()
for f in common retrieval client coordinator sims; do
    [ -d "$f" ] && folders+=("$f")
done
cppcheck --quiet --std=c11 --enable=warning,performance,portability \
    --inline-suppr --suppress=missingInclude --suppress=unknownMacro \
    --suppress=normalCheckLevelMaxBranches -j "$(nproc)" -I. -D_GNU_SOURCE \
    -D__x86_64__ "${folders[@]}" >"$log/cppcheck" 2>&1
verdict cppcheck "$log/cppcheck"

printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -n 1 \
    bash -c "$each"' analyse_one "$1"' _ >"$log/fanalyzer" 2>&1
verdict fanalyzer "$log/fanalyzer"
exit $failed
