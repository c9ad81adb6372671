#!/usr/bin/env bash
# Run the benchmarks: JSON lines on stdout, everything else on stderr.
#
#   tests/bench/run.sh            all of them
#   tests/bench/run.sh ID         only the lines of one id (and its program), or
#                                 of all that begin with it (ann)
set -u
build=${TACIT_BUILD:-build/release}
id=${1:-}
status=0
known=0
for b in "$build"/bench/bench_* tests/bench/bench_*.py; do
    [ -x "$b" ] || [ "${b##*.}" = py ] || continue
    case $b in *.d | *.o) continue ;; esac
    source=tests/bench/$(basename "$b" .py)
    if [ -n "$id" ] && ! grep -qsw -- "$id" "$source".c "$source".py; then
        continue
    fi
    known=1
    echo "# $(basename "$b")" >&2
    run=("$b")
    [ "${b##*.}" = py ] && run=(python3 "$b" ${id:+"$id"})
    timeout -k 10 7200 "${run[@]}" |
        if [ -n "$id" ]; then
            grep --line-buffered -E -- "\"$id(_|\")"
        else
            cat
        fi
    [ "${PIPESTATUS[0]}" -eq 0 ] || status=1
done
if [ $known -eq 0 ]; then
    echo "bench: no benchmark $id; tests/bench/README.md lists them" >&2
    exit 2
fi
exit $status
