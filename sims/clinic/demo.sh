#!/usr/bin/env bash
# The whole story on one machine: a coordinator and four hospital devices, each
# a process of its own, talk over loopback. Nothing else is contacted.
#
# Homes live in a temporary folder and go away at the end, on Ctrl-C too.
# Results stay in build/demo: report.html, models, and what the commands said.
set -euo pipefail
cd "$(dirname "$0")/../.."

BIN=${TACIT_BIN:-$PWD/build/release/bin}
OUT=${TACIT_DEMO_OUT:-$PWD/build/demo}
CLINIC=$PWD/sims/clinic
SITES=(northgate harbour lakeside hillcrest)
TEST_PATIENTS=300 # seen later: never trained on
WORK=
STARTED=$(date +%s)

# Ask every process to end, then make sure of it. They are the shell's jobs: a
# list of ours would lack one whose start a signal came between.
stop_all() {
    local pids
    pids=$(jobs -p)
    [ -n "$pids" ] || return 0
    kill $pids 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 $pids 2>/dev/null || return 0 # as long as one is there
        sleep 0.05
    done
    kill -9 $pids 2>/dev/null || true
}

# Each call does it all: a signal's may come in the middle of the one at exit.
finish() { # STATUS
    local status=$1 log
    trap '' INT TERM # a second Ctrl-C leaves nothing half removed
    trap - EXIT
    stop_all
    if [ "$status" -ne 0 ] && [ "$status" -ne 130 ]; then
        echo "demo: failed; the last lines of each log:" >&2
        for log in "$WORK"/*.log; do
            [ -f "$log" ] || continue
            echo "--- $(basename "$log")" >&2
            tail -n 5 "$log" >&2
        done
    fi
    [ -n "$WORK" ] && rm -rf "$WORK"
    exit "$status"
}
trap 'finish $?' EXIT
trap 'finish 130' INT
trap 'finish 143' TERM
WORK=$(mktemp -d "${TMPDIR:-/tmp}/tacit-demo-XXXXXX")

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\033[1m' DIM=$'\033[2m' PLAIN=$'\033[0m'
else
    BOLD='' DIM='' PLAIN=''
fi
say() { printf '\n%s%s%s\n' "$BOLD" "$1" "$PLAIN"; }
note() { printf '%s%s%s\n' "$DIM" "$1" "$PLAIN"; }
on() { # SITE COMMAND…: tacit on one site's device
    local site=$1
    shift
    "$BIN/tacit" "$@" --home "$WORK/$site"
}
lead() { "$BIN/tacit-coordinator" "$@" --home "$WORK/coordinator"; }

# The demo ends by itself, whatever happens.
LIMIT=${TACIT_DEMO_LIMIT_S:-300}
(
    trap 'kill $!; exit' TERM
    sleep "$LIMIT" &
    wait $! && kill -TERM $$
) >/dev/null 2>&1 &

free_port() {
    local port
    for port in $(shuf -i 20000-40000 -n 50); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        echo "$port"
        return
    done
}

# Only what an earlier run wrote: the folder may hold other files.
mkdir -p "$OUT"
rm -f "$OUT"/{rounds,train-*,ask-*,audit-*}.json "$OUT"/ask-*.txt \
    "$OUT"/{risk,retriever}.safetensors "$OUT"/report.html

say "1. A coordinator, and four hospitals that join with one link each"
PORT=$(free_port)
lead init --name clinic --listen "tcp://127.0.0.1:$PORT" \
    --address "127.0.0.1:$PORT" --json >/dev/null
# Not through lead: the process to end must be the program, not a subshell.
"$BIN/tacit-coordinator" run --home "$WORK/coordinator" \
    >"$WORK/coordinator.log" 2>&1 &
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null && break
    sleep 0.05
done
for site in "${SITES[@]}"; do
    on "$site" init --quiet >/dev/null
    added=$(on "$site" add "$CLINIC/$site/documents" --quiet)
    # Patients that the site has, and as many again that it will see later.
    rows=$("$BIN/tacit-sim" patients "$site" --seed 7 | wc -l)
    {
        "$BIN/tacit-sim" patients "$site" --seed 7 |
            sed '1s/$/,split/;2,$s/$/,train/'
        "$BIN/tacit-sim" patients "$site" --seed 7 --first $((rows - 1)) \
            --rows $TEST_PATIENTS | sed '1d;s/$/,test/'
    } >"$WORK/$site.csv"
    cat >"$WORK/$site/policy.yaml" <<POLICY
tasks: [classify, retriever]
data:
  - {source: patients, file: $WORK/$site.csv}
  - {source: questions, file: $CLINIC/$site/questions.csv}
min_cohort: 3
clip_max: 5
budget: {updates: 100, updates_per_day: 100}
POLICY
    lead invite "$site" --approve --json >"$WORK/$site.invite"
    grep -o 'tacit:[^"]*' "$WORK/$site.invite" | head -1 |
        on "$site" join - --quiet >/dev/null
    printf '  %-10s %4d patients   %s\n' "$site" $((rows - 1)) "$added"
done

say "2. They learn together; every sum is masked, every round is signed"
for plan in risk retriever; do
    lead plan submit "$CLINIC/$plan.yaml" --json >/dev/null
done
DEVICES=()
for site in "${SITES[@]}"; do
    "$BIN/tacit" run --until-finished --wait 60s --home "$WORK/$site" \
        >"$WORK/$site.log" 2>&1 &
    DEVICES+=($!)
done
lead watch || true
for pid in "${DEVICES[@]}"; do wait "$pid"; done
lead rounds --json >"$OUT/rounds.json"

say "3. Risk model: accuracy on $TEST_PATIENTS later patients of each site"
for site in "${SITES[@]}"; do
    on "$site" train --plan "$CLINIC/risk.yaml" --json --quiet \
        >"$OUT/train-risk-$site.json"
done
python3 sims/clinic/table.py "$OUT" risk local federated "alone" "federated"

say "4. Search model: recall@5 on 25 held-out questions of each site"
for site in "${SITES[@]}"; do
    on "$site" train --plan "$CLINIC/retriever.yaml" --eval --json --quiet \
        >"$OUT/train-retriever-$site.json"
done
python3 sims/clinic/table.py "$OUT" retriever initial federated "before" "after"

say "5. Questions, answered offline with sources; and one honest refusal"
n=0
while IFS='|' read -r site question; do
    n=$((n + 1))
    printf '\n%s%s asks:%s %s\n' "$BOLD" "$site" "$PLAIN" "$question"
    printf '%s\n' "$question" >"$OUT/ask-$n-$site.txt"
    status=0
    on "$site" ask "$question" --quiet || status=$?
    on "$site" ask "$question" --json >"$OUT/ask-$n-$site.json" || true
    [ "$status" -eq 0 ] || note "(exit code $status)"
done <"$CLINIC/demo-questions.txt"

say "6. What left harbour: its ledger"
on harbour audit --quiet >"$WORK/audit.txt"
{ head -4 "$WORK/audit.txt"; echo "  …"; tail -3 "$WORK/audit.txt"; }
for site in "${SITES[@]}"; do
    on "$site" audit --json >"$OUT/audit-$site.json"
done
for plan in risk retriever; do
    lead export --plan "$plan" -o "$OUT/$plan.safetensors" --json >/dev/null
done
"$BIN/tacit-sim" report "$OUT" >/dev/null

say "7. Look at it"
cat <<DONE
  report   $OUT/report.html
  models   $OUT/risk.safetensors, $OUT/retriever.safetensors
  took     $(($(date +%s) - STARTED)) s

Now with your own folder:
  $BIN/tacit init
  $BIN/tacit add ~/Documents
  $BIN/tacit ask "…"
DONE
