#!/usr/bin/env python3
"""How good search and answers are on public collections (shared test data).

  retrieval_quality   nDCG@10 of tacit eval retrieval: SciFact (300 claims),
                      Cranfield (225), MEDLARS (30), MedQuAD known-item (1,000
                      questions drawn from a seed; the right document is the
                      answer the question was asked with). The weight of the
                      vectors is learnt on SciFact's training claims, on every
                      other query of Cranfield and on 1,000 more of MedQuAD,
                      which are then not measured; MEDLARS, too small to learn
                      from, takes SciFact's.
  answers_quality     tacit eval answers: SQuAD 2.0's dev questions on the
                      articles that did not fit the reader (calibrate_spans.py),
                      asked of their own paragraph

Data that is missing is skipped with a line on stderr. A published figure for
FTS5 stands as the peer of the words alone (castorini/quackir for SciFact).
"""
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile

BUILD = os.environ.get("TACIT_BUILD", "build/release")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
PUBLISHED = {"scifact": ("FTS5, published", 0.6862)}
SEED, KNOWN_ITEMS = 7, 1000
SCIFACT_WEIGHT = 0.58  # as the first lines show it


def line(bench, case, value, unit="share", peer=None):
    print(json.dumps({
        "bench": bench, "case": case, "value": round(value, 4), "unit": unit,
        "peer": peer and peer[0], "peer_value": peer and peer[1],
        "ratio": peer and round(value / peer[1], 4), "limit": None}),
        flush=True)


def tacit(*words):
    out = subprocess.run([f"{BUILD}/bin/tacit", *words, "--json"],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out)["data"]


def unpack(name, to):
    with gzip.open(os.path.join(DATA, name), "rb") as f, open(to, "wb") as g:
        g.write(f.read())


def write_qrels(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        f.write("query-id\tcorpus-id\tscore\n")
        f.writelines(f"{q}\t{d}\t{g}\n" for q, d, g in rows)


def collection(name, folder):
    """A BEIR folder with train and test judgements, or None."""
    os.makedirs(os.path.join(folder, "qrels"))
    for part in ("corpus.jsonl", "queries.jsonl"):
        unpack(f"{name}/{part}.gz", os.path.join(folder, part))
    test = os.path.join(folder, "qrels/test.tsv")
    train = os.path.join(folder, "qrels/train.tsv")
    if name == "scifact":
        for source, to in (("qrels.test.trec", test),
                           ("qrels.train.tsv", train)):
            with open(os.path.join(DATA, name, source), "rb") as f, \
                    open(to, "wb") as g:
                g.write(f.read())
        return
    # Cranfield's grades fall: 1 is a complete answer, 4 of minimal interest.
    with open(os.path.join(DATA, name, "qrels.trec"), encoding="utf-8") as f:
        rows = [(r[0], r[2], int(1 <= int(r[3]) <= 4))
                for r in map(str.split, f)]
    order = sorted({r[0] for r in rows}, key=lambda q: (len(q), q))
    odd = set(order[::2])
    write_qrels(train, [r for r in rows if r[0] in odd])
    write_qrels(test, [r for r in rows if r[0] not in odd])
    write_qrels(os.path.join(folder, "qrels/all.tsv"), rows)


def known_items(folder):
    """MedQuAD: a question's own answer is what must be found."""
    os.makedirs(os.path.join(folder, "qrels"))
    with gzip.open(os.path.join(DATA, "medquad/medquad.jsonl.gz"), "rt",
                   encoding="utf-8") as f:
        rows = [json.loads(text) for text in f]
    with open(os.path.join(folder, "corpus.jsonl"), "w",
              encoding="utf-8") as f:
        for i, r in enumerate(rows):
            f.write(json.dumps({"_id": str(i), "title": "",
                                "text": r["answer"]}) + "\n")
    picked = random.Random(SEED).sample(range(len(rows)), 2 * KNOWN_ITEMS)
    with open(os.path.join(folder, "queries.jsonl"), "w",
              encoding="utf-8") as f:
        for i in picked:
            f.write(json.dumps({"_id": str(i),
                                "text": rows[i]["question"]}) + "\n")
    write_qrels(os.path.join(folder, "qrels/test.tsv"),
                [(i, i, 1) for i in picked[:KNOWN_ITEMS]])
    write_qrels(os.path.join(folder, "qrels/train.tsv"),
                [(i, i, 1) for i in picked[KNOWN_ITEMS:]])


def measure(name, folder):
    if os.path.exists(os.path.join(folder, "qrels/all.tsv")):
        data = tacit("eval", "retrieval", folder, "--split", "all", "--weight",
                     str(SCIFACT_WEIGHT))
        for mode in data["modes"]:
            what = mode["mode"]
            if what == "scores":
                what += " (SciFact's weight)"
            line("retrieval_quality", f"{name}, all {data['queries']} queries, "
                 f"{what}: nDCG@10", mode["ndcg"])
    if name == "medlars":
        return
    data = tacit("eval", "retrieval", folder, "--train-qrels",
                 os.path.join(folder, "qrels/train.tsv"))
    for mode in data["modes"]:
        what = mode["mode"]
        if what == "scores":
            what += f" (weight of the vectors {data['weight']:.2f})"
        peer = PUBLISHED.get(name) if mode["mode"] == "words" else None
        line("retrieval_quality", f"{name}, {data['queries']} queries, {what}: "
             "nDCG@10", mode["ndcg"], peer=peer)


def retrieval():
    for name, make in (("scifact", collection), ("cranfield", collection),
                       ("medlars", collection), ("medquad", None)):
        if not os.path.isdir(os.path.join(DATA, name)):
            print(f"# retrieval_quality: {name} is not here", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="tacit-quality-") as folder:
            if make:
                make(name, folder)
            else:
                known_items(folder)
            measure(name, folder)


def answers():
    path = os.path.join(DATA, "squad/dev-v2.0.rebuilt.json.gz")
    fitted = os.path.join(DATA, "squad/dev-v1.1.rebuilt.json.gz")
    if not (os.path.exists(path) and os.path.exists(fitted)):
        print("# answers_quality: squad is not here", file=sys.stderr)
        return
    with gzip.open(fitted, "rt", encoding="utf-8") as f:
        titles = sorted((a["title"] for a in json.load(f)["data"]),
                        key=lambda t: t.encode())
    held = set(titles[::3])
    with gzip.open(path, "rt", encoding="utf-8") as f:
        data = json.load(f)
    data["data"] = [a for a in data["data"] if a["title"] in held]
    with tempfile.TemporaryDirectory(prefix="tacit-quality-") as folder:
        to = os.path.join(folder, "squad.json")
        with open(to, "w", encoding="utf-8") as f:
            json.dump(data, f)
        found = tacit("eval", "answers", to)
    case = f"SQuAD 2.0, {len(data['data'])} held-out articles, "
    here = found["operating_point"]
    line("answers_quality", case + "answerable, never refusing: exact",
         found["exact_answerable"])
    line("answers_quality", case + "answerable, never refusing: F1",
         found["f1_answerable"])
    line("answers_quality", case + "confidence: AUROC", found["auroc"])
    for name in ("coverage", "refusal_precision", "refusal_recall",
                 "citation_precision"):
        line("answers_quality", case + f"threshold {here['threshold']}: {name}",
             here[name])
    for p in found["curve"]:
        line("answers_quality", case + f"coverage {p['coverage']:.2f} "
             f"(threshold {p['threshold']:.3f}): refusal recall",
             p["refusal_recall"])
        line("answers_quality", case + f"coverage {p['coverage']:.2f} "
             f"(threshold {p['threshold']:.3f}): risk", p["risk"])


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    if wanted in (None, "retrieval_quality"):
        retrieval()
    if wanted in (None, "answers_quality"):
        answers()


if __name__ == "__main__":
    main()
