#!/usr/bin/env python3
"""How fast the simulator is, alone and beside Flower and PyTorch.

    sim_lr_sum_s, sim_lr_full_s   1,000 clients, softmax 784 x 10, 100 rounds
    sim_vs_flower                 the same work in Flower 1.27
    sim_lr_vs_torch               10 clients x 60 rows: a plain PyTorch loop
    sim_cnn_vs_torch              LeNet, 10 clients x 600 images
    sim_rss_mib                   10,000 clients, 1,000 a round, 2^16 weights
    sim_scaling                   threads, and MPI ranks against threads

Peers get the bytes that `tacit-sim data` writes. They are installed under
build/ by name from PyPI, or taken from the Python that TACIT_PEER_PYTHON names;
where that fails a line has "peer": null, and stderr says why.
"""
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

BUILD = os.environ.get("TACIT_BUILD", "build/release")
SIM = f"{BUILD}/bin/tacit-sim"
MPI = f"{BUILD}/bin/tacit-sim-mpi"
HERE = os.path.dirname(os.path.abspath(__file__))
REPEATS = 5
LR = """name: bench-lr
task: classify
model: {kind: softmax, classes: 10}
data: {source: digits, format: images, holdout: 0.142857}
rounds: 100
cohort: {size: 10, min_reports: 10, over_select: 1.0}
local: {epochs: 1, batch: 10, optimizer: sgd, learning_rate: 0.03}
clip: 100
sim: {clients: 1000, rows: 70, evaluate_every: 10, protocol: sum}
"""
CNN = """name: bench-cnn
task: classify
model: {kind: cnn, hidden: [6, 16, 120, 84]}
data: {source: digits, format: images, holdout: 0.142857}
rounds: 6
cohort: {size: 10, min_reports: 10, over_select: 1.0}
local: {epochs: 1, batch: 10, optimizer: sgd, learning_rate: 0.03}
clip: 100
sim: {clients: 10, rows: 700, evaluate_every: 1000, protocol: sum}
"""
# 64 x 896 + 896 x 8 and both biases: 65,416 weights.
MLP = """name: bench-mlp
task: classify
model: {kind: mlp, hidden: [896], classes: 8}
data: {source: rows, format: vectors, width: 64}
rounds: 3
cohort: {size: 1000, min_reports: 1000, over_select: 1.0}
local: {epochs: 1, batch: 10, optimizer: sgd, learning_rate: 0.03}
clip: 100
sim: {clients: 10000, rows: 20, evaluate_every: 3, protocol: sum}
"""


def say(text):
    print(f"bench_sim: {text}", file=sys.stderr, flush=True)


def line(bench, case, value, unit, limit=None, peer=None, ratio=None,
         peer_value=None, **more):
    load = os.getloadavg()[0]
    print(json.dumps({"bench": bench, "case": case, "value": round(value, 4),
                      "unit": unit, "peer": peer, "peer_value": peer_value,
                      "ratio": ratio and round(ratio, 3), "limit": limit,
                      "load": round(load, 2), **more}), flush=True)


# ---- ours ------------------------------------------------------------------

def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def run(folder, plan, *options, program=None):
    """One run: the seconds of the whole process, of its rounds, and run.json.
    """
    out = os.path.join(folder, "out")
    shutil.rmtree(out, ignore_errors=True)
    words = [*(program or [SIM]), "run", plan, "--json", "-o", out, *options]
    begin = os.times().elapsed
    got = subprocess.run(words, capture_output=True, text=True, timeout=600,
                         check=False)
    seconds = os.times().elapsed - begin
    if got.returncode:
        raise RuntimeError(got.stderr)
    told = json.loads(got.stdout)
    with open(f"{out}/run.json", encoding="utf-8") as f:
        return seconds, told["data"]["seconds"], json.load(f)


def rounds_ms(folder):
    """Times of the rounds but the first, which warms up."""
    with open(f"{folder}/out/metrics.jsonl", encoding="utf-8") as f:
        return [json.loads(x)["wall_ms"] for x in f][1:]


def learn(folder, plan, *options, repeats=REPEATS):
    """Medians: whole process, rounds alone; and the accuracy."""
    whole, alone = [], []
    for _ in range(repeats):
        seconds, rounds, got = run(folder, plan, *options)
        whole.append(seconds)
        alone.append(rounds)
    return (statistics.median(whole), statistics.median(alone),
            got["summary"]["metric"])


# ---- peers -----------------------------------------------------------------

def peer_python(name, *packages):
    """A Python that can import name, or None."""
    given = os.environ.get("TACIT_PEER_PYTHON")
    home = os.path.abspath(f"build/peer-{name}")
    python = given or f"{home}/bin/python"
    try:
        if not given and not os.path.exists(f"{home}/ready"):
            say(f"installing {' '.join(packages)} in {home}")
            subprocess.run([sys.executable, "-m", "venv", home], check=True,
                           stdout=sys.stderr)
            subprocess.run([python, "-m", "pip", "install", "-q", *packages],
                           check=True, stdout=sys.stderr, timeout=900)
            with open(f"{home}/ready", "w", encoding="ascii"):
                pass
        subprocess.run([python, "-c", f"import numpy, {name}"], check=True,
                       capture_output=True, timeout=120)
        return python
    except (OSError, subprocess.SubprocessError) as e:
        say(f"no {name}: {e}")
        return None


def peer(python, script, *words, timeout=600):
    """The last line of JSON that it prints, or None."""
    words = [python, f"{HERE}/{script}", *map(str, words)]
    try:
        got = subprocess.run(words, capture_output=True, text=True,
                             timeout=timeout, check=True)
        return json.loads(got.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as e:
        say(f"{script}: {e}")
        return None


def deal(folder, plan):
    out = os.path.join(folder, "data")
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run([SIM, "data", plan, "-q", "-o", out], check=True,
                   stdout=subprocess.DEVNULL)
    return out


# ---- benchmarks ------------------------------------------------------------

def bench_lr(folder, protocol, limit):
    plan = write(folder, "lr.yaml", LR)
    whole, alone, metric = learn(folder, plan, "--set",
                                 f"sim.protocol={protocol}", repeats=3)
    bench = f"sim_lr_{protocol}_s"
    line(bench, "whole process, 70,000 pictures drawn", whole, "s", limit,
         accuracy=round(metric, 4))
    line(bench, "100 rounds", alone, "s", limit, accuracy=round(metric, 4))


def bench_flower(folder):
    plan = write(folder, "lr.yaml", LR)
    python = peer_python("flwr", "flwr==1.27.0", "numpy")
    data = deal(folder, plan)
    theirs = []
    ours = []
    for _ in range(3):  # in turn: both meet the same load
        ours.append(learn(folder, plan, repeats=1))
        got = python and peer(python, "peer_flower.py", "grpc", data, 100, 10,
                              1, 10, 0.03, 10)
        if got:
            theirs.append(got)
    whole, alone, metric = (statistics.median(x) for x in zip(*ours))
    if not theirs:
        line("sim_vs_flower", "100 rounds", alone, "s")
        return
    pick = {k: statistics.median(t[k] for t in theirs) for k in theirs[0]}
    if abs(pick["accuracy"] - metric) > 0.005:
        raise RuntimeError(f"accuracy {metric} and {pick['accuracy']}")
    extra = {"accuracy": round(metric, 4),
             "peer_accuracy": round(pick["accuracy"], 4)}
    name = "Flower 1.27, gRPC, 10 processes"
    line("sim_vs_flower", "100 rounds", alone, "s", None, name,
         pick["rounds_s"] / alone, pick["rounds_s"], **extra)
    line("sim_vs_flower", "whole: ours draws the data, Flower's are files",
         whole, "s", None, name, pick["whole_s"] / whole, pick["whole_s"],
         **extra)


def bench_torch(folder, kind):
    bench = "sim_lr_vs_torch" if kind == "softmax" else "sim_cnn_vs_torch"
    plan = write(folder, f"{kind}.yaml", LR if kind == "softmax" else CNN)
    rounds, images = (1000, 600) if kind == "softmax" else (4, 6000)
    python = peer_python("torch", "torch", "numpy")
    data = deal(folder, plan)
    ours = {1: [], 2: []}
    theirs = []
    for turn in (1, 2):  # in turn: both meet the same load
        for threads, list_of in ours.items():
            _, wall, _ = run(folder, plan, "--threads", str(threads),
                             "--rounds", str(rounds), "--set",
                             "sim.evaluate_every=100000")
            list_of.append(rounds * images / wall)
        got = python and peer(python, "peer_torch.py", kind, data, 10, 10,
                              0.03, turn, rounds // 10 or 2)
        if got:
            theirs.append(got["images_per_s"])
    other = max(theirs, default=None)
    for threads, list_of in ours.items():
        value = statistics.median(list_of)
        line(bench, f"{threads} thread{'s' * (threads > 1)}, whole rounds",
             value, "images/s", None, other and "PyTorch, the better of 1 and "
             "2 threads", other and value / other, other and round(other, 1))


def bench_rss(folder):
    plan = write(folder, "mlp.yaml", MLP)
    run(folder, plan)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    line("sim_rss_mib", "10,000 clients, 1,000 a round, 65,416 weights", peak,
         "MiB", 512)


def bench_scaling(folder):
    plan = write(folder, "cnn.yaml", CNN)
    ratios, ranks = [], []
    for _ in range(REPEATS):
        times = []
        for threads in ("1", "2"):
            run(folder, plan, "--threads", threads)
            times.append(statistics.median(rounds_ms(folder)))
        ratios.append(times[0] / times[1])
        if os.path.exists(MPI):
            run(folder, plan, "--threads", "1",
                program=["mpirun", "--allow-run-as-root", "--oversubscribe",
                         "-n", "2", MPI])
            ranks.append(statistics.median(rounds_ms(folder)) / times[1] - 1)
    line("sim_scaling", "2 threads over 1, LeNet", statistics.median(ratios),
         "x", 1.8)
    if ranks:
        line("sim_scaling", "2 MPI ranks over 2 threads",
             100 * statistics.median(ranks), "% longer", 10)
    else:
        say("no tacit-sim-mpi: built where OpenMPI is installed")


BENCHES = {
    "sim_lr_sum_s": lambda f: bench_lr(f, "sum", 2),
    "sim_lr_full_s": lambda f: bench_lr(f, "full", 6),
    "sim_vs_flower": bench_flower,
    "sim_lr_vs_torch": lambda f: bench_torch(f, "softmax"),
    "sim_cnn_vs_torch": lambda f: bench_torch(f, "cnn"),
    "sim_rss_mib": bench_rss,
    "sim_scaling": bench_scaling,
}


def main():
    names = sys.argv[1:] or list(BENCHES)
    failed = 0
    for name in names:
        if name not in BENCHES:
            continue
        # Memory is of the largest child so far: each in a process of its own.
        if len(names) > 1:
            failed |= subprocess.run([sys.executable, __file__, name],
                                     check=False).returncode
            continue
        with tempfile.TemporaryDirectory(prefix="tacit-bench-") as folder:
            BENCHES[name](folder)
    return failed


if __name__ == "__main__":
    sys.exit(main())
