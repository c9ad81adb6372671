#!/usr/bin/env python3
"""A cross-encoder made here: what reading the passages again is worth.

    cross_table.py [--train]

From all-MiniLM-L6-v2 in Q8_0 (TACIT_MINILM=FOLDER) a cross-encoder is trained
by `task: classify` over pairs (common/model/tuned.h), and then reads the best
20 passages of SciFact's test queries again. It learns from

claims    SciFact's training claims: the abstracts that are judged, and
          NEGATIVES others that the words find and nobody judged
titles    of TACIT_TABLE_TITLES (0) abstracts, without judgements: the text
          under a title, and others that the title's words find

Every tenth training claim is held out of it, to choose the plan's numbers by;
the test queries are asked once, at the end. Without --train a cross.gguf that
is there already is measured. Each pair is seen TACIT_TABLE_EPOCHS (4) times,
some 200 s of CPU each; to read the test queries' hits again takes 80 s. Tables
go to stdout.
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
WORK = os.environ.get("TACIT_TABLE_DIR", "/tmp/tacit-cross")
TITLES = int(os.environ.get("TACIT_TABLE_TITLES", "0"))
NEGATIVES, TITLE_NEGATIVES, DEEP = 2, 2, 30
EPOCHS = float(os.environ.get("TACIT_TABLE_EPOCHS", "4"))
LENGTH, ROUNDS = 128, 8

PLAN = """name: cross
task: classify
base: {{name: minilm, hash: {hash}}}
adapter: {{kind: lora, rank: 16}}
data: {{source: pairs, holdout: 0, length: {length}}}
rounds: {rounds}
local: {{steps: {steps}, batch: 16, optimizer: adamw, learning_rate: 0.002}}
seed: 1
"""


def tacit(*words):
    home = os.path.join(WORK, "home")
    run = subprocess.run([f"{BUILD}/bin/tacit", "--home", home, *words],
                         capture_output=True, text=True, timeout=3000)
    if run.returncode:
        sys.exit(f"cross_table: tacit {' '.join(words)}: {run.stderr}")
    return run.stdout


def data(*words):
    return json.loads(tacit(*words, "--json"))["data"]


def share(text):
    """0 to 1, of a text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def lines(name):
    with gzip.open(os.path.join(DATA, "scifact", name), "rt",
                   encoding="utf-8") as f:
        return [json.loads(x) for x in f]


def judgements(name):
    judged = {}
    with open(os.path.join(DATA, "scifact", name), encoding="utf-8") as f:
        for row in map(str.split, f):
            if row[-1] == "1":
                judged.setdefault(row[0], set()).add(row[-2])
    return judged


def folder_of(name, corpus, queries, qrels):
    """A BEIR folder, written anew."""
    at = os.path.join(WORK, name)
    os.makedirs(os.path.join(at, "qrels"), exist_ok=True)
    for part, rows in (("corpus", corpus), ("queries", queries)):
        with open(os.path.join(at, part + ".jsonl"), "w",
                  encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in rows)
    with open(os.path.join(at, "qrels/test.tsv"), "w", encoding="utf-8") as f:
        f.write("query-id\tcorpus-id\tscore\n")
        f.writelines(f"{q}\t{d}\t1\n" for q in qrels for d in sorted(qrels[q]))
    return at


def found_by_words(at):
    """{query: documents, best first}."""
    run, found = os.path.join(at, "words.run"), {}
    if not os.path.exists(run):
        tacit("eval", "retrieval", at, "--mode", "words", "--write-run", run,
              "-q")
    with open(run, encoding="utf-8") as f:
        for row in map(str.split, f):
            found.setdefault(row[0], []).append(row[2])
    return found


def negatives(key, found, right, n):
    """n of the best that are not right: the nearest, and a draw of the rest."""
    wrong = [d for d in found[:DEEP] if d not in right]
    near, rest = wrong[:n // 2], wrong[n // 2:]
    rest.sort(key=lambda d: share(key + d))
    return near + rest[:n - len(near)]


def write_rows(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        w = csv.writer(f)
        w.writerow(("question", "passage", "label", "split"))
        w.writerows(rows)


def rows_of(corpus, judged, claims, titles):
    text = {d["_id"]: d["text"] for d in corpus}
    whole = {d["_id"]: d["title"] + " " + d["text"] for d in corpus}
    out = []
    for query in claims:
        right = judged[query["_id"]]
        wrong = negatives(query["_id"], query["found"], right, NEGATIVES)
        side = "test" if share("held" + query["text"]) < 0.1 else "train"
        for label, list_ in ((1, sorted(right)), (0, wrong)):
            out += [(query["text"], whole[d], label, side) for d in list_]
    for query in titles:
        own = query["_id"]
        wrong = negatives(own, query["found"], {own}, TITLE_NEGATIVES)
        for label, list_ in ((1, [own]), (0, wrong)):
            out += [(query["text"], text[d], label, "train") for d in list_]
    return out


def make_pairs(path):
    corpus = lines("corpus.jsonl.gz")
    judged = judgements("qrels.train.tsv")
    claims = [q for q in lines("queries.jsonl.gz") if q["_id"] in judged]
    found = found_by_words(folder_of("claims", corpus, claims, judged))
    for query in claims:
        query["found"] = found.get(query["_id"], [])
    picked = sorted((d for d in corpus if d["title"] and d["text"]),
                    key=lambda d: share(d["_id"]))[:TITLES]
    titles = [{"_id": d["_id"], "text": d["title"]} for d in picked]
    bare = [dict(d, title="") for d in corpus]
    found = found_by_words(folder_of(
        "titles", bare, titles,
        {d["_id"]: {d["_id"]} for d in picked})) if titles else {}
    for query in titles:
        query["found"] = found.get(query["_id"], [])
    write_rows(path, rows_of(corpus, judged, claims, titles))


def base():
    """Path and hash of the base, imported once."""
    folder = os.environ.get("TACIT_MINILM")
    if not folder:
        print("cross_table: TACIT_MINILM=FOLDER names no model; skipped")
        sys.exit(0)
    os.makedirs(WORK, exist_ok=True)
    if not os.path.exists(os.path.join(WORK, "home", "tacit.db")):
        tacit("init", "--key", "none")
    tacit("model", "import", folder, "--name", "minilm", "--type", "q8_0")
    got = data("model", "show", "minilm")
    return got["path"], got["hash"]


def train(out):
    path, content = base()
    pairs = os.path.join(WORK, "pairs.csv")
    make_pairs(pairs)
    with open(pairs, encoding="utf-8") as f:
        n = sum(row["split"] == "train" for row in csv.DictReader(f))
    plan = os.path.join(WORK, "cross.yaml")
    with open(plan, "w", encoding="utf-8") as f:
        f.write(PLAN.format(hash=content, length=LENGTH, rounds=ROUNDS,
                            steps=int(EPOCHS * n) // 16 // ROUNDS))
    if os.path.exists(out):
        os.remove(out)
    subprocess.run([f"{BUILD}/bench/engine_cross", plan, path, pairs, out],
                   check=True)


def test(out):
    base()
    corpus = lines("corpus.jsonl.gz")
    judged = judgements("qrels.test.trec")
    train_qrels = os.path.join(DATA, "scifact/qrels.train.tsv")
    with open(out, "rb") as f:
        name = "cross-" + hashlib.sha256(f.read()).hexdigest()[:8]
    tacit("model", "import", out, "--name", name)
    whole = folder_of("test", corpus, lines("queries.jsonl.gz"), judged)
    print("| found by | nDCG@10 | read again | ms |\n|---|---|---|---|")
    for model in ([], ["--model", "minilm"]):
        words = ["eval", "retrieval", whole, "--train-qrels", train_qrels,
                 *model]
        plain = {m["mode"]: m for m in data(*words)["modes"]}
        for mode, row in plain.items():
            if mode not in ("words", "scores") or (model and mode == "words"):
                continue
            again = data(*words, "--mode", mode, "--reranker", name,
                         "--rerank", "20")["modes"][0]
            by = f"{mode}, {model[1] if model else 'built-in'}"
            print(f"| {by} | {row['ndcg']:.4f} | {again['ndcg']:.4f} | "
                  f"{again['rerank_ms']:.0f} |", flush=True)


def main():
    out = os.path.join(WORK, "cross.gguf")
    os.makedirs(WORK, exist_ok=True)
    if "--train" in sys.argv or not os.path.exists(out):
        train(out)
    if "--no-test" not in sys.argv:
        test(out)


main()
