#!/usr/bin/env python3
"""tacit-sim run, as a researcher uses it: what it writes, that a run can be
repeated to the bit, that it stops soon and keeps what it has, and what it says
when a plan or a folder will not do.
"""
import csv
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, folder, sim, until, write  # noqa: E402

COLUMNS = ("round,attempts,invited,inputs,loss_before,loss_after,metric,"
           "pooled_loss,pooled_metric,virtual_ms,wall_ms,pooled_rows,personal,"
           "staleness,clients_measured,clients_mean,clients_sd,clients_p10,"
           "clients_median,clients_p90,clients_worst,bytes_up,bytes_down,"
           "energy_j,attackers,backdoor").split(",")
PLAN = """name: trial
task: classify
model: {{kind: logistic}}
data:
  source: patients
  label: disease
  columns: [{{name: age}}, {{name: thalach}},
            {{name: cp, values: [1, 2, 3, 4]}}]
  standardise: site
rounds: {rounds}
cohort: {{size: 6, min_reports: 4, over_select: 1.2}}
local: {{steps: {steps}, batch: 16, learning_rate: 0.1}}
seed: 5
sim: {{clients: {clients}, rows: 30, dropout: 0.1}}
"""


def plan(here, rounds=5, steps=10, clients=20):
    return write(here + "/trial.yaml",
                 PLAN.format(rounds=rounds, steps=steps, clients=clients))


def metrics(out):
    with open(out + "/metrics.csv", encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    assert not rows or list(rows[0]) == COLUMNS, rows[0]
    return rows


def weights(out):
    """The tensors' bytes: the header before them is signed by new keys."""
    with open(out + "/model.safetensors", "rb") as f:
        whole = f.read()
    return whole[8 + int.from_bytes(whole[:8], "little"):]


def worked(popen, seconds):
    """Whether a process has computed for so long, on however busy a machine."""
    with open(f"/proc/{popen.pid}/stat", encoding="utf-8") as f:
        words = f.read().rpartition(")")[2].split()
    ticks = int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK") > seconds


def case_a_run_writes_metrics_model_and_report():
    with folder() as here:
        out = here + "/results/here"
        done = sim("run", plan(here), "-o", out).exits(0)
        done.prints("plan trial", "seed 5", "20 clients", "5 rounds", out,
                    "epsilon is not bounded")
        done.says("seed 5", "estimate")
        assert [re.sub(r"\d{9,}", "N", f) for f in sorted(os.listdir(out))] == [
            "events.out.tfevents.N.tacit", "metrics.csv", "metrics.jsonl",
            "metrics.sqlite", "model.safetensors", "report.html", "run.json"]
        rows = metrics(out)
        assert [r["round"] for r in rows] == list("12345"), rows
        for r in rows:
            assert 4 <= int(r["inputs"]) <= 8 and int(r["attempts"]) >= 1, r
            assert 0 < float(r["loss_after"]) < 2, r
            assert 0 <= float(r["pooled_metric"]) <= 1, r
        clock = [int(r["virtual_ms"]) for r in rows]
        assert clock == sorted(clock), clock
        assert float(rows[-1]["pooled_loss"]) < float(rows[0]["loss_before"])
        assert len(weights(out)) == 4 * (1 + 3 + 1 + 1)
        with open(out + "/report.html", encoding="utf-8") as f:
            page = f.read()
        assert page.count("<svg") == page.count("</svg>") >= 4, page
        assert "epsilon is not bounded" in page
        for word in ("http", "src=", "href", "<script", "nan"):
            assert word not in page, word


def case_the_same_plan_gives_the_same_bits_on_any_number_of_threads():
    with folder() as here:
        seen = set()
        for threads in (1, 2, 4, 1):
            out = f"{here}/{threads}"
            sim("run", plan(here), "-o", out, "-t", threads, "-q").exits(0)
            for r in (rows := metrics(out)):
                del r["wall_ms"]
            seen.add((weights(out), str(rows)))
        assert len(seen) == 1, f"{len(seen)} different results"


def case_a_page_is_made_again_from_what_a_run_left():
    with folder() as here:
        out, page = here + "/o", here + "/o/report.html"
        sim("run", plan(here), "-o", out, "-q").exits(0)
        with open(page, "rb") as f:
            first = f.read()
        os.remove(page)
        assert page in sim("report", out).exits(0).out
        with open(page, "rb") as f:
            assert f.read() == first
        # A killed run has lines, and a last one that may be cut.
        os.rename(out + "/metrics.jsonl", out + "/metrics.jsonl.part")
        os.truncate(out + "/metrics.jsonl.part",
                    os.path.getsize(out + "/metrics.jsonl.part") - 9)
        sim("report", out).exits(0)
        with open(page, "rb") as f:
            assert f.read() != first
        os.truncate(out + "/metrics.jsonl.part", 0)
        sim("report", out).exits(1).says("no finished round", "E0010")
        sim("report", here).exits(1).says("run.json", "rounds.json",
                                          "tacit-sim compare", "E0010")


def case_a_strategy_of_own_models_tells_of_them():
    with folder() as here:
        said = sim("run", plan(here), "-o", here + "/o", "-q", "--set",
                   "strategy={kind: finetune}").exits(0).out
        own = re.search(r"devices' own models: accuracy ([0-9.]+)\n", said)
        last = metrics(here + "/o")[-1]
        assert own and abs(float(own.group(1)) - float(last["personal"])) < 1e-3
        said = sim("run", plan(here), "-o", here + "/o", "-q").exits(0).out
        assert "own models" not in said, said


def case_json_is_one_envelope():
    with folder() as here:
        done = sim("run", plan(here), "-o", here + "/o", "--json").exits(0)
        data = done.data
        assert (data["clients"], data["rounds"], data["seed"]) == (20, 5, 5)
        last = metrics(here + "/o")[-1]
        assert abs(data["metric"] - float(last["pooled_metric"])) < 1e-8, data
        assert done.err == "", done


def case_ctrl_c_keeps_the_rounds_that_were_finished():
    with folder() as here:
        out = here + "/o"
        p = begin("tacit-sim", "run", plan(here, rounds=20000), "-o", out,
                  "--json")
        until(lambda: worked(p, .5), 60, "it does not start")
        done = finish(p, signal.SIGINT).exits(130)
        rows = metrics(out)
        assert 0 < len(rows) < 20000, len(rows)
        assert weights(out) and os.path.exists(out + "/report.html")
        said = re.search(r"stopped after round (\d+) of 20000; --resume",
                         done.out)
        assert said and int(said.group(1)) == len(rows), done
        assert os.path.exists(out + "/checkpoint")


def case_a_killed_run_goes_on_to_the_same_bits():
    with folder() as here:
        whole, cut = here + "/whole", here + "/cut"
        words = ("run", plan(here, rounds=300),
                 "--set", "strategy.kind=fedbuff", "--set",
                 "sim.protocol=sum", "--set", "sim.checkpoint_every=7")
        sim(*words, "-o", whole, "-q").exits(0)
        p = begin("tacit-sim", *words, "-o", cut, "-q")
        until(lambda: os.path.exists(cut + "/checkpoint"), 60, "no checkpoint")
        finish(p, signal.SIGKILL).exits(-signal.SIGKILL)
        other = sim(*words[:-1], "sim.checkpoint_every=8", "-o", cut,
                    "--resume")
        other.exits(1).says("checkpoint: of another plan", "E0612")
        sim(*words, "-o", cut, "-q", "-t", 1, "--resume").exits(0)
        assert weights(whole) == weights(cut)
        for a, b in zip(metrics(whole), metrics(cut), strict=True):
            del a["wall_ms"], b["wall_ms"]
            assert a == b, (a, b)
        assert not os.path.exists(cut + "/checkpoint")
        sim(*words, "-o", cut, "--resume").exits(1).says(
            "there is none", "leave --resume away")


def case_a_stop_does_not_wait_for_a_long_round():
    """A round of hours: 200,000 steps for each of eight clients."""
    with folder() as here:
        out = here + "/o"
        p = begin("tacit-sim", "run", plan(here, steps=200000), "-o", out)
        until(lambda: worked(p, .3), 60, "it does not start")
        start = time.monotonic()
        done = finish(p, signal.SIGTERM, timeout=60).exits(130)
        done.says("stopped after round", "E0014")
        print(f"  stopped in {time.monotonic() - start:.1f} s")
        assert metrics(out) == [] or int(metrics(out)[-1]["round"]) < 5


def case_what_will_not_do_is_said_and_writes_nothing():
    with folder() as here:
        out = ["-o", here + "/o"]
        sim("run", here + "/none.yaml", *out).exits(1).says("none.yaml")
        bad = write(here + "/bad.yaml", PLAN.format(rounds=0, steps=1,
                                                    clients=20))
        sim("run", bad, *out).exits(1).says("bad.yaml:10", "rounds is 0")
        few = sim("run", plan(here), "-c", "3", *out).exits(1)
        few.says("sim.clients is 3", "cohort.size 6")
        sim("run", plan(here), "-c", "1", *out).exits(4).says("--clients")
        sim("run", plan(here), "-t", "65", *out).exits(4).says("--threads")
        write(here + "/data/a.csv", "age,cp,thalach,disease\n1,2,3,1\n")
        sim("run", plan(here), "-d", here + "/data", *out).exits(1).says(
            "1 clients found")
        write(here + "/data/b.csv", "age,cp,thalach,disease\n1,x,3,1\n")
        sim("run", plan(here), "-d", here + "/data", *out).exits(1).says(
            "b.csv:2")
        assert not os.path.exists(here + "/o")


def case_own_tables_can_be_simulated():
    with folder() as here:
        for site in ("northgate", "harbour", "lakeside", "hillcrest"):
            rows = sim("patients", site, "-n", "60").exits(0).out
            write(f"{here}/data/{site}.csv", rows)
        done = sim("run", plan(here), "-d", here + "/data", "-o", here + "/o",
                   "--json").exits(0)
        assert done.data["clients"] == 4, done


def case_a_new_plan_runs_as_it_is():
    with folder() as here:
        done = sim("new", "first", cwd=here).exits(0).prints("first.yaml")
        sim("run", "first.yaml", "-q", cwd=here).exits(0)
        assert sorted(os.listdir(here)) == ["first.yaml", "sim-out"], done
        sim("new", "first", cwd=here).exits(1).says("first.yaml exists")
        rows = metrics(here + "/sim-out")
        assert len(rows) == 30 and float(rows[-1]["pooled_metric"]) > .75, rows


def case_a_full_disk_is_an_error():
    with folder() as here:
        write(here + "/o", "a file where the folder goes")
        sim("run", plan(here), "-o", here + "/o").exits(1).says(here + "/o")
        argv = [os.path.join(os.path.abspath(cases.BIN), "tacit-sim"), "run",
                plan(here), "-o", here + "/p"]
        done = subprocess.run(
            ["bash", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "-",
             *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            check=False)
        assert done.returncode == 1 and b"run.json" in done.stderr, done


if __name__ == "__main__":
    cases.run(globals())
