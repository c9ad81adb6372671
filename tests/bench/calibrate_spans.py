#!/usr/bin/env python3
"""Fits the weights of retrieval/span.c and writes retrieval/span_weights.h.

    make benches && python3 tests/bench/calibrate_spans.py

Rows: SQuAD 1.1's dev questions of two articles in three (bench_spans says
which); the others are measured by `make bench BENCH=span_f1`. Per question the
candidates of the sentence that holds an answer; the loss is minus the log of
the chance that the softmax gives to the right ones, with a little decay, and is
brought down by full-batch gradient steps (Adam). Needs NumPy.

SPAN_CHANCE_MIN is the chance under which the best candidate is right less than
one time in five.
"""
import os
import subprocess
import sys

import numpy as np

BUILD = os.environ.get("TACIT_BUILD", "build/release")
N = 60
STEPS, RATE, DECAY = 150, 0.1, 1e-4
RIGHT_MIN = 0.2


def rows():
    run = subprocess.Popen([f"{BUILD}/bench/bench_spans", "--features"],
                           stdout=subprocess.PIPE, text=True)
    last, starts, gold, index, column, value = None, [], [], [], [], []
    for line in run.stdout:
        question, right, *x = line.split()
        if question != last:
            starts.append(len(gold))
            last = question
        for cell in x:
            f, v = cell.split(":")
            index.append(len(gold))
            column.append(int(f))
            value.append(float(v))
        gold.append(right == "1")
    if run.wait() != 0 or not gold:
        sys.exit("bench_spans gave no rows")
    x = np.zeros((len(gold), N), np.float32)
    x[index, column] = value
    return x, np.array(gold), np.array(starts)


def chances(score, starts, owner):
    score = score - np.maximum.reduceat(score, starts)[owner]
    p = np.exp(score)
    return p / np.add.reduceat(p, starts)[owner]


def main():
    x, gold, starts = rows()
    owner = np.zeros(len(gold), int)
    owner[starts[1:]] = 1
    owner = np.cumsum(owner)
    w, m, v = np.zeros((3, N), np.float32)
    for step in range(1, STEPS + 1):
        p = chances(x @ w, starts, owner)
        if step % 25 == 0:
            print(f"# step {step}", file=sys.stderr)
        right = np.add.reduceat(np.where(gold, p, 0), starts)
        g = p - np.where(gold, p, 0) / np.maximum(right, 1e-12)[owner]
        g = g.astype(np.float32)
        gradient = x.T @ g / len(starts) + DECAY * w
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        w = w - (RATE * (m / (1 - 0.9**step)) /
              (np.sqrt(v / (1 - 0.999**step)) + 1e-8)).astype(np.float32)
    p = chances(x @ w, starts, owner)
    best = np.maximum.reduceat(p, starts)
    first = np.array([s + np.argmax(p[s:e]) for s, e in
                      zip(starts, [*starts[1:], len(p)])])
    hit = gold[first]
    order = np.argsort(best)
    limit, window = 0.0, max(1, len(order) // 20)
    for i in range(0, len(order) - window, window):
        if hit[order[i:i + window]].mean() >= RIGHT_MIN:
            break
        limit = best[order[i + window]]
    print(f"# {len(starts)} questions, exact {hit.mean():.3f}, chance at least "
          f"{limit:.2f}", file=sys.stderr)
    with open("retrieval/span_weights.h", "w", encoding="utf-8") as f:
        f.write("/* Written by tests/bench/calibrate_spans.py. */\n"
                "#ifndef TACIT_RETRIEVAL_SPAN_WEIGHTS_H\n"
                "#define TACIT_RETRIEVAL_SPAN_WEIGHTS_H\n\n"
                f"#define SPAN_CHANCE_MIN {limit:.2f}\n\n"
                f"static const double span_weights[{N}] = {{\n    ")
        f.write(", ".join(f"{a:.3f}" for a in w))
        f.write(",\n};\n\n#endif\n")
    subprocess.run(["clang-format", "-i", "retrieval/span_weights.h"],
                   check=True)


if __name__ == "__main__":
    main()
