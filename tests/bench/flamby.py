#!/usr/bin/env python3
"""Fed-Heart-Disease with five real processes over TCP, secure aggregation on.

Prints the published and our accuracy per centre for FedAvg, mean and standard
deviation over the seeds. Data and split: the four processed UCI files and
FLamby's test rows; protocol: FLamby (NeurIPS 2022 datasets track), logistic
regression, batch 4, 100 local SGD steps at 1e-3, 15 rounds, weights by number
of training rows. What is measured is each device's own copy of the last model.
Exits 1 when a centre's mean is further from the published one than its
standard deviation, or 0.03 where that is more.

    python3 tests/bench/flamby.py [number of seeds]
"""
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e"))
from federation import Federation  # noqa: E402

DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
CENTRES = ["cleveland", "hungarian", "switzerland", "va"]
# FLamby's own result files, averaged: mean and standard deviation.
PUBLISHED = {"cleveland": (.731, .019), "hungarian": (.719, .029),
             "switzerland": (.650, .102), "va": (.640, .045)}
COLUMNS = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach",
           "exang", "oldpeak"]
ROUNDS = 15
PLAN = """name: fed-heart-{seed}
task: classify
model: {{kind: logistic}}
data:
  source: patients
  label: num
  columns:
    - {{name: age}}
    - {{name: sex}}
    - {{name: cp, values: [1, 2, 3, 4]}}
    - {{name: trestbps}}
    - {{name: chol}}
    - {{name: fbs}}
    - {{name: restecg, values: [0, 1, 2]}}
    - {{name: thalach}}
    - {{name: exang}}
    - {{name: oldpeak}}
  standardise: site
  holdout: 0.34
rounds: {rounds}
cohort: {{size: 4, min_reports: 4, over_select: 1.0}}
local: {{steps: 100, batch: 4, optimizer: sgd, learning_rate: 0.001}}
weighting: {{by: examples, cap: 1000}}
clip: 10
secagg: {{ring_bits: 32}}
deadline: {{stage: 20s, train: 60s}}
seed: {seed}
"""


def centre_rows(centre):
    """FLamby's rows: three columns dropped, then rows with a gap."""
    with open(f"{DATA}/heart/processed.{centre}.data", encoding="utf-8") as f:
        rows = [line.strip().split(",") for line in f if line.strip()]
    rows = [r[:10] + r[13:] for r in rows]
    return [r for r in rows if "?" not in r]


def write_tables(federation):
    tests = {}
    with open(f"{DATA}/heart/split_test_indices.txt", encoding="utf-8") as f:
        for line in f:
            words = line.split()
            tests[words[0]] = {int(w) for w in words[1:]}
    paths = {}
    for centre in CENTRES:
        lines = [",".join(COLUMNS + ["num", "split"])]
        for i, row in enumerate(centre_rows(centre)):
            split = "test" if i in tests[centre] else "train"
            lines.append(",".join(row + [split]))
        text = "\n".join(lines) + "\n"
        paths[centre] = federation.write(f"{centre}.csv", text)
    return paths


def main():
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    if not os.path.exists(f"{DATA}/heart/split_test_indices.txt"):
        print(f"bench-flamby: skipped: no heart data in {DATA}",
              file=sys.stderr)
        return 0
    with Federation() as f:
        f.start_coordinator()
        paths = write_tables(f)
        for centre in CENTRES:
            f.add_device(centre, data={"patients": paths[centre]})
        plans = [f.submit(PLAN.format(seed=seed, rounds=ROUNDS),
                          f"seed{seed}.yaml")
                 for seed in range(42, 42 + n_seeds)]
        # A device ends when it has adopted the last model of every plan.
        for device in f.devices.values():
            device.start("--until-finished")
        for device in f.devices.values():
            if device.process.popen.wait(60 + 30 * n_seeds) != 0:
                raise RuntimeError(f"{device.home} failed")
        accuracy = {c: [] for c in CENTRES}
        for plan in plans:
            for centre in CENTRES:
                result = f.devices[centre].json("train", "--plan", plan,
                                                "--eval")
                if result["federated"]["version"] != ROUNDS:
                    raise RuntimeError(f"{centre}: not the last model")
                accuracy[centre].append(result["federated"]["metric"])
    failed = 0
    print(f"{'centre':12} {'published':>15} {'ours':>15} {'difference':>11}",
          file=sys.stderr)
    for centre in CENTRES:
        mean, sd = PUBLISHED[centre]
        ours = statistics.mean(accuracy[centre])
        spread = statistics.stdev(accuracy[centre]) if n_seeds > 1 else 0.0
        ok = abs(ours - mean) <= max(sd, 0.03)
        failed += not ok
        print(f"{centre:12} {mean:8.3f}±{sd:.3f} {ours:9.3f}±{spread:.3f} "
              f"{ours - mean:+11.3f} {'' if ok else '  outside'}",
              file=sys.stderr)
        print(json.dumps({"bench": "flamby_fedavg", "case": centre,
                          "value": round(ours, 4), "unit": "accuracy",
                          "sd": round(spread, 4), "seeds": n_seeds,
                          "peer": "FLamby results", "peer_value": mean,
                          "ratio": round(ours / mean, 4)}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
