#!/usr/bin/env python3
"""Published results, reproduced: published, ours, difference.

    tables.py [heart] [synthetic] [digits] [robust]     (all)

heart      Fed-Heart-Disease (FLamby, NeurIPS 2022 datasets track): nine
           methods, 40 seeds, and FedAvg with local fine-tuning
synthetic  FedProx's synthetic(a, b) with 0, 50 and 90 % stragglers
digits     label skew: IID, 1, 2, 3 labels per client, Dirichlet(0.5)
robust     every robust rule under every attack; also sims/robust.svg

Everything runs in `tacit-sim` with `protocol: sum`. Tables go to stdout, what
goes on to stderr. Exits 1 when an expectation does not hold.
"""
import concurrent.futures
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("TACIT_BUILD", "build/release")
SIM = os.path.abspath(f"{BUILD}/bin/tacit-sim")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
SEEDS = int(os.environ.get("TACIT_TABLE_SEEDS", "40"))
JOBS = os.cpu_count() or 1
START = time.monotonic()
failures = []


def say(text):
    print(f"[{time.monotonic() - START:5.0f} s] {text}", file=sys.stderr,
          flush=True)


def expect(holds, what):
    print(f"  {'holds' if holds else 'FAILS'}: {what}", flush=True)
    if not holds:
        failures.append(what)


def simulate(folder, name, plan, data=None, may_diverge=False, **sets):
    """Runs a plan; its run.json, with every round's row and the model. Where a
    loss may stop being a number, `diverged` is the round, else 0."""
    out = os.path.join(folder, name)
    path = f"{out}.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write(plan)
    words = [SIM, "run", path, "-q", "-o", out, "-t", "1"]
    words += ["-d", data] if data else []
    for key, value in sets.items():
        words += ["--set", f"{key.replace('__', '.')}={value}"]
    got = subprocess.run(words, capture_output=True, text=True, check=False,
                         timeout=1800)
    nan = re.search(r"before round (\d+): .*E0701", got.stderr)
    if got.returncode and not (nan and may_diverge):
        raise RuntimeError(f"{name}: {got.stderr}")
    with open(f"{out}/run.json", encoding="utf-8") as f:
        run = json.load(f)
    run["diverged"] = int(nan.group(1)) if nan else 0
    with open(f"{out}/metrics.jsonl", encoding="utf-8") as f:
        run["rows"] = [json.loads(line) for line in f]
    with open(f"{out}/model.safetensors", "rb") as f:
        run["model"] = f.read()
    shutil.rmtree(out)
    return run


def in_parallel(jobs):
    """{key: function} -> {key: result}, as many at once as there are cores."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        running = {key: pool.submit(job) for key, job in jobs.items()}
        return {key: job.result() for key, job in running.items()}


# ---- Fed-Heart-Disease -----------------------------------------------------

CENTRES = ["cleveland", "hungarian", "switzerland", "va"]
# FLamby's five result files (seeds 42 to 46): mean and sd per centre, then of
# the mean of the four.
ADAPTIVE = [(.760, .016), (.753, .016), (.738, .025), (.676, .036),
            (.731, .011)]
UNDERTRAINED = [(.731, .019), (.719, .029), (.650, .102), (.640, .045),
                (.685, .025)]
HEART = {
    "FedAvg": (UNDERTRAINED, "fedavg", "0.001"),
    "FedProx": (UNDERTRAINED, "fedprox, mu: 0.01", "0.001"),
    "SCAFFOLD": ([(.727, .017)] + UNDERTRAINED[1:4] + [(.684, .025)],
                 "scaffold", "0.001"),
    "FedAdam": ([(.752, .015), (.746, .017), (.738, .025), (.667, .040),
                 (.726, .012)],
                "fedadam, server_learning_rate: 0.01, beta1: 0.9, "
                "beta2: 0.999, tau: 1.0e-8", "0.01"),
    "FedYogi": (ADAPTIVE, "fedyogi, server_learning_rate: 0.01, beta1: 0.9, "
                "beta2: 0.999, tau: 1.0e-8", "0.003162"),
    "FedAdagrad": (ADAPTIVE, "fedadagrad, server_learning_rate: 0.316228, "
                   "beta1: 0.9, tau: 1.0e-8", "0.003162"),
}
CYCLIC = [(.758, .013), (.762, .013), (.713, .085), (.640, .017), (.718, .026)]
POOLED = [(.783, .010), (.764, .000), (.750, .000), (.644, .000), (.735, .002)]
# A model of one centre alone, tested at each. Five seeds tell little here: run
# in PyTorch, FLamby's program gives these figures to the last digit for its own
# five, and the last column (the mean of the four) for seeds 42 to 81.
LOCAL = {
    "Local 0": ([(.746, .014), (.760, .006), (.725, .064), (.658, .018),
                 (.722, .019)], .717),
    "Local 1": ([(.746, .013), (.746, .006), (.525, .064), (.498, .011),
                 (.629, .015)], .629),
    "Local 2": ([(.481, .049), (.391, .037), (.725, .109), (.671, .057),
                 (.567, .052)], .602),
    "Local 3": ([(.577, .028), (.467, .011), (.800, .073), (.702, .046),
                 (.637, .034)], .643)}
# FLamby's FedAvg with and without 100 steps at each centre afterwards, both at
# a rate of 0.00316: mean of the four, five seeds.
PERSONAL_RATE = "0.00316227"
PERSONAL_BEFORE, PERSONAL = (.718, .014), (.735, .008)
HEART_PLAN = """name: heart
task: classify
model: {{kind: logistic}}
data:
  source: patients
  label: num
  columns: [{{name: age}}, {{name: sex}}, {{name: cp, values: [1, 2, 3, 4]}},
    {{name: trestbps}}, {{name: chol}}, {{name: fbs}},
    {{name: restecg, values: [0, 1, 2]}}, {{name: thalach}},
    {{name: exang}}, {{name: oldpeak}}]
  standardise: site
rounds: {rounds}
cohort: {{size: {size}, min_reports: {size}, over_select: 1.0}}
strategy: {{kind: {strategy}}}
local: {{{local}, batch: 4, learning_rate: {rate}}}
weighting: {{by: examples, cap: 1000}}
clip: 100
secagg: {{mode: {secagg}}}
seed: {seed}
sim: {{clients: {clients}, partition: column, column: centre, protocol: sum,
  selection: {selection}}}
"""
COLUMNS = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach",
           "exang", "oldpeak", "num"]


def heart_plan(strategy, rate, seed, rounds=15, local="steps: 100", size=4,
               clients=4, selection="uniform"):
    return HEART_PLAN.format(strategy=strategy, rate=rate, seed=seed,
                             rounds=rounds, local=local, size=size,
                             clients=clients, selection=selection,
                             secagg="on" if size > 1 else "off")


def heart_rows():
    """[(values and label, is test)] per centre, prepared as FLamby does."""
    tests, sites = {}, []
    with open(f"{DATA}/heart/split_test_indices.txt", encoding="utf-8") as f:
        for line in f:
            words = line.split()
            tests[words[0]] = {int(w) for w in words[1:]}
    for centre in CENTRES:
        path = f"{DATA}/heart/processed.{centre}.data"
        with open(path, encoding="utf-8") as f:
            rows = [line.strip().split(",") for line in f if line.strip()]
        rows = [r[:10] + r[13:] for r in rows]
        rows = [[float(v) for v in r] for r in rows if "?" not in r]
        sites.append([(r, i in tests[centre]) for i, r in enumerate(rows)])
    return sites


def heart_csv(path, sites, names, keep=lambda i, row, is_test, name: is_test):
    """Rows as a table; keep says of a row whether it is a test row, a train row
    or (None) left out."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(",".join([*COLUMNS, "centre", "split"]) + "\n")
        for site, name in zip(sites, names):
            for i, (row, is_test) in enumerate(site):
                held = keep(i, row, is_test, name)
                if held is None:
                    continue
                cells = [f"{v:g}" for v in row]
                f.write(",".join(cells + [name, "test" if held else "train"])
                        + "\n")
    return path


def inputs(row):
    """One-hot without the first level, in the order of the columns."""
    x = []
    for name, v in zip(COLUMNS, row):
        levels = {"cp": [2, 3, 4], "restecg": [1, 2]}.get(name)
        x += [float(v == k) for k in levels] if levels else [v]
    return x[:13]


def standardised(fit, rows):
    """rows with mean and unbiased sd of fit."""
    columns = list(zip(*fit))
    mean = [statistics.fmean(c) for c in columns]
    sd = [statistics.stdev(c) for c in columns]
    return [[(v - m) / (s + 1e-9) if s else 0.0
             for v, m, s in zip(r, mean, sd)] for r in rows]


def weights(model):
    """w [13] and b of a logistic model's safetensors."""
    n = struct.unpack("<Q", model[:8])[0]
    head = json.loads(model[8:8 + n])
    parts = {}
    for name, x in head.items():
        if name != "__metadata__":
            a, b = x["data_offsets"]
            raw = model[8 + n + a:8 + n + b]
            parts[len(raw) // 4] = struct.unpack(f"<{len(raw) // 4}f", raw)
    return parts[13], parts[1][0]


def heart_tests(sites):
    """Per centre its test rows, ready for a model, and their labels."""
    out = []
    for site in sites:
        fit = [inputs(r) for r, t in site if not t]
        test = [r for r, t in site if t]
        out.append((standardised(fit, [inputs(r) for r in test]),
                    [r[-1] != 0 for r in test]))
    return out


def accuracies(model, tests):
    w, b = weights(model)
    out = []
    for x, y in tests:
        right = sum((sum(a * v for a, v in zip(w, row)) + b > 0) == label
                    for row, label in zip(x, y))
        out.append(right / len(y))
    return out


def heart_line(name, published, got):
    """got: [per seed][4 centres]. Whether every mean is within one published sd
    or 0.03, whichever is more."""
    within = True
    got = [[*g, statistics.fmean(g)] for g in got]
    cells = []
    for (mean, sd), ours in zip(published, map(statistics.fmean, zip(*got))):
        beyond = abs(ours - mean) > max(sd, 0.03)
        within &= not beyond
        cells.append(f"{mean:.3f} {ours:.3f} {ours - mean:+.3f}"
                     f"{'!' if beyond else ' '}")
    print(f"  {name:20}" + "  ".join(cells), flush=True)
    return within


def heart_head():
    names = "  ".join(f"{c:>19}" for c in [*CENTRES, "mean of four"])
    print(f"  {'':14}{names}\n  {'':20}" +
          "  ".join(["published ours diff "] * 5))


def heart_methods(folder, csv, sites):
    tests = heart_tests(sites)
    jobs = {}
    for name, (_, strategy, rate) in HEART.items():
        for seed in range(42, 42 + SEEDS):
            jobs[name, seed] = lambda a=(strategy, rate, seed): simulate(
                folder, f"h-{a[0][:6]}-{a[2]}", heart_plan(*a), csv)
    # FLamby's Cyclic, as its program is: each centre's copy of the model is
    # trained when it is that centre's turn, 4 times in 15 rounds, and handed
    # to nobody; the first centre's copy is measured. Cyclic transfer as it is
    # described stands below it, and is not expected to match.
    first = heart_csv(f"{folder}/first.csv", sites[:1], ["one"])
    for seed in range(42, 42 + SEEDS):
        jobs["Cyclic", seed] = lambda s=seed: simulate(
            folder, f"h-copy-{s}", heart_plan(
                "fedavg", "0.01", s, rounds=4, size=1, clients=1), first)
        jobs["transferred", seed] = lambda s=seed: simulate(
            folder, f"h-cyclic-{s}", heart_plan(
                "fedavg", "0.01", s, size=1, selection="cyclic"), csv)
    runs = in_parallel(jobs)
    heart_head()
    for name in [*HEART, "Cyclic"]:
        published = HEART[name][0] if name in HEART else CYCLIC
        got = [accuracies(runs[name, s]["model"], tests)
               for s in range(42, 42 + SEEDS)]
        expect(heart_line(name, published, got),
               f"{name} within one published sd or 0.03")
    heart_line("Cyclic, handed on", CYCLIC,
               [accuracies(runs["transferred", s]["model"], tests)
                for s in range(42, 42 + SEEDS)])
    print("  FLamby's program hands no model on: \"Cyclic\" is one centre's "
          "model after 400 steps,\n  and so is ours in that line; the line "
          "below it is the method, for which there is no published figure")


def heart_alone(folder, sites):
    """Local: each centre by itself. Pooled: all rows at one place."""
    jobs, files = {}, {}
    cases = {f"Local {i}": [site] for i, site in enumerate(sites)}
    cases["Pooled"] = [[row for site in sites for row in site]]
    for name, part in cases.items():
        files[name] = heart_csv(f"{folder}/{name}.csv", part, ["one"])
        for seed in range(42, 42 + SEEDS):
            plan = heart_plan("fedavg", "0.001", seed, rounds=1, size=1,
                              clients=1, local="epochs: 50, optimizer: adam")
            jobs[name, seed] = lambda n=name, p=plan, s=seed: simulate(
                folder, f"a-{n}-{s}", p, files[n])
    runs = in_parallel(jobs)
    tests = heart_tests(sites)
    for name in ["Pooled", *LOCAL]:
        published, rerun = LOCAL.get(name, (POOLED, None))
        got = [accuracies(runs[name, s]["model"], tests)
               for s in range(42, 42 + SEEDS)]
        expect(heart_line(name, published, got),
               f"{name} within one published sd or 0.03" + (
                   f"; FLamby's program with 40 seeds: {rerun:.3f}"
                   if rerun else ""))


def personal_runs(folder, name, rate, seeds, files):
    """[per seed][4 centres]: accuracy of each centre's own model after FedAvg
    and 100 steps of its own. A run measures one file's test rows, so each of
    the files holds those of one centre."""
    jobs = {(s, c): lambda s=s, c=c: simulate(
        folder, f"t-{name}-{rate}-{s}-{c}", heart_plan("finetune", rate, s),
        files[c])["rows"][-1]["personal"] for s in seeds for c in CENTRES}
    found = in_parallel(jobs)
    return [[found[s, c] for c in CENTRES] for s in seeds]


def heart_tuned(folder, csv, sites):
    """FedAvg, then 100 local steps: its rate by a split of the train rows."""
    def of_centre(c):
        return lambda i, row, is_test, name: (
            (True if name == c else None) if is_test else False)

    def of_train_rows(c): # every third one of each centre is a test row
        return lambda i, row, is_test, name: (
            None if is_test or (i % 3 == 0 and name != c) else i % 3 == 0)

    seeds = range(42, 42 + SEEDS)
    few = range(42, 42 + max(4, SEEDS // 4))
    shown = {c: heart_csv(f"{folder}/f-{c}.csv", sites, CENTRES, of_centre(c))
             for c in CENTRES}
    hidden = {c: heart_csv(f"{folder}/c-{c}.csv", sites, CENTRES,
                           of_train_rows(c)) for c in CENTRES}
    tests = heart_tests(sites)
    before = in_parallel({s: lambda s=s: simulate(
        folder, f"b-{s}", heart_plan("fedavg", PERSONAL_RATE, s), csv)
        for s in seeds})
    before = statistics.fmean(statistics.fmean(accuracies(r["model"], tests))
                              for r in before.values())
    after = statistics.fmean(map(statistics.fmean, personal_runs(
        folder, "p", PERSONAL_RATE, seeds, shown)))
    for what, ours, (mean, sd) in (
            ("FedAvg", before, PERSONAL_BEFORE),
            ("FedAvg + fine-tuning", after, PERSONAL)):
        print(f"  {what} at {PERSONAL_RATE}, mean of four: published "
              f"{mean:.3f}, ours {ours:.3f}, {ours - mean:+.3f}")
        expect(abs(ours - mean) <= max(sd, .03),
               f"{what} within one published sd or 0.03")
    rates = ["0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1"]
    score = {r: statistics.fmean(map(statistics.fmean, personal_runs(
        folder, "c", r, few, hidden))) for r in rates}
    best = max(rates, key=score.get)
    print(f"  fine-tuning, on a third of the train rows, {len(few)} seeds: " +
          ", ".join(f"{r}: {v:.3f}" for r, v in score.items()))
    expect(best not in (rates[0], rates[-1]),
           f"the best rate, {best}, lies inside the grid")
    got = personal_runs(folder, "f", best, seeds, shown)
    ours = statistics.fmean(map(statistics.fmean, got))
    sd = statistics.stdev(map(statistics.fmean, got))
    print(f"  FedAvg + fine-tuning at {best}: " + ", ".join(
        f"{c} {statistics.fmean(v):.3f}" for c, v in zip(CENTRES, zip(*got)))
        + f"; mean of four {ours:.3f} ± {sd:.3f}, {ours - PERSONAL[0]:+.3f}")
    expect(ours > PERSONAL[0], "tuned, it is better than the published .735")


def heart(folder):
    if not os.path.exists(f"{DATA}/heart/split_test_indices.txt"):
        say(f"heart: skipped: no heart data in {DATA}")
        return
    print(f"Fed-Heart-Disease, accuracy, {SEEDS} seeds")
    sites = heart_rows()
    csv = heart_csv(f"{folder}/heart.csv", sites, CENTRES)
    heart_methods(folder, csv, sites)
    say("heart: alone and pooled")
    heart_alone(folder, sites)
    say("heart: fine-tuning")
    heart_tuned(folder, csv, sites)


# ---- FedProx's synthetic data ----------------------------------------------

# Rows as the paper makes them: 30 devices of lognormal(4, 2) + 50, 90 % train.
SYNTHETIC_ROWS = """name: synthetic
task: classify
model: {{kind: softmax, classes: 10}}
data: {{source: rows, format: vectors, width: 60, holdout: 0.1}}
seed: {seed}
sim: {{clients: 30, partition: sites, sizes: power, a: {a}, b: {a}}}
"""
SYNTHETIC_PLAN = """name: synthetic
task: classify
model: {{kind: softmax, classes: 10}}
data: {{source: rows, label: y, columns: [{columns}], standardise: none}}
rounds: 200
cohort: {{size: {size}, min_reports: {size}, over_select: 1.0}}
strategy: {{kind: {strategy}}}
local: {{epochs: 20, batch: 10, learning_rate: 0.01}}
weighting: {{by: examples, cap: 10000}}
clip: 1000
secagg: {{mode: off}}
seed: {seed}
sim: {{clients: 30, partition: column, column: device,
  stragglers: {stragglers}, evaluate_every: 5}}
"""
SYNTHETIC_COLUMNS = [f"x{i}" for i in range(60)]
SYNTHETIC_KINDS = {"FedAvg": "fedavg", "FedProx 0": "fedprox, mu: 0",
                   "FedProx 1": "fedprox, mu: 1"}
SYNTHETIC_SEEDS = [1, 2, 3]


def array(path):
    """The values of a NumPy file of tacit-sim data, flat."""
    with open(path, "rb") as f:
        whole = f.read()
    n = 10 + struct.unpack("<H", whole[8:10])[0]
    letter = {"f4": "f", "i8": "q", "u1": "B"}[
        re.search(rb"'descr': '.(..)'", whole[:n]).group(1).decode()]
    return [v for v, in struct.iter_unpack("<" + letter, whole[n:])]


def synthetic_csv(folder, a, seed):
    """The curves are of the loss over all devices' train rows, so each of
    them stands here twice: to train on, and to measure on."""
    name = f"{folder}/rows-{a}-{seed}"
    with open(f"{name}.yaml", "w", encoding="utf-8") as f:
        f.write(SYNTHETIC_ROWS.format(a=a, seed=seed))
    subprocess.run([SIM, "data", f"{name}.yaml", "-o", name], check=True,
                   stdout=subprocess.DEVNULL)
    x, y, device, test = (array(f"{name}/{n}.npy")
                          for n in ("x", "y", "client", "test"))
    shutil.rmtree(name)
    with open(f"{name}.csv", "w", encoding="utf-8") as f:
        f.write(",".join([*SYNTHETIC_COLUMNS, "y", "device", "split"]) + "\n")
        for i, label in enumerate(y):
            if test[i]:
                continue
            row = ",".join(f"{v:.9g}" for v in x[60 * i:60 * i + 60])
            row += f",{label:.0f},d{device[i]:02d},"
            f.write(f"{row}train\n{row}test\n")
    return f"{name}.csv"


def synthetic_run(folder, a, share, method, seed):
    """Loss over all train rows in rounds 101 to 200: mean and sd from round to
    round; accuracy; the last model. FedAvg drops stragglers, FedProx takes what
    they have done. Who straggles is drawn, so a cohort without them is a
    smaller one."""
    drops = method == "FedAvg"
    plan = SYNTHETIC_PLAN.format(
        columns=", ".join(f"{{name: {c}}}" for c in SYNTHETIC_COLUMNS),
        seed=seed, size=max(1, round(10 * (1 - share))) if drops else 10,
        stragglers=0 if drops else share, strategy=SYNTHETIC_KINDS[method])
    run = simulate(folder, f"s-{a}-{share}-{method}-{seed}", plan,
                   f"{folder}/rows-{a}-{seed}.csv")
    last = [r for r in run["rows"]
            if r["round"] > 100 and r["pooled_loss"] is not None]
    n = struct.unpack("<Q", run["model"][:8])[0]
    return {"loss": statistics.fmean(r["pooled_loss"] for r in last),
            "swing": statistics.stdev(r["pooled_loss"] for r in last),
            "right": statistics.fmean(r["pooled_metric"] for r in last),
            "model": run["model"][8 + n:]}


def synthetic(folder):
    sets, shares = ["0", "0.5", "1"], [0, .5, .9]
    in_parallel({(a, k): lambda a=a, k=k: synthetic_csv(folder, a, k)
                 for a in sets for k in SYNTHETIC_SEEDS})
    say("synthetic: rows are drawn")
    print("FedProx synthetic(a, a): loss over all train rows, as in the "
          "paper's curves, ± sd from round to round\n(accuracy), rounds 101 to "
          f"200, means of {len(SYNTHETIC_SEEDS)} seeds (published: curves)")
    got = in_parallel({(a, s, m, k): lambda a=a, s=s, m=m, k=k:
                       synthetic_run(folder, a, s, m, k) for a in sets
                       for s in shares for m in SYNTHETIC_KINDS
                       for k in SYNTHETIC_SEEDS})
    print("  a    stragglers " + "".join(f"{m:>24}" for m in SYNTHETIC_KINDS))
    for a in sets:
        for share in shares:
            mean = [[statistics.fmean(got[a, share, m, k][what]
                                      for k in SYNTHETIC_SEEDS)
                     for what in ("loss", "swing", "right")]
                    for m in SYNTHETIC_KINDS]
            print(f"  {a:4} {share:10.0%} " + "".join(
                f"{loss:9.3f} ± {swing:.3f} ({right:.3f})"
                for loss, swing, right in mean))
    gain = [got[a, .9, "FedProx 1", k]["right"] -
            got[a, .9, "FedAvg", k]["right"]
            for a in sets for k in SYNTHETIC_SEEDS]
    print(f"  FedProx (mu 1) over FedAvg at 90 %: {statistics.fmean(gain):+.3f}"
          " in train accuracy (published: +.22 in test accuracy, mean of five "
          "data sets)")
    synthetic_expected(sets, got)


def synthetic_expected(sets, got):
    def by(what, share, worse, better):
        """How much more, per set and seed: its rows are the same for both."""
        return [got[a, share, worse, k][what] - got[a, share, better, k][what]
                for a in sets for k in SYNTHETIC_SEEDS]

    def told(v):
        return f"{sum(x > 0 for x in v)} of {len(v)} runs, mean " \
               f"{statistics.fmean(v):+.3f}"

    # No stragglers, no proximal term: the paper draws one curve for both.
    expect(all(got[a, 0, "FedAvg", k]["model"] ==
               got[a, 0, "FedProx 0", k]["model"]
               for a in sets for k in SYNTHETIC_SEEDS),
           "0 %: FedProx with mu 0 is FedAvg, to the bit")
    for share in (0, .5, .9):
        for worse in ("FedAvg", "FedProx 0"):
            loss = by("loss", share, worse, "FedProx 1")
            swing = by("swing", share, worse, "FedProx 1")
            expect(min(loss) > 0 and min(swing) > 0,
                   f"{share:.0%}: {worse} has a higher loss than FedProx 1 and "
                   f"swings more, in every run (means "
                   f"{statistics.fmean(loss):+.3f}, "
                   f"{statistics.fmean(swing):+.3f})")
    # Dropped or taken as they are: the paper says that partial work "can help".
    loss, swing = (by(w, .9, "FedAvg", "FedProx 0") for w in ("loss", "swing"))
    expect(min(swing) > 0, "90 %: FedAvg, which drops stragglers, swings more "
           f"than FedProx 0 in every run ({told(swing)})")
    expect(statistics.fmean(loss) > 0, "90 %: its loss is higher on average "
           f"({told(loss)})")
    loss, swing = (by(w, .5, "FedAvg", "FedProx 0") for w in ("loss", "swing"))
    print("  not expected: at 50 %, FedAvg above FedProx 0: its loss is higher "
          f"in {told(loss)}, and swings\n    more in {told(swing)}; FedAvg "
          "itself is lower with 5 clients a round than with 10 (0 %)")


# ---- label skew ------------------------------------------------------------

# As published but for the data: 10 parties, LeNet 6/16/120/84, 10 local epochs,
# batch 64, rate 0.01, momentum 0.9; there 60,000 images and 50 rounds. Here the
# 10,000 of MNIST's test set, or as many drawn ones: 8,000 to train on.
DIGITS_PLAN = """name: skew
task: classify
model: {{kind: cnn, hidden: [6, 16, 120, 84]}}
data: {{source: digits, format: images, holdout: 0.2}}
rounds: {rounds}
cohort: {{size: 10, min_reports: 10, over_select: 1.0}}
strategy: {{kind: {strategy}}}
local: {{epochs: 10, batch: 64, learning_rate: 0.01, momentum: 0.9}}
weighting: {{by: examples, cap: 10000}}
clip: 1000
seed: {seed}
sim: {{clients: 10, rows: 1000, {skew}, protocol: sum, evaluate_every: 1}}
"""
# Rounds until the curve is flat; one label never is: 50 as published.
SKEWS = {"IID": ("partition: iid", 10, [1]),
         "Dir(0.5)": ("partition: dirichlet, alpha: 0.5", 10, [1]),
         "1 label": ("partition: labels, labels: 1", 50, [1]),
         "2 labels": ("partition: labels, labels: 2", 25, [1]),
         "3 labels": ("partition: labels, labels: 3", 25, [1])}
# Flower's niid_bench on MNIST, per cent: an earlier measurement of its authors,
# and the one that its page shows since. FedProx there: the best of four mu; of
# three here, with one label, 0.01 is: 54.0 per cent; 0.1: 30.0; 1: 12.2.
SKEW_PUBLISHED = {
    "FedAvg": ([99.09, 98.89, 19.33, 96.86, 97.86],
               [99.1, 98.9, 10.0, 96.6, 98.2]),
    "SCAFFOLD": ([99.06, 99.07, 9.93, 96.92, 97.91],
                 [99.2, 99.0, 10.0, 96.6, 97.8]),
    "FedProx": ([99.16, 99.02, 51.79, 96.85, 97.85],
                [99.2, 99.0, 81.3, 96.7, 97.8]),
    "FedNova": ([99.05, 98.03, 52.58, 96.65, 97.62],
                [99.0, 98.8, 55.1, 96.5, 97.7])}
# One label per client in a third measurement, FedBench 0.1.3: mean and sd.
ONE_LABEL = {"FedAvg": (40.34, 26.51), "SCAFFOLD": (10.99, .5),
             "FedProx": (40.24, 21.8), "FedNova": (54.66, 9.53)}
SKEW_KINDS = {"FedAvg": "fedavg", "SCAFFOLD": "scaffold",
              "FedProx": "fedprox, mu: 0.01", "FedNova": "fednova"}


def digits_file(folder):
    """The IDX pair, unpacked; None where it is missing."""
    import gzip
    out = None
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        path = f"{DATA}/mnist-t10k/{name}.gz"
        if not os.path.exists(path):
            say("digits: no MNIST: drawn ones instead")
            return None
        with gzip.open(path) as source:
            with open(f"{folder}/{name}", "wb") as target:
                target.write(source.read())
        out = out or f"{folder}/{name}"
    return out


def digits_run(folder, method, skew, seed, data):
    """(per cent right, mean of the last fifth of the rounds; the round in which
    the loss was no number, or 0). Then the model is worth no more than chance,
    whatever it was before."""
    partition, rounds, _ = SKEWS[skew]
    run = simulate(folder, f"d-{method}-{skew.replace(' ', '')}-{seed}",
                   DIGITS_PLAN.format(strategy=SKEW_KINDS[method], seed=seed,
                                      skew=partition, rounds=rounds), data,
                   may_diverge=method == "SCAFFOLD")
    say(f"digits: {method}, {skew}, seed {seed}")
    rights = [100 * r["pooled_metric"] for r in run["rows"]]
    if run["diverged"]:
        print(f"  {method}, {skew}, seed {seed}: the loss is no number in "
              f"round {run['diverged']}; before, at best {max(rights):.1f}",
              flush=True)
        return 10.0, run["diverged"]
    return statistics.fmean(rights[-rounds // 5:]), 0


def digits(folder):
    data = digits_file(folder)
    print("Digits, LeNet, 10 clients x 800 images, 10 local epochs, batch 64 "
          "(published: 10 x 6,000, 50 rounds):\naccuracy, per cent, mean of "
          "the last fifth of the rounds")
    # The longest first, so that no core is left over at the end.
    jobs = {(m, s, k): lambda m=m, s=s, k=k: digits_run(folder, m, s, k, data)
            for s in sorted(SKEWS, key=lambda s: -SKEWS[s][1])
            for k in SKEWS[s][2] for m in SKEW_KINDS}
    found = in_parallel(jobs)
    lost = {(m, s) for (m, s, _), (_, when) in found.items() if when}
    got = {(m, s): statistics.fmean(found[m, s, k][0] for k in SKEWS[s][2])
           for m in SKEW_KINDS for s in SKEWS}
    print("            " + "".join(f"{f'{s}, {SKEWS[s][1]} rounds':>31}"
                                   for s in SKEWS))
    print("            " + "      published       ours  diff" * len(SKEWS))
    for m in SKEW_KINDS:
        cells = zip(SKEWS, *SKEW_PUBLISHED[m])
        print(f"  {m:10}" + "".join(
            f"{p:9.2f} {q:6.1f} {got[m, s]:6.2f}"
            f"{'*' if (m, s) in lost else ' '} {got[m, s] - p:+6.2f} "
            for s, p, q in cells))
    if lost:
        print("  * diverged: counted as chance. SCAFFOLD's published runs do "
              "so elsewhere: FMNIST, 2 labels: 33.8 and 10.0;\n    NIID-Bench, "
              "500 rounds: 10.0 in three settings. Here it does so on 8,000 "
              "images; plain SGD at 0.1 falls as well")
    print("  1 label, range of the published three (the third is mean ± sd), "
          "and ours:")
    for m, (mean, sd) in ONE_LABEL.items():
        twice = [p[2] for p in SKEW_PUBLISHED[m]]
        low, high = min(mean - sd, *twice), max(mean + sd, *twice)
        ours = got[m, "1 label"]
        print(f"    {m:10}{low:6.1f} to {high:4.1f} {ours:6.1f}" +
              (f"  {max(low - ours, ours - high):.1f} outside"
               if not low <= ours <= high else ""))
    digits_expected(got, lost)


def digits_expected(got, lost):
    for m in SKEW_KINDS:
        # Published gaps: 2 to 3 labels 0.8 to 1.6, 3 to Dirichlet 0.4 to 1.2;
        # Dirichlet to IID -0.01 to 1, so that they may stand either way.
        names = [s for s in ("1 label", "2 labels", "3 labels", "Dir(0.5)")
                 if (m, s) not in lost or s == "1 label"]
        v = [got[m, s] for s in names]
        expect(all(a < b for a, b in zip(v, v[1:])) and
               v[-1] < got[m, "IID"] + .5,
               f"{m}: {' < '.join(names)} < IID + 0.5")
        # The least of the published collapses: FedProx, 81.3 of 96.7.
        expect(got[m, names[1]] - got[m, "1 label"] > 15,
               f"{m} loses more than 15 points with one label per client")
    one = {m: got[m, "1 label"] for m in SKEW_KINDS}
    expect(one["SCAFFOLD"] == min(one.values()) and one["SCAFFOLD"] < 12,
           "1 label: SCAFFOLD is last, and no better than chance (9.9 to 11 "
           "published)")
    for m in ("FedProx", "FedNova"):
        # Published in this order; both sd's are as wide as the gaps.
        slack = (ONE_LABEL["FedAvg"][1] ** 2 + ONE_LABEL[m][1] ** 2) ** .5
        expect(one["FedAvg"] < one[m] + slack,
               f"1 label: FedAvg is not above {m} by more than the published "
               f"sd of their difference, {slack:.0f}")


# ---- robust rules under attack ---------------------------------------------

ROBUST_PLAN = """name: robust
task: classify
model: {{kind: softmax, classes: 10}}
data: {{source: digits, format: images, height: 14, width: 14, holdout: 0.2}}
rounds: 20
cohort: {{size: 20, min_reports: 20, over_select: 1.0}}
strategy: {{kind: {rule}}}
local: {{epochs: 1, batch: 10, learning_rate: 0.1}}
clip: 1000
secagg: {{mode: off}}
seed: {seed}
sim: {{clients: 20, rows: 100, partition: iid, evaluate_every: 20,
  attack: {{kind: {attack}, share: {share}}}}}
"""
ATTACKS = ["label_flip", "sign_flip", "scale", "backdoor", "free_rider",
           "collude", "nan"]
SUCCESS = "backdoor success"
SHARES = [0, .1, .2, .4]
ROBUST_SEEDS = [1, 2, 3]
RULES = {
    "fedavg": lambda f: "fedavg", "median": lambda f: "median",
    "trimmed": lambda f: f"trimmed, trim: {max(f, 2) / 20}",
    "krum": lambda f: f"krum, byzantine: {f}",
    "multikrum": lambda f: f"multikrum, byzantine: {f}",
    "bulyan": lambda f: f"bulyan, byzantine: {min(f, 4)}",
    "geomedian": lambda f: "geomedian", "normbound": lambda f:
    "normbound, bound: 1", "cclip": lambda f: "cclip, bound: 1",
    "fltrust": lambda f: "fltrust"}


def colour(column, v):
    """From red (0.1) over yellow to green (0.9); success is the bad one."""
    t = min(1, max(0, (v - .1) / .8))
    t = 1 - t if column == SUCCESS else t
    return f"hsl({120 * t:.0f},55%,{62 + 8 * abs(t - .5):.0f}%)"


def robust_picture(got, path):
    columns = [*ATTACKS, SUCCESS]
    wide, high, left, top = 42, 24, 92, 64
    size = (left + (wide * len(SHARES) + 8) * len(columns),
            top + high * len(RULES) + 8)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" '
           f'height="{size[1]}" font-family="sans-serif" font-size="12">'
           '<rect width="100%" height="100%" fill="#fff"/>'
           '<title>Accuracy of robust rules under attack, and how often a '
           'backdoor opens</title>']

    def text(x, y, s, anchor="middle"):
        out.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}" '
                   f'fill="#222">{s}</text>')

    text(8, 20, "accuracy, and last the share of triggered rows that a "
         "backdoor turns; columns: share of attackers, per cent", "start")
    for a, column in enumerate(columns):
        x0 = left + a * (wide * len(SHARES) + 8)
        text(x0 + wide * len(SHARES) / 2, 40, column.replace("_", " "))
        for s, share in enumerate(SHARES):
            x = x0 + s * wide
            text(x + wide / 2, 57, f"{100 * share:.0f}")
            for r, rule in enumerate(RULES):
                v, y = got[rule, column, share], top + r * high
                out.append(f'<rect x="{x}" y="{y}" width="{wide - 1}" '
                           f'height="{high - 1}" fill="{colour(column, v)}"/>')
                text(x + wide / 2, y + 16, f"{v:.2f}")
    for r, rule in enumerate(RULES):
        text(left - 8, top + r * high + 16, rule, "end")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n</svg>\n")


def robust_run(folder, rule, attack, share):
    """(accuracy, a backdoor's success or None), means over the seeds."""
    # Updates of NaN are refused before the rule: it need not expect them all.
    most = (2 if rule == "bulyan" else 4) if attack == "nan" else 8
    last = [simulate(folder, f"r-{rule}-{attack}-{share}-{seed}",
                     ROBUST_PLAN.format(
                         rule=RULES[rule](min(round(20 * share), most)),
                         attack=attack, share=share, seed=seed))["rows"][-1]
            for seed in ROBUST_SEEDS]
    success = None
    if attack == "backdoor":
        success = statistics.fmean(r["backdoor"] for r in last)
    return statistics.fmean(r["pooled_metric"] for r in last), success


def robust_all(folder):
    """{(rule, column, share): figure}."""
    jobs = {(r, a, s): lambda r=r, a=a, s=s: robust_run(folder, r, a, s)
            for r in RULES for a in ATTACKS for s in SHARES
            if s or a == "backdoor"}
    found = in_parallel(jobs)
    got = {key: accuracy for key, (accuracy, _) in found.items()}
    for rule in RULES:
        for share in SHARES:
            got[rule, SUCCESS, share] = found[rule, "backdoor", share][1]
        for attack in ATTACKS:
            got[rule, attack, 0] = found[rule, "backdoor", 0][0]
    return got


def robust(folder):
    columns = [*ATTACKS, SUCCESS]
    print("Robust rules: digits 14 x 14, softmax, 20 clients, 20 rounds; "
          f"accuracy at 0 / 10 / 20 / 40 % attackers,\n{len(ROBUST_SEEDS)} "
          "seeds; last the share of triggered rows that the backdoor turns "
          "into the attackers' label")
    got = robust_all(folder)
    print("  | rule | " + " | ".join(c.replace("_", " ") for c in columns)
          + " |\n  |" + "---|" * (1 + len(columns)))
    for rule in RULES:
        print(f"  | {rule} | " + " | ".join(
            " ".join(f"{got[rule, c, s]:.2f}".replace("0.", ".")
                     for s in SHARES) for c in columns) + " |")
    robust_picture(got, "sims/robust.svg")
    calm = got["fedavg", ATTACKS[0], 0]
    others = [r for r in RULES if r != "fedavg"]
    for attack in ("sign_flip", "scale", "collude"):
        best = max(got[r, attack, .2] for r in others)
        expect(best > calm - .03,
               f"{attack}, 20 %: some rule is within 0.03 of no attack")
        expect(got["fedavg", attack, .2] < best,
               f"{attack}, 20 %: FedAvg does worse")
    expect(got["fedavg", SUCCESS, .2] > .5 and
           min(got[r, SUCCESS, .2] for r in others) < .1,
           "backdoor, 20 %: it opens under FedAvg, and some rule shuts it")


TABLES = {"heart": heart, "synthetic": synthetic, "digits": digits,
          "robust": robust}


def main():
    for name in sys.argv[1:] or TABLES:
        say(name)
        with tempfile.TemporaryDirectory(prefix="tacit-tables-") as folder:
            TABLES[name](folder)
        print(flush=True)
    say(f"{len(failures)} expectations fail")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
