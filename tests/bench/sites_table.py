#!/usr/bin/env python3
"""One search encoder, many sites: what learning together is worth.

    sites_table.py [--choose] [--open|--private] [medquad] [pubmedqa] [key=x]

medquad    nine sites of the NIH as they are (MedQuAD), up to ROWS questions
           each; the passages are the beginnings of the answers
pubmedqa   one journal question and its abstract, dealt out to four sites by the
           year of publication

all-MiniLM-L6-v2 in Q8_0 (TACIT_MINILM=FOLDER) reads the passages once. Trained
is the side of the questions, by FFA-LoRA pairs (common/model/tuned.h): by all
sites together under the protocol's arithmetic, by one that had all rows, and by
all sites together under record-level differential privacy (epsilon 8, delta
1e-5). A fifth of each site's questions is held out, and recall@5 over its own
passages told.

--choose holds out a fifth of the training questions instead, runs what stands
in GRID, and names the best numbers; those stand in OPEN and PRIVATE. --open and
--private run one half. A run's lines are kept in TACIT_TABLE_DIR and not made
again while its plan is the same.

Tables go to stdout. Exits 1 when an expectation does not hold.
"""
import csv
import gzip
import hashlib
import json
import os
import subprocess
import sys

BUILD = os.environ.get("TACIT_BUILD", "build/release")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
WORK = os.environ.get("TACIT_TABLE_DIR", "/tmp/tacit-sites")
ROWS = int(os.environ.get("TACIT_TABLE_ROWS", "900"))
WORDS = 100

PLAN = """name: sites
task: retriever
base: {{name: minilm, hash: {hash}}}
adapter: {{kind: {kind}, rank: {rank}}}
data: {{source: pairs, length: 64}}
rounds: {rounds}
cohort: {{size: {n}, min_reports: {n}, over_select: 1}}
local: {{steps: {steps}, batch: {batch}, optimizer: adamw,
  learning_rate: {rate}, temperature: 0.05, hard_negatives: {hard}}}
weighting: {{by: uniform}}
clip: 5
seed: 1
sim: {{clients: {n}, protocol: sum, evaluate_every: 1000}}
"""
PRIVATE_PLAN = """name: sites
task: retriever
base: {{name: minilm, hash: {hash}}}
adapter: {{kind: {kind}, rank: {rank}, targets: [{targets}]}}
data: {{source: pairs, length: 64}}
rounds: {rounds}
cohort: {{size: {n}, min_reports: {n}, over_select: 1}}
strategy: {{kind: fedadam, server_learning_rate: {rate}, beta2: 0.95,
  tau: {tau}}}
local: {{batch: {batch}, temperature: {temperature}, hard_negatives: {hard}}}
privacy: {{unit: record, epsilon: 8, delta: 1e-5, clip: {clip},
  sample: {sample}, retries: 0}}
seed: 1
sim: {{clients: {n}, protocol: sum, evaluate_every: 1000}}
"""
OPEN = {"kind": "ffa", "rank": 8, "rounds": 4, "steps": 12, "batch": 32,
        "rate": 0.002, "hard": 4}
PRIVATE = {"kind": "ffa", "rank": 4, "targets": "q, v", "rounds": 12,
           "sample": 0.25, "batch": 100, "rate": 0.002, "tau": 1e-5,
           "clip": 1.0, "hard": 16, "temperature": 0.05}
# What --choose tries, from those above; the curve of each run also says after
# how many rounds it would have been best.
GRID = {"open": [{"rate": r} for r in (0.001, 0.002)],
        "private": [{"rate": r} for r in (0.002, 0.005)]}
FULL = 0.97  # a base over this has no three points left


def tacit(*words):
    home = os.path.join(WORK, "home")
    got = subprocess.run([f"{BUILD}/bin/tacit", "--home", home, *words],
                         capture_output=True, text=True, check=True,
                         timeout=600)
    return got.stdout


def base():
    """Path and hash of the base, imported once."""
    folder = os.environ.get("TACIT_MINILM")
    if not folder:
        print("sites_table: TACIT_MINILM=FOLDER names no model; skipped")
        sys.exit(0)
    os.makedirs(WORK, exist_ok=True)
    if not os.path.exists(os.path.join(WORK, "home", "tacit.db")):
        tacit("init")
    tacit("model", "import", folder, "--name", "minilm", "--type", "q8_0")
    got = json.loads(tacit("model", "show", "minilm", "--json"))["data"]
    return got["path"], got["hash"]


def share(text):
    """0 to 1, of a text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def side(question, choose):
    held = share("test" + question) < 0.2
    if not choose:
        return "test" if held else "train"
    if held:
        return None
    return "test" if share("choose" + question) < 0.2 else "train"


def write_site(folder, rows, choose):
    """rows: (id, question, passage). Documents are written once."""
    documents = os.path.join(folder, "documents")
    os.makedirs(documents, exist_ok=True)
    seen, lines = set(), []
    for number, question, passage in rows:
        if question in seen:
            continue
        seen.add(question)
        name = f"{number}.txt"
        path = os.path.join(documents, name)
        if not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as f:
                f.write(" ".join(passage.split()[:WORDS]) + "\n")
        where = side(question, choose)
        if where:
            lines.append((question, name, where))
    with open(os.path.join(folder, "questions.csv"), "w", newline="",
              encoding="utf-8") as f:
        w = csv.writer(f)
        w.writerow(("question", "document", "split"))
        w.writerows(lines)


def medquad():
    sites = {}
    with gzip.open(f"{DATA}/medquad/medquad.jsonl.gz", "rt",
                   encoding="utf-8") as f:
        for line in f:
            x = json.loads(line)
            sites.setdefault(x["source"].split("_")[1], []).append(
                (x["doc"] or x["id"], x["id"], x["question"],
                 x["answer"]))
    # Whole documents: what else is asked about one thing competes.
    return {name: [r[1:] for r in sorted(
                rows, key=lambda r: (share(r[0]), r[1]))[:ROWS]]
            for name, rows in sites.items()}


def pubmedqa():
    sites = {}
    with gzip.open(f"{DATA}/pubmedqa/ori_pqal.json.gz", "rt",
                   encoding="utf-8") as f:
        for number, x in json.load(f).items():
            year = int(x.get("YEAR") or 2010)
            name = ("to-2005" if year <= 2005 else "2006-2009" if year <= 2009
                    else "2010-2012" if year <= 2012 else "from-2013")
            sites.setdefault(name, []).append(
                (number, x["QUESTION"], " ".join(x["CONTEXTS"])))
    return sites


def lay_out(name, sites, choose):
    """Both splits lie in one folder, so that passages are embedded once: not
    to be laid out twice at once."""
    folder = os.path.join(WORK, name)
    for site, rows in sites.items():
        write_site(os.path.join(folder, site), rows, choose)
    return folder


def run(how, text, folder, file, choose=False):
    """The lines of one training, made once."""
    named = f"{how} {folder} {choose} {text}"
    key = hashlib.sha256(named.encode()).hexdigest()[:16]
    plan = os.path.join(WORK, f"{key}.yaml")
    kept = os.path.join(WORK, f"{key}.jsonl")
    if not os.path.exists(kept):
        with open(plan, "w", encoding="utf-8") as f:
            f.write(text)
        with open(kept + ".part", "w", encoding="utf-8") as f:
            subprocess.run([f"{BUILD}/bench/engine_sites", how, plan, file,
                            folder], stdout=f, check=True, timeout=7200)
        os.rename(kept + ".part", kept)
    with open(kept, encoding="utf-8") as f:
        return [json.loads(x) for x in f]


def sites_of(lines):
    return {x["site"]: x for x in lines if "site" in x}


def mean_of(rows, key):
    return 100 * sum(x[key] for x in rows.values()) / len(rows)


def say_curve(what, lines):
    points = ", ".join(f"{x['round']}: {100 * x['mean']:.1f}"
                       for x in lines if "round" in x)
    noise = [x for x in lines if "noise" in x]
    print(f"{what}, mean after rounds {points}")
    for x in noise:
        print(f"  unit record, epsilon {x['epsilon']:.3f} at delta "
              f"{x['delta']:g}, noise {x['noise']:.3f} times the clip, "
              f"{x['weights']} weights")


def choose_table(name, sites, halves, given):
    file, content = base()
    folder = lay_out(name, sites, True)
    for half in halves:
        best = (0, None)
        for tried in GRID[half]:
            numbers = {**(OPEN if half == "open" else PRIVATE), **given,
                       **tried}
            text = (PLAN if half == "open" else PRIVATE_PLAN).format(
                hash=content, n=len(sites), **numbers)
            lines = run("together", text, folder, file, True)
            say_curve(f"{name} {half} {tried}", lines)
            # Fewer rounds of a private plan are another plan, of less noise.
            points = [x for x in lines if "round" in x and x["round"]]
            if half == "private":
                points = points[-1:]
            for x in points:
                best = max(best, (x["mean"], json.dumps(
                    {**tried, "rounds": x["round"]})))
            sys.stdout.flush()
        print(f"{name} {half}: best {100 * best[0]:.1f} with {best[1]}")


def table(name, sites, halves, given):
    file, content = base()
    folder = lay_out(name, sites, False)
    columns, got = [], {}
    if "open" in halves:
        text = PLAN.format(hash=content, n=len(sites), **{**OPEN, **given})
        got["federated"] = run("together", text, folder, file)
        got["centralised"] = run("alone", text, folder, file)
    if "private" in halves:
        text = PRIVATE_PLAN.format(hash=content, n=len(sites),
                                   **{**PRIVATE, **given})
        got["private"] = run("together", text, folder, file)
    columns = list(got)
    by = {c: sites_of(got[c]) for c in columns}
    first = by[columns[0]]
    print(f"\n{name}: {len(first)} sites")
    print(f"| site | train | held out | base | {' | '.join(columns)} |\n"
          + "|---" * (4 + len(columns)) + "|")
    for site, x in first.items():
        print(f"| {site} | {x['n_train']} | {x['n_test']} | "
              f"{100 * x['base']:.1f} | " + " | ".join(
                  f"{100 * by[c][site]['trained']:.1f}" for c in columns)
              + " |")
    mean = {c: mean_of(by[c], "trained") for c in columns}
    mean["base"] = mean_of(first, "base")
    print(f"| mean | | | {mean['base']:.1f} | "
          + " | ".join(f"{mean[c]:.1f}" for c in columns) + " |")
    for c in columns:
        say_curve(c, got[c])
    if "federated" not in by:
        return []
    low = [x for x in by["federated"].values() if x["base"] <= FULL]
    least = min((100 * (x["trained"] - x["base"]) for x in low), default=3)
    checks = [("federated is 3 points over the base at every site that has "
               "them left", least >= 3),
              ("federated is within 1 point of centralised, in the mean",
               mean["federated"] >= mean["centralised"] - 1)]
    if "private" in by:
        checks.append(("under record-level epsilon 8 within 3 points of "
                       "centralised, in the mean",
                       mean["private"] >= mean["centralised"] - 3))
    return checks


def main():
    words = sys.argv[1:]
    given = {}
    for word in words:
        key, _, value = word.partition("=")
        if value:
            given[key] = type({**OPEN, **PRIVATE}[key])(value)
    halves = [h for h in ("open", "private")
              if "--open" not in words and "--private" not in words
              or f"--{h}" in words]
    wanted = [w for w in words if "=" not in w and not w.startswith("-")]
    known = {"medquad": medquad, "pubmedqa": pubmedqa}
    failed = False
    for name in wanted or known:
        if "--choose" in words:
            choose_table(name, known[name](), halves, given)
            continue
        for what, holds in table(name, known[name](), halves, given):
            print(f"  {'holds' if holds else 'FAILS'}: {what}", flush=True)
            failed |= not holds
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
