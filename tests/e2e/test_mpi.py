#!/usr/bin/env python3
"""tacit-sim-mpi: the same bits on any number of processes, and a process that
is lost or stuck ends the run soon, with a checkpoint that goes on to them.
"""
import csv
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import Done, Skip, finish, folder, sim, until, write  # noqa: E402

BIN = os.path.abspath(cases.BIN)
MPI = BIN + "/tacit-sim-mpi"
PLAN = """name: trial
task: classify
model: {{kind: mlp, hidden: [16]}}
data:
  source: patients
  label: disease
  columns: [{{name: age}}, {{name: thalach}},
            {{name: cp, values: [1, 2, 3, 4]}}]
  standardise: site
rounds: {rounds}
cohort: {{size: 9, min_reports: 5, over_select: 1.2}}
local: {{steps: {steps}, batch: 16, learning_rate: 0.1}}
strategy: {{kind: {strategy}}}
seed: 5
secagg: {{mode: {mode}}}
sim: {{clients: 30, rows: 30, dropout: 0.1, protocol: {protocol},
       selection: oort, evaluate_every: 3, checkpoint_every: 4}}
"""


def plan(here, rounds=12, steps=10, strategy="fedavg", mode="on",
         protocol="sum"):
    return write(f"{here}/trial.yaml", PLAN.format(
        rounds=rounds, steps=steps, strategy=strategy, mode=mode,
        protocol=protocol))


def begin(n, *words):
    """n processes under one mpirun."""
    if not os.path.exists(MPI) or not shutil.which("mpirun"):
        raise Skip("OpenMPI is not here: make deps-mpi")
    argv = ["mpirun", "--oversubscribe", "--allow-run-as-root", "-n", n, MPI,
            *words]
    env = {**os.environ, "OMPI_MCA_rmaps_base_oversubscribe": "1",
           "OMPI_MCA_btl": "self,vader",
           # How long those that are left may take to say what was lost.
           "OMPI_MCA_odls_base_sigkill_timeout": "3"}
    return subprocess.Popen(list(map(str, argv)), env=env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def run(n, *words) -> Done:
    return finish(begin(n, *words), timeout=120)


def process(mpirun, rank):
    """The pid of one of its processes."""
    found = []
    children = f"/proc/{mpirun.pid}/task/{mpirun.pid}/children"
    with open(children, encoding="utf-8") as f:
        for pid in f.read().split():
            with open(f"/proc/{pid}/environ", "rb") as e:
                if f"OMPI_COMM_WORLD_RANK={rank}".encode() in \
                        e.read().split(b"\0"):
                    found.append(int(pid))
    assert len(found) == 1, found
    return found[0]


def ended(pid):
    """Gone, or nobody has asked for its status yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def result(out):
    """The weights, and every figure but the wall time."""
    with open(out + "/model.safetensors", "rb") as f:
        whole = f.read()
    with open(out + "/metrics.csv", encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    for r in rows:
        del r["wall_ms"]
    return whole[8 + int.from_bytes(whole[:8], "little"):], rows


def case_1_2_and_4_processes_give_the_same_bits():
    kinds = [("fedavg", "on"), ("scaffold", "on"),
             ("fedbuff", "on"), ("median", "off")]
    for kind, mode in kinds:
        with folder() as here:
            text = plan(here, strategy=kind, mode=mode)
            sim("run", text, "-o", here + "/0", "-q").exits(0)
            want = result(here + "/0")
            assert len(want[1]) == 12
            for n in (1, 2, 4):
                done = run(n, text, "-o", f"{here}/{n}").exits(0)
                assert result(f"{here}/{n}") == want, (kind, n)
                assert done.out.count("plan trial") == 1, done


def lines(path):
    try:
        with open(path, "rb") as f:
            return f.read().count(b"\n")
    except OSError:
        return 0


def first_rounds(text, out, *words):
    """The figures of at least 12 rounds of a run that is stopped then, some of
    which it made itself, for what was begun before may have as many."""
    part = out + "/metrics.jsonl.part"
    enough = max(12, lines(part) + 1)
    p = begin(1, text, "-o", out, "-q", *words)
    until(lambda: lines(part) >= enough or p.poll() is not None, 60,
          "it does not go on")
    finish(p, signal.SIGTERM)
    rows = result(out)[1]
    assert len(rows) >= 12, rows
    return rows


def lose(n, rank, how, *words):
    """Strike one process of a run of hours, then go on: the figures are those
    of a run that was never struck."""
    with folder() as here:
        out = here + "/o"
        text = plan(here, rounds=100000, steps=400, strategy="scaffold")
        p = begin(n, text, "-o", out, "-q", *words)
        until(lambda: os.path.exists(out + "/checkpoint") or
              p.poll() is not None, 60, "no checkpoint")
        pids = [process(p, i) for i in range(n)]
        start = time.monotonic()
        os.kill(pids[rank], how)
        done = finish(p, timeout=60)
        print(f"  ended after {time.monotonic() - start:.1f} s")
        assert done.status != 0, done
        done.says("--resume goes on from " + out + "/checkpoint")
        until(lambda: all(map(ended, pids)), 10, "a process is left")
        after = first_rounds(text, out, "--resume")
        never = first_rounds(text, here + "/never")
        both = min(len(after), len(never))
        assert after[:both] == never[:both]
        return done


def case_a_killed_process_ends_the_run_with_a_checkpoint():
    lose(2, 1, signal.SIGKILL).says("stopped while another process", "E0613",
                                    "process rank 1")


def case_so_does_the_first_one():
    lose(3, 0, signal.SIGKILL).says("stopped while another process",
                                    "process rank 0")


def case_a_stuck_process_is_given_up():
    lose(3, 1, signal.SIGSTOP, "--peer-limit", "1s").says(
        "did not answer for 1 s (--peer-limit)", "E0613")


def case_a_stop_is_one_for_all():
    with folder() as here:
        out = here + "/o"
        text = plan(here, rounds=100000, steps=400)
        p = begin(2, text, "-o", out, "--json")
        until(lambda: os.path.exists(out + "/checkpoint"), 60, "no checkpoint")
        os.kill(process(p, 1), signal.SIGTERM)
        done = finish(p, timeout=60)
        assert done.status == 130, done
        assert done.code == "TACIT-E0014", done
        assert "stopped after round" in done.out, done
        assert len(result(out)[1]) >= 4


def case_what_will_not_do_is_said_once():
    with folder() as here:
        text = plan(here, protocol="full")
        done = run(2, text, "-o", here + "/o")
        assert done.status == 1, done
        assert done.err.count("--set sim.protocol=sum") == 1, done
        done = run(2, "run", here + "/none.yaml")
        assert done.status == 1 and done.err.count("none.yaml: ") == 1, done
        assert not os.path.exists(here + "/o")
        # One that is alone may.
        run(1, text, "-o", here + "/o", "-q").exits(0)
        # What is no run is done once.
        done = run(2, "new", here + "/fresh").exits(0)
        assert done.out.count("fresh.yaml") == 1, done


if __name__ == "__main__":
    cases.run(globals())
