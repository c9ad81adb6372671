#!/usr/bin/env python3
"""Several secure sums at once, over TCP: a robust rule across the sums of three
groups, FedBuff's buffers beside each other, and kill -9 in the middle.
"""
# variants: asan
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import sim  # noqa: E402
from federation import Federation  # noqa: E402

SITES = ("northgate", "harbour", "lakeside", "hillcrest")
PLAN = """name: {name}
task: classify
model: {{kind: logistic}}
data:
  source: patients
  label: disease
  columns:
    - {{name: age, mean: 54, sd: 9}}
    - {{name: sex}}
    - {{name: thalach, mean: 138, sd: 25}}
    - {{name: oldpeak, mean: 0.9, sd: 1.1}}
  standardise: plan
rounds: {rounds}
cohort: {cohort}
strategy: {strategy}
local: {{steps: {steps}, batch: 8, optimizer: sgd, learning_rate: 0.1}}
weighting: {{by: examples, cap: 60}}
clip: 4
deadline: {{stage: 2s, train: 4s}}
seed: 7
"""
GROUPS = "{size: 9, min_reports: 2, over_select: 1.0}"


def add_devices(f, n):
    f.start_coordinator()
    for i in range(n):
        rows = sim("patients", SITES[i % len(SITES)], "-n", 60, "--first",
                   100 * i).exits(0).out
        data = {"patients": f.write(f"rows{i}.csv", rows)}
        f.add_device(f"site{i}", data=data).start()


def rounds(f, plan, state="committed"):
    return [r for r in f.rounds()
            if r["plan"] == plan and r["state"] == state]


def finished(f, plan, n):
    """The plan's newest version is n; its rows."""
    models = f.coordinator.json("models", "--plan", plan)["models"]
    return len(models) == n + 1 and models


def case_groups_then_buffers():
    with Federation() as f:
        add_devices(f, 9)
        f.submit(PLAN.format(name="grouped", rounds=4, steps=10, cohort=GROUPS,
                             strategy="{kind: median, groups: 3}"))
        models = cases.until(lambda: finished(f, "grouped", 4), 20,
                             "four rounds in groups")
        rows = rounds(f, "grouped")
        check_groups(f, rows, models)
        check_buffers(f)


def check_groups(f, rows, models):
    full = [r for r in rows if r["attempt"] == 0]
    for n in range(1, 5):
        mine = [r for r in rows if r["round"] == n]
        assert sorted(r["group"] for r in mine) == [1, 2, 3], mine
        assert len({r["model_hash"] for r in mine}) == 1, mine
        assert all(r["base_version"] == n - 1 for r in mine), mine
        assert sum(r["n_inputs"] for r in mine) == 9, mine
        assert models[n]["n_clients"] == 9, models
        assert models[n]["parent"] == mine[0]["parent_hash"]
    assert len(full) == len(rows) == 12
    # A device sits in one sum of a round only.
    for device in f.devices.values():
        seen = [(r["round"], r["attempt"])
                for r in device.json("audit")["releases"]]
        assert len(seen) == len(set(seen)) == 4, seen
    text = f.coordinator.run("rounds").stdout
    assert "4/4 #3" in text, text


def check_buffers(f):
    f.submit(PLAN.format(
        name="buffered", rounds=9, steps=10,
        cohort="{size: 3, min_reports: 2, over_select: 1.0}",
        strategy="{kind: fedbuff, concurrent: 3}"))
    models = cases.until(lambda: finished(f, "buffered", 9), 20,
                         "nine buffers")
    rows = sorted(rounds(f, "buffered"), key=lambda r: r["round"])
    assert [r["round"] for r in rows] == list(range(1, 10)), rows
    assert {r["group"] for r in rows} >= {1, 2, 3}, rows
    assert all(r["base_version"] < r["round"] for r in rows), rows
    stale = [r["round"] - 1 - r["base_version"] for r in rows]
    assert max(stale) >= 1, stale
    for a, b in zip(models, models[1:]):
        assert b["parent"] == a["hash"], (a, b)
    for a, b in zip(rows, rows[1:]):
        assert b["parent_hash"] == a["model_hash"], (a, b)


def case_devices_and_the_coordinator_die_between_groups():
    with Federation() as f:
        add_devices(f, 9)
        f.submit(PLAN.format(name="lossy", rounds=6, steps=20000, cohort=GROUPS,
                             strategy="{kind: trimmed, groups: 3, trim: 0.34}"))
        cases.until(lambda: rounds(f, "lossy", "running"), 10, "a round")
        victims = [f.devices["site0"], f.devices["site1"]]
        for device in victims:
            device.kill()
        cases.until(lambda: rounds(f, "lossy"), 15, "a version without them")
        f.coordinator.process.stop(signal.SIGKILL)
        for device in victims:
            device.start()
        f.coordinator.start()
        models = cases.until(lambda: finished(f, "lossy", 6), 20,
                             "all rounds after both came back")
        assert [m["version"] for m in models] == list(range(7)), models
        for a, b in zip(models, models[1:]):
            assert b["parent"] == a["hash"], (a, b)
        assert not rounds(f, "lossy", "running")
        for r in rounds(f, "lossy", "aborted"):
            assert r["code"] in ("TACIT-E0501", "TACIT-E0503"), r


if __name__ == "__main__":
    cases.run(globals())
