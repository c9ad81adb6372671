#!/usr/bin/env python3
"""Chooses PLAIN_SHARE of retrieval/search.c: what the vectors count beside the
words before a weight is learnt.

    make && python3 tests/bench/calibrate_weight.py

Queries: those that bench_retrieval.py learns from and does not measure
(SciFact's training claims, every other query of Cranfield, 1,000 of MedQuAD).
Of the weights whose mean loss of nDCG@10 against words alone is within its
standard error on every collection, the one with the least worst loss, counted
in standard errors. Some minutes a weight.
"""
import os
import statistics
import tempfile

import bench_retrieval as quality

WEIGHTS = (0.06, 0.15, 0.3, 0.4, 0.5, 0.6)


def ndcg(folder, mode, *more):
    data = quality.tacit("eval", "retrieval", folder, "--split", "train",
                         "--mode", mode, "--per-query", *more)
    return {r["query"]: r["ndcg"] for r in data["modes"][0]["per_query"]}


def gain(folder, words, weight):
    """Mean gain over the words, and in standard errors."""
    ours = ndcg(folder, "scores", "--weight", str(weight))
    gains = [ours[q] - words[q] for q in words]
    error = statistics.stdev(gains) / len(gains) ** 0.5
    mean = statistics.fmean(gains)
    return mean, mean / error if error else 0


def main():
    worst = dict.fromkeys(WEIGHTS, float("inf"))
    for name in ("scifact", "cranfield", "medquad"):
        with tempfile.TemporaryDirectory(prefix="tacit-weight-") as folder:
            if name == "medquad":
                quality.known_items(folder)
            else:
                quality.collection(name, folder)
            words = ndcg(folder, "words")
            for w in WEIGHTS:
                mean, in_errors = gain(folder, words, w)
                worst[w] = min(worst[w], in_errors)
                print(f"{name}: weight {w:.2f}: {mean:+.4f}, "
                      f"{in_errors:+.1f} standard errors", flush=True)
    best = max(WEIGHTS, key=worst.get)
    print(f"weight {best}: at worst {worst[best]:+.1f} standard errors"
          if worst[best] >= -1 else "no weight: words alone")


if __name__ == "__main__":
    main()
