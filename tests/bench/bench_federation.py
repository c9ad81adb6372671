#!/usr/bin/env python3
"""Figures of whole federations on loopback: real processes, secure rounds.

    round_noop_8_ms      a secure round, 8 devices x 7,850 parameters
    coord_rss_mib        peak memory of the coordinator, 2^20 parameters
    device_idle_rss_mib  memory of an idle device daemon

A no-op round trains one step on one row, so that its cost is the protocol's.
Memory is what the kernel calls VmHWM (peak) and VmRSS: pages of shared
libraries count in full.
"""
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e"))
from federation import Federation  # noqa: E402

PLAN = """name: {name}
task: classify
model: {{kind: mlp, hidden: [{hidden}]}}
data:
  source: patients
  label: y
  columns:
{columns}
  standardise: none
  holdout: 0.3
rounds: {rounds}
cohort: {{size: {size}, min_reports: {size}, over_select: 1.0}}
local: {{steps: 1, batch: {batch}, optimizer: sgd, learning_rate: 0.001}}
weighting: {{by: uniform}}
clip: 1
secagg: {{ring_bits: 32}}
deadline: {{stage: 60s, train: 120s}}
seed: 7
"""


def line(bench, case, value, unit, limit):
    print(json.dumps({"bench": bench, "case": case, "value": round(value, 3),
                      "unit": unit, "peer": None, "ratio": None,
                      "limit": limit}), flush=True)


def memory_mib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for text in f:
            if text.startswith(field):
                return int(text.split()[1]) / 1024
    raise RuntimeError(field)


def table(n_inputs, n_rows):
    lines = [",".join([f"x{i}" for i in range(n_inputs)] + ["y"])]
    for r in range(n_rows):
        row = [str((r * 7 + i) % 5 - 2) for i in range(n_inputs)]
        lines.append(",".join(row + [str(r % 2)]))
    return "\n".join(lines) + "\n"


def federation(f, size, n_inputs, hidden, rounds, batch=1):
    """Coordinator, devices that wait to be started, and a plan."""
    columns = "\n".join(f"    - {{name: x{i}}}" for i in range(n_inputs))
    f.start_coordinator()
    csv = f.write("rows.csv", table(n_inputs, 12 * batch))
    for i in range(size):
        f.add_device(f"site{i}", data={"patients": csv})
    f.submit(PLAN.format(name="noop", hidden=hidden, columns=columns,
                         rounds=rounds, size=size, batch=batch))


def run_devices(f, timeout):
    """Until every device has the last model; seconds from start to end. Nothing
    else runs meanwhile: asking how far they are would cost a core."""
    begin = time.monotonic()
    for device in f.devices.values():
        device.start("--until-finished")
    for device in f.devices.values():
        if device.process.popen.wait(timeout) != 0:
            raise RuntimeError(f"{device.home} failed")
    return time.monotonic() - begin


def committed(f, rounds):
    rows = f.committed()
    if len(rows) != rounds:
        raise RuntimeError(f"{len(rows)} of {rounds} rounds committed")
    return rows


def noop_rounds():
    n = 100
    with Federation() as f:
        federation(f, 8, 165, 47, n)
        took = run_devices(f, 120)
        times = [r["duration_ms"] for r in committed(f, n)]
    line("round_noop_8_ms", "opened to committed, median of 100",
         statistics.median(times), "ms", 50)
    # Also between the rounds: the model goes out and is adopted durably.
    line("round_noop_8_ms", "start to end of 100 rounds, per round",
         took * 1000 / n, "ms", 50)


def coordinator_memory():
    for size in (8, 32):
        with Federation() as f:
            federation(f, size, 153, 6765, 4)
            run_devices(f, 600)
            committed(f, 4)
            peak = memory_mib(f.coordinator.process.popen.pid, "VmHWM")
        line("coord_rss_mib", f"{size} devices x 2^20 parameters, 4 rounds",
             peak, "MiB", 72)


def idle_device():
    with Federation() as f:
        f.start_coordinator()
        device = f.add_device("site")
        device.start()
        time.sleep(3)
        rss = memory_mib(device.process.popen.pid, "VmRSS")
    line("device_idle_rss_mib", "polls, has never worked", rss, "MiB", 16)
    with Federation() as f:
        federation(f, 2, 153, 6765, 3, batch=32)
        for device in f.devices.values():
            device.start()
        f.wait_committed(3, 120)
        time.sleep(3)
        rss = max(memory_mib(d.process.popen.pid, "VmRSS")
                  for d in f.devices.values())
    line("device_idle_rss_mib", "polls, after 3 rounds of 2^20 parameters",
         rss, "MiB", 16)


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, run in (("round_noop_8_ms", noop_rounds),
                      ("coord_rss_mib", coordinator_memory),
                      ("device_idle_rss_mib", idle_device)):
        if wanted in ("", name):
            run()


if __name__ == "__main__":
    main()
