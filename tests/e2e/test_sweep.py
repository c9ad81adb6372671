#!/usr/bin/env python3
"""The files of tacit-sim run, read by readers of their own; tacit-sim sweep and
compare: what a grid runs, what it does not run again, what it says of runs that
fail, and that Ctrl-C leaves nothing half-written that looks whole.
"""
import csv
import glob
import json
import math
import os
import re
import signal
import sqlite3
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, folder, sim, until, write  # noqa: E402

PLAN = """name: trial   # kept
task: classify
model: {kind: logistic}
data:
  source: patients
  label: disease
  columns: [{name: age}, {name: thalach},
            {name: cp, values: [1, 2, 3, 4]}]
  standardise: site
rounds: 4
cohort: {size: 6, min_reports: 4, over_select: 1.2}
local: {steps: 5, batch: 16, learning_rate: 0.1}
seed: 5
sim: {clients: 12, rows: 30}
"""
RATES = ["--set", "local.learning_rate=0.1,0.01"]


def plan(here, text=PLAN):
    return write(here + "/trial.yaml", text)


def table(out):
    with open(out + "/metrics.csv", encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def run_json(out):
    with open(out + "/run.json", encoding="utf-8") as f:
        return json.load(f)


# ---- an own reader of TensorBoard's event files ----------------------------

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def records(path):
    with open(path, "rb") as f:
        data = f.read()
    while data:
        size, check = struct.unpack("<QI", data[:12])
        assert check == masked(data[:8]), "crc of a length"
        body, tail = data[12:12 + size], data[12 + size:16 + size]
        assert len(body) == size, "a torn record"
        assert struct.unpack("<I", tail)[0] == masked(body), "crc of a record"
        yield body
        data = data[16 + size:]


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = {1: 8, 5: 4}[key & 7]
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def events(path):
    """(version, [(step, wall time, {tag: value})])"""
    version, out = None, []
    for body in records(path):
        step, wall, scalars = 0, 0.0, {}
        for number, value in fields(body):
            if number == 1:
                wall = struct.unpack("<d", value)[0]
            elif number == 2:
                step = value
            elif number == 3:
                version = value.decode()
            elif number == 5:
                for _, one in fields(value):
                    parts = dict(fields(one))
                    scalars[parts[1].decode()] = struct.unpack(
                        "<f", parts[2])[0]
        if scalars:
            out.append((step, wall, scalars))
    return version, out


# ---- one run ----------------------------------------------------------------

def case_csv_lines_and_database_hold_the_same_rounds():
    with folder() as here:
        out = here + "/o"
        sim("run", plan(here), "-o", out, "-q").exits(0)
        rows = table(out)
        with open(out + "/metrics.jsonl", encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        with sqlite3.connect(f"file:{out}/metrics.sqlite?mode=ro",
                             uri=True) as db:
            db.row_factory = sqlite3.Row
            stored = [dict(r) for r in db.execute(
                "SELECT * FROM rounds ORDER BY round")]
            about = dict(db.execute("SELECT * FROM runs").fetchone())
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        db.close()
        assert len(rows) == len(lines) == len(stored) == 4
        for row, line, kept in zip(rows, lines, stored):
            assert list(row) == list(line)
            for name, text in row.items():
                if text == "":
                    assert line[name] is None and kept[name] is None, name
                    continue
                assert math.isclose(float(text), line[name], rel_tol=1e-8)
                assert math.isclose(float(text), kept[name], rel_tol=1e-8)
        said = run_json(out)
        assert said["state"] == about["state"] == "finished"
        assert said["plan_text"] == about["plan_text"] == PLAN
        assert (said["seed"], said["clients"], said["rounds"]) == (5, 12, 4)
        assert said["plan_hash"] == about["plan_hash"]
        assert "not bounded" in said["privacy"]
        last = float(rows[-1]["pooled_metric"])
        assert math.isclose(said["summary"]["metric"], last, rel_tol=1e-8)


def case_event_files_are_read_by_an_own_reader():
    assert crc32c(b"123456789") == 0xe3069283
    with folder() as here:
        before = time.time()
        sim("run", plan(here), "-o", here + "/o", "-q").exits(0)
        path, = glob.glob(here + "/o/events.out.tfevents.*")
        version, found = events(path)
        assert version == "brain.Event:2"
        assert [step for step, _, _ in found] == [1, 2, 3, 4]
        for (_, wall, scalars), row in zip(found, table(here + "/o")):
            assert before - 2 <= wall <= time.time() + 2
            for tag, name in (("loss/before", "loss_before"),
                              ("metric/pooled", "pooled_metric"),
                              ("round/inputs", "inputs")):
                assert math.isclose(scalars[tag], float(row[name]),
                                    rel_tol=1e-6), (tag, scalars)


def case_settings_change_the_plan_and_its_hash_and_nothing_else():
    with folder() as here:
        here_out = here + "/o"
        sim("run", plan(here), "-o", here_out, "--set", "rounds=2", "--set",
            "strategy.kind=fedavgm", "-s", "9", "-q").exits(0)
        said = run_json(here_out)
        assert said["seed"] == 9 and said["rounds"] == 2
        assert said["strategy"] == "fedavgm"
        text = said["plan_text"]
        assert "name: trial   # kept" in text and "rounds: 2" in text, text
        sim("run", write(here + "/again.yaml", text), "-o", here + "/p",
            "-q").exits(0)
        assert run_json(here + "/p")["plan_hash"] == said["plan_hash"]
        for words, code, near in (
                (["--set", "lr=1"], 1, ""),
                (["--set", "strategy.knd=x"], 1, '"strategy.kind"'),
                (["--set", "rounds=1 # x"], 1, "one value"),
                (["--set", "rounds=0"], 1, "rounds is 0"),
                (["--set", "rounds"], 4, "key=value")):
            sim("run", plan(here), "-o", here + "/x", *words).exits(code).says(
                near)
        assert not os.path.exists(here + "/x")


def case_what_cannot_fit_is_refused_and_what_would_is_said():
    with folder() as here:
        out = ["-o", here + "/o"]
        done = sim("run", plan(here), "-c", "100000", "--set",
                   "sim.rows=10000000", *out).exits(1)
        done.says("TB", "free", "sim.clients", "E0610")
        wide = ["--set", "model={kind: mlp, hidden: [8000, 8000]}", "--set",
                "cohort.size=128", "--set", "sim.clients=2000"]
        done = sim("run", plan(here), *wide, *out).exits(1)
        done.says("sim.protocol: sum", "E0610")
        fits = re.search(r"cohort\.size (\d+)", done.err)
        assert fits and 2 <= int(fits.group(1)) < 128, done
        sim("sweep", plan(here), *(w.replace("8000, 8000", "8000,8000")
            for w in wide), *out).exits(1).says("E0610")
        assert not os.path.exists(here + "/o")


def case_a_killed_run_leaves_rounds_but_no_results():
    with folder() as here:
        out = here + "/o"
        p = begin("tacit-sim", "run", plan(here), "-o", out, "-q", "--set",
                  "rounds=50000")
        lines = out + "/metrics.jsonl.part"
        until(lambda: os.path.exists(lines) and os.path.getsize(lines) > 2000,
              30, "no rounds")
        finish(p, signal.SIGKILL)
        assert run_json(out)["state"] == "running"
        names = sorted(re.sub(r"\d{9,}", "N", f) for f in os.listdir(out))
        assert names == ["events.out.tfevents.N.tacit.part",
                         "metrics.jsonl.part", "run.json"], names
        with open(lines, encoding="utf-8") as f:
            whole = f.read().rpartition("\n")[0].split("\n")
        assert [json.loads(x)["round"] for x in whole] == list(
            range(1, len(whole) + 1))
        sim("compare", out).exits(1).says("none of the 1 runs is finished")
        sim("run", plan(here), "-o", out, "-q").exits(0)
        assert not glob.glob(out + "/*.part"), os.listdir(out)


def case_an_interrupted_run_is_no_finished_one():
    with folder() as here:
        out = here + "/o"
        p = begin("tacit-sim", "run", plan(here), "-o", out, "-q", "--set",
                  "rounds=50000")
        until(lambda: os.path.exists(out + "/metrics.jsonl.part"), 30, "-")
        finish(p, signal.SIGINT).exits(130)
        said = run_json(out)
        assert said["state"] == "interrupted"
        assert said["rounds"] == len(table(out)) < 50000
        assert not glob.glob(out + "/*.part")
        sim("compare", out).exits(1)


# ---- many runs ---------------------------------------------------------------

def case_a_sweep_runs_every_combination_and_seed():
    with folder() as here:
        out = here + "/s"
        done = sim("sweep", plan(here), *RATES, "--set",
                   "strategy.kind=fedavg,fedavgm", "--seeds", "3", "-o", out,
                   "--json").exits(0)
        data = done.data
        assert data["finished"] == 12 and data["reused"] == 0, data
        assert len(data["groups"]) == 4
        assert sum(g["best_group"] for g in data["groups"]) == 1
        best = max(data["groups"], key=lambda g: g["metric"]["mean"])
        assert best["best_group"]
        for g in data["groups"]:
            kind = g["set"]["strategy.kind"]
            rate = g["set"]["local.learning_rate"]
            folders = [f"{out}/learning_rate-{rate}_kind-{kind}/seed-{s}"
                       for s in (5, 6, 7)]
            ends = [float(table(f)[-1]["pooled_metric"]) for f in folders]
            assert g["seeds"] == [5, 6, 7] and g["runs"] == 3
            assert math.isclose(g["metric"]["mean"], statistics.mean(ends),
                                rel_tol=1e-7)
            assert math.isclose(g["metric"]["sd"], statistics.stdev(ends),
                                rel_tol=1e-6)
        with open(out + "/sweep.json", encoding="utf-8") as f:
            assert json.load(f) == data
        with open(out + "/compare.html", encoding="utf-8") as f:
            page = f.read()
        for word in ("http", "src=", "href", "<script", "nan"):
            assert word not in page, word
        assert "<svg" in page and "fedavgm, 0.01" in page or \
            "0.01, fedavgm" in page


def case_a_sweep_goes_on_where_it_was_stopped():
    with folder() as here:
        out, words = here + "/s", [*RATES, "--seeds", "2"]
        first = sim("sweep", plan(here), *words, "-o", out, "--json").exits(0)
        stamp = os.stat(out + "/learning_rate-0.1/seed-5/run.json").st_mtime_ns
        write(out + "/learning_rate-0.1/seed-6/run.json", "{ half")
        os.remove(out + "/learning_rate-0.01/seed-5/run.json")
        again = sim("sweep", plan(here), *words, "-o", out, "--json").exits(0)
        assert again.data["reused"] == 2 and again.data["finished"] == 4
        for a, b in zip(first.data["groups"], again.data["groups"]):
            assert a["metric"] == b["metric"]
        assert stamp == os.stat(
            out + "/learning_rate-0.1/seed-5/run.json").st_mtime_ns
        other = plan(here, PLAN.replace("steps: 5", "steps: 6"))
        third = sim("sweep", other, *words, "-o", out, "--json").exits(0)
        assert third.data["reused"] == 0, "another plan was not run"


def case_an_interrupt_ends_the_runs_too_and_the_next_call_goes_on():
    with folder() as here:
        out = here + "/s"
        words = ["sweep", plan(here), "--set", "rounds=3,60000", "-j", "2",
                 "-o", out]
        p = begin("tacit-sim", *words)
        until(lambda: os.path.exists(out + "/rounds-3/seed-5/report.html") and
              os.path.exists(out + "/rounds-60000/seed-5/metrics.jsonl.part"),
              60, "the sweep does not start")
        children = subprocess.run(["pgrep", "-P", str(p.pid)], text=True,
                                  capture_output=True, check=False).stdout
        done = finish(p, signal.SIGINT, timeout=60).exits(130)
        done.says("stopped with 1 of 2 runs finished", "E0014")
        for pid in children.split():
            assert not os.path.exists(f"/proc/{pid}"), f"{pid} lives on"
        assert run_json(out + "/rounds-60000/seed-5")["state"] == "interrupted"
        done = sim("compare", out).exits(0)
        done.prints("left out", "interrupted")


def case_a_killed_sweep_takes_its_runs_along():
    with folder() as here:
        one = here + "/s/rounds-60000/seed-5"
        p = begin("tacit-sim", "sweep", plan(here), "--set", "rounds=60000",
                  "-o", here + "/s")
        until(lambda: os.path.exists(one + "/metrics.jsonl.part"), 60, "-")
        finish(p, signal.SIGKILL)
        until(lambda: run_json(one)["state"] == "interrupted", 30,
              "the run lives on")


def case_a_failed_run_is_listed_and_the_others_go_on():
    with folder() as here:
        out = here + "/s"
        for site in ("harbour", "northgate"):
            rows = sim("patients", site, "-n", "60").exits(0).out
            write(f"{here}/data/{site}.csv", rows)
        text = PLAN.replace("cohort: {size: 6, min_reports: 4",
                            "cohort: {size: 2, min_reports: 2")
        words = ["sweep", plan(here, text), "--set", "data.label=disease,sick",
                 "-d", here + "/data", "-o", out]
        done = sim(*words).exits(1)
        done.says("label-sick/seed-5", "1 of 2 runs failed", "sick")
        done.prints("disease", "1 of 2 runs finished")
        assert run_json(out + "/label-disease/seed-5")["state"] == "finished"
        assert os.path.exists(out + "/compare.html")
        done = sim(*words, "--json").exits(1)
        assert done.code == "TACIT-E0008", done
        with open(out + "/sweep.json", encoding="utf-8") as f:
            failed, = json.load(f)["failed"]
        assert failed["folder"].endswith("label-sick/seed-5"), failed


def case_all_faults_are_told_before_anything_starts():
    with folder() as here:
        out = ["-o", here + "/s"]
        done = sim("sweep", plan(here), "--set", "strategy.kind=fedavg,fedmagc",
                   "--set", "rounds=0,2", *out).exits(1)
        done.says("rounds is 0", "fedmagc", "fedavg", "of 3")
        sim("sweep", plan(here), "--set", "strategy.knd=1", "--set",
            "sim.alpa=1", *out).exits(1).says("strategy.kind", "sim.alpha")
        sim("sweep", plan(here), "--set", "rounds=1,1", *out).exits(4).says(
            "stands twice")
        sim("sweep", plan(here), "--set", "rounds=1,,2", *out).exits(4)
        sim("sweep", plan(here), "--set", "rounds", *out).exits(4)
        sim("sweep", plan(here), "--seeds", "0", *out).exits(4)
        sim("sweep", plan(here), "--seeds", "3", "--set", "seed=1,2",
            *out).exits(4).says("exclude")
        assert not os.path.exists(here + "/s")


def case_compare_merges_seeds_and_tells_variants_apart():
    with folder() as here:
        for seed in (1, 2):
            for steps in (5, 50):
                sim("run", plan(here), "-q", "-s", seed, "--set",
                    f"local.steps={steps}", "-o",
                    f"{here}/runs/{steps}-{seed}").exits(0)
        sim("run", plan(here), "-q", "-s", 1, "-o", here + "/runs/twin",
            "--set", "local.steps=5").exits(0)
        done = sim("compare", here + "/runs", "--target", "0.5", "-o",
                   here + "/c.html", "--json").exits(0)
        groups = {g["set"]["local.steps"]: g for g in done.data["groups"]}
        assert sorted(groups) == ["5", "50"] and len(done.data["left_out"]) == 1
        assert groups["50"]["seeds"] == [1, 2], groups
        for g in groups.values():
            assert g["runs"] == 2
            assert g["target_rounds"]["n"] in (0, 1, 2)
        shown = sim("compare", here + "/runs", "--target", "0.5").exits(0)
        shown.prints("local.steps", "±", "rounds to target", "<- best",
                     "the same run as")
        with open(here + "/c.html", encoding="utf-8") as f:
            page = f.read()
        assert page.count("opacity=") == 2, "two bands"
        sim("compare", here + "/none").exits(1).says("none")
        sim("compare", here).exits(0)


if __name__ == "__main__":
    cases.run(globals())
