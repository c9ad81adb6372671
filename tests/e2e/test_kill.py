#!/usr/bin/env python3
"""kill -9 at random moments of ten-round runs: nothing committed is lost.

First the coordinator is killed at 50 random points, then the devices at 50.
After every restart the run goes on by itself. In the end each plan has its ten
committed rounds in one chain, what was committed before a kill is still there
afterwards, and the devices' ledgers hold at least as many releases as the
coordinator ever received.

    TACIT_KILLS=50 TACIT_SEED=n python3 tests/e2e/test_kill.py
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from federation import Federation  # noqa: E402

KILLS = int(os.environ.get("TACIT_KILLS", "50"))
SEED = int(os.environ.get("TACIT_SEED", str(random.randrange(1 << 32))))
ROUNDS = 10
PER_RUN = 5
PLAN = """name: kill-{n}
task: classify
model: {{kind: logistic}}
data:
  source: patients
  label: y
  columns: [{{name: a}}, {{name: b}}]
  standardise: none
  holdout: 0.2
rounds: 10
cohort: {{size: 3, min_reports: 2, over_select: 1.0}}
local: {{steps: 20, batch: 4, optimizer: sgd, learning_rate: 0.05}}
weighting: {{by: examples, cap: 100}}
clip: 5
secagg: {{ring_bits: 32}}
deadline: {{stage: 2s, train: 4s}}
seed: {n}
"""


def table(seed):
    r = random.Random(seed)
    lines = ["a,b,y"]
    for _ in range(40):
        a, b = r.gauss(0, 1), r.gauss(0, 1)
        lines.append(f"{a:.4f},{b:.4f},{int(a + b + r.gauss(0, .5) > 0)}")
    return "\n".join(lines) + "\n"


def committed_models(f):
    return {(r["plan"], r["round"]): r["model_hash"] for r in f.committed()}


def restart(f, node):
    node.start()
    if node is f.coordinator:
        f.wait_listening()


def one_run(f, n, victims, kills, r):
    name = f"kill-{n}"
    f.submit(PLAN.format(n=n), f"{name}.yaml")
    for _ in range(kills):
        time.sleep(r.uniform(0, 0.4))
        victim = r.choice(victims)
        before = committed_models(f)
        victim.kill()
        restart(f, victim)
        after = committed_models(f)
        for key, value in before.items():
            assert after.get(key) == value, f"{key} was committed and is lost"
    end = time.monotonic() + 90
    while sum(x["plan"] == name for x in f.committed()) < ROUNDS:
        if time.monotonic() > end:
            raise TimeoutError(f"{name} did not finish: {f.rounds()[-3:]}")
        time.sleep(0.05)


def check_chain(f, n_plans):
    rounds = f.committed()
    for n in range(n_plans):
        mine = [x for x in rounds if x["plan"] == f"kill-{n}"]
        assert [x["round"] for x in mine] == list(range(1, ROUNDS + 1)), mine
        for a, b in zip(mine, mine[1:]):
            assert b["parent_hash"] == a["model_hash"], (a, b)


def check_ledgers(f):
    received = sum(r["n_inputs"] for r in f.rounds())
    debited = 0
    for device in f.devices.values():
        audit = device.json("audit")
        assert audit["chain_ok"] is True, audit
        debited += len(audit["releases"])
    assert debited >= received, f"{debited} debits for {received} inputs"
    return debited, received


def main():
    print(f"seed {SEED}, {KILLS} kills of each", flush=True)
    r = random.Random(SEED)
    with Federation() as f:
        f.start_coordinator()
        for i in range(3):
            csv = f.write(f"rows{i}.csv", table(i))
            f.add_device(f"site{i}", data={"patients": csv}).start()
        n = 0
        for victims in ([f.coordinator], list(f.devices.values())):
            left = KILLS
            while left > 0:
                one_run(f, n, victims, min(PER_RUN, left), r)
                left -= PER_RUN
                n += 1
        check_chain(f, n)
        debited, received = check_ledgers(f)
    print(f"{n} runs, {2 * KILLS} kills: every round kept; {debited} debits "
          f"for {received} inputs received")


if __name__ == "__main__":
    main()
