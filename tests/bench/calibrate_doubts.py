#!/usr/bin/env python3
"""Fits the weights of retrieval/doubt.c and writes retrieval/doubt_weights.h.

    make benches && python3 tests/bench/calibrate_doubts.py

Rows: SQuAD 2.0's dev questions of the articles that also fit the spans
(bench_spans: two in three of SQuAD 1.1's, by title); on the others nothing is
fitted, and `make bench BENCH=answers_quality` measures there. A logistic
regression by Newton's method with a little decay. Needs NumPy.
"""
import gzip
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

BUILD = os.environ.get("TACIT_BUILD", "build/release")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
DECAY = 1e-3


def articles():
    """(fitted, held out), as bench_spans parts them."""
    with gzip.open(os.path.join(DATA, "squad/dev-v1.1.rebuilt.json.gz"), "rt",
                   encoding="utf-8") as f:
        titles = sorted((a["title"] for a in json.load(f)["data"]),
                        key=lambda t: t.encode())
    held = set(titles[::3])
    with gzip.open(os.path.join(DATA, "squad/dev-v2.0.rebuilt.json.gz"), "rt",
                   encoding="utf-8") as f:
        data = json.load(f)["data"]
    return ([a for a in data if a["title"] not in held],
            [a for a in data if a["title"] in held])


def rows(data):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"data": data}, f)
        f.flush()
        out = subprocess.run([f"{BUILD}/bench/bench_spans", "--doubts",
                              f.name], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    table = np.array([line.split("\t") for line in out.splitlines()], float)
    return table[:, 1:], table[:, 0] > 0


def fit(x, y):
    x = np.c_[x, np.ones(len(x))]
    w = np.zeros(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (p - y) / len(y) + DECAY * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(y)
        w -= np.linalg.solve(hessian + DECAY * np.eye(len(w)), gradient)
    return w


def auroc(score, y):
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    n = y.sum()
    return (rank[y].sum() - n * (n + 1) / 2) / (n * (len(y) - n))


def main():
    fitted, held = articles()
    x, y = rows(fitted)
    mean, sd = x.mean(0), x.std(0) + 1e-9
    w = fit((x - mean) / sd, y)
    w = np.r_[w[:-1] / sd, w[-1] - (w[:-1] * mean / sd).sum()]
    print(f"# {len(y)} questions, AUROC {auroc(x @ w[:-1], y):.3f}",
          file=sys.stderr)
    if "--held-out" in sys.argv:
        x, y = rows(held)
        print(f"# held out: {len(y)}, AUROC {auroc(x @ w[:-1], y):.3f}",
              file=sys.stderr)
    with open("retrieval/doubt_weights.h", "w", encoding="utf-8") as f:
        f.write("/* Written by tests/bench/calibrate_doubts.py. */\n"
                "#ifndef TACIT_RETRIEVAL_DOUBT_WEIGHTS_H\n"
                "#define TACIT_RETRIEVAL_DOUBT_WEIGHTS_H\n\n"
                "/* The last stands alone. */\n"
                f"static const double doubt_weights[{len(w)}] = {{\n    ")
        f.write(", ".join(f"{a:.3f}" for a in w))
        f.write(",\n};\n\n#endif\n")
    subprocess.run(["clang-format", "-i", "retrieval/doubt_weights.h"],
                   check=True)


if __name__ == "__main__":
    main()
