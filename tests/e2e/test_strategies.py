#!/usr/bin/env python3
"""Every strategy that a plan may name runs in production: a coordinator and six
devices, all plans in one queue; robust rules across groups. And what a strategy
keeps on a device survives its restart.
"""
# variants: asan
import json
import math
import os
import re
import struct
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import REPOSITORY, sim  # noqa: E402
from federation import Federation, Process  # noqa: E402
import federation  # noqa: E402

SITES = ("northgate", "harbour", "lakeside", "hillcrest")
N = 6
PLAN = """# {comment}
name: {name}
task: classify
model: {{kind: mlp, hidden: [4]}}
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
cohort: {{size: {n}, min_reports: {min}, over_select: 1.0}}
strategy: {{kind: {kind}{numbers}}}
local: {{steps: 10, batch: 8, optimizer: sgd, learning_rate: 0.1}}
weighting: {{by: examples, cap: 60}}
clip: 4
deadline: {{stage: 5s, train: 10s}}
seed: 7
"""
# What a kind wants said, beside its defaults, for six devices.
NUMBERS = {
    "krum": "byzantine: 0", "multikrum": "byzantine: 0",
    "bulyan": "byzantine: 0", "trimmed": "trim: 0.34",
    "fltrust": "trusted: 2", "fedbuff": "concurrent: 2",
}
KEEPS = ("scaffold", "feddyn", "ditto", "fedper")


def table():
    """(kind, compares) of every row of the plan's strategies."""
    path = os.path.join(REPOSITORY, "common/plan/plan_strategy.c")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    rows = re.search(r"rows\[\] = \{\n(.*?)\n\};", text, re.S).group(1)
    return [(kind, "COMPARES" in row)
            for kind, row in re.findall(r'\{"(\w+)",([^}]*)\}', rows)]


def plan_of(kind, compares, rounds, comment="", n=N, least=2):
    numbers = NUMBERS.get(kind, "")
    if compares:
        numbers = ", ".join(filter(None, (numbers, "groups: 3")))
    return PLAN.format(name=kind, kind=kind, rounds=rounds, n=n, min=least,
                       numbers=", " + numbers if numbers else "",
                       comment=comment)


def add_devices(f, n):
    f.start_coordinator()
    for i in range(n):
        rows = sim("patients", SITES[i % len(SITES)], "-n", 60, "--first",
                   100 * i).exits(0).out
        f.add_device(f"site{i}",
                     data={"patients": f.write(f"rows{i}.csv", rows)})


def tensors(f, plan):
    """Name -> numbers of the newest model's tensors."""
    path = f.path("model.safetensors")
    f.coordinator.run("export", "--plan", plan, "-o", path)
    with open(path, "rb") as file:
        data = file.read()
    n = struct.unpack("<Q", data[:8])[0]
    head, body = json.loads(data[8:8 + n]), data[8 + n:]
    head.pop("__metadata__", None)
    return {name: struct.unpack(f"<{(b - a) // 4}f", body[a:b])
            for name, (a, b) in
            ((k, t["data_offsets"]) for k, t in head.items())}


def check_rows(f, kind, compares, rounds, version):
    rows = [r for r in f.committed() if r["plan"] == kind]
    sums = 3 if compares else 1
    assert len(rows) == rounds * sums, (kind, rows)
    for r in rows:
        assert math.isfinite(r["loss"]) and 0 < r["loss"] < 10, (kind, r)
        assert math.isfinite(r["loss_after"]), (kind, r)
        assert r["n_inputs"] >= 2, (kind, r)
    for name, numbers in version.items():
        assert all(map(math.isfinite, numbers)), (kind, name)


def case_every_strategy_learns_from_secure_sums():
    kinds = table()
    assert len(kinds) >= 23 and ("fedavg", False) in kinds, kinds
    with Federation() as f:
        add_devices(f, N)
        for kind, compares in kinds:
            f.submit(plan_of(kind, compares, 2), f"{kind}.yaml")
        for device in f.devices.values():
            device.start("--until-finished", "--wait", "60s")
        f.coordinator.run("watch", "--timeout", "60s", timeout=70)
        seen = set()
        for kind, compares in kinds:
            model = tensors(f, f"{kind}")
            check_rows(f, kind, compares, 2, model)
            seen.add(tuple(v for t in sorted(model) for v in model[t]))
        # They are not all one and the same strategy.
        assert len(seen) >= len(kinds) // 2, len(seen)
        for device in f.devices.values():
            assert device.process.popen.wait(20) == 0, device.tail()


def one_round_each(f):
    """New processes for one round, all of them to their end."""
    run = [Process([os.path.join(federation.BIN, "tacit"), "run", "--once",
                    "--wait", "20s", "--home", d.home], d.log)
           for d in f.devices.values()]
    for p in run:
        assert p.popen.wait(30) == 0, p.popen.args
        p.log.close()


def case_what_a_device_keeps_survives_its_restart():
    with Federation() as f:
        add_devices(f, 4)
        for kind in KEEPS:
            f.submit(plan_of(kind, False, 3, "in one go", 4, 4), "a.yaml")
        for device in f.devices.values():
            device.start("--until-finished", "--wait", "30s")
        f.coordinator.run("watch", "--timeout", "30s", timeout=40)
        whole = {kind: tensors(f, kind) for kind in KEEPS}
        for device in f.devices.values():
            assert device.process.popen.wait(20) == 0, device.tail()
        for kind in KEEPS:
            f.submit(plan_of(kind, False, 3, "with restarts", 4, 4), "b.yaml")
        for _ in range(3 * len(KEEPS)):
            one_round_each(f)
        for kind in KEEPS:
            # The last plan of that name; every number of it to the bit.
            assert tensors(f, kind) == whole[kind], kind


if __name__ == "__main__":
    cases.run(globals())
