#!/usr/bin/env python3
"""One search encoder, many sites: what learning together is worth.

    sites_table.py [--choose] [medquad] [pubmedqa]

medquad    nine sites of the NIH as they are (MedQuAD), up to ROWS questions
           each; the passages are the beginnings of the answers
pubmedqa   one journal question and its abstract, dealt out to four sites by the
           year of publication

all-MiniLM-L6-v2 in Q8_0 (TACIT_MINILM=FOLDER) reads the passages once. Trained
is the side of the questions, by FFA-LoRA pairs (common/model/tuned.h): by all
sites together under the protocol's arithmetic, and by one that had all rows. A
fifth of each site's questions is held out, and recall@5 over its own passages
told. --choose holds out a fifth of the training questions instead: there the
numbers of a plan are to be chosen.

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
NUMBERS = {"kind": "ffa", "rank": 8, "rounds": 12, "steps": 12, "batch": 32,
           "rate": 0.002, "hard": 4}
FULL = 0.97  # a base over this has no three points left


def tacit(*words):
    home = os.path.join(WORK, "home")
    run = subprocess.run([f"{BUILD}/bin/tacit", "--home", home, *words],
                         capture_output=True, text=True, check=True,
                         timeout=600)
    return run.stdout


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


def table(name, sites, choose, numbers):
    file, content = base()
    folder = os.path.join(WORK, name)
    for site, rows in sites.items():
        write_site(os.path.join(folder, site), rows, choose)
    plan = os.path.join(WORK, f"{name}.yaml")
    with open(plan, "w", encoding="utf-8") as f:
        f.write(PLAN.format(hash=content, n=len(sites), **numbers))
    run = subprocess.run([f"{BUILD}/bench/engine_sites", plan, file, folder],
                         stdout=subprocess.PIPE, text=True, check=True,
                         timeout=7200)
    lines = [json.loads(x) for x in run.stdout.splitlines()]
    rows = [x for x in lines if "site" in x]
    print(f"\n{name}: {len(rows)} sites, "
          + ", ".join(f"{k} {v}" for k, v in numbers.items()))
    print("| site | train | held out | base | federated | centralised | gain |"
          "\n|---|---|---|---|---|---|---|")
    for x in rows:
        print(f"| {x['site']} | {x['n_train']} | {x['n_test']} | "
              f"{100 * x['base']:.1f} | {100 * x['federated']:.1f} | "
              f"{100 * x['centralised']:.1f} | "
              f"{100 * (x['federated'] - x['base']):+.1f} |")
    mean = {k: 100 * sum(x[k] for x in rows) / len(rows)
            for k in ("base", "federated", "centralised")}
    print(f"| mean | | | {mean['base']:.1f} | {mean['federated']:.1f} | "
          f"{mean['centralised']:.1f} | "
          f"{mean['federated'] - mean['base']:+.1f} |")
    for x in lines:
        if "round" in x:
            print(f"round {x['round']}: mean {100 * x['mean']:.1f}, "
                  f"loss {x['loss']:.4f}")
    low = [x for x in rows if x["base"] <= FULL]
    least = min((100 * (x["federated"] - x["base"]) for x in low), default=3)
    return mean, least


def main():
    words = sys.argv[1:]
    choose = "--choose" in words
    numbers = dict(NUMBERS)
    for word in words:
        key, _, value = word.partition("=")
        if value:
            numbers[key] = type(numbers[key])(value)
    wanted = [w for w in words if "=" not in w and not w.startswith("-")]
    known = {"medquad": medquad, "pubmedqa": pubmedqa}
    failed = False
    for name in wanted or known:
        mean, least = table(name, known[name](), choose, numbers)
        for what, holds in (
                ("federated is 3 points over the base at every site that has "
                 "them left", least >= 3),
                ("federated is within 1 point of centralised, in the mean",
                 mean["federated"] >= mean["centralised"] - 1)):
            print(f"  {'holds' if holds else 'FAILS'}: {what}", flush=True)
            failed |= not holds
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
