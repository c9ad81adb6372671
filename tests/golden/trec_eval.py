#!/usr/bin/env python3
"""Writes tests/golden/trec_eval.h: judgements, a run with many ties, and what
trec_eval makes of them, by pytrec_eval-terrier 0.5.11 (PyPI), which
holds its C code.

    python3 tests/golden/trec_eval.py

Queries that the run leaves out count as nothing found there, as `trec_eval -c`
counts them.
"""
import os
import random

import pytrec_eval

r = random.Random(20)
qrels, run = {}, {}
for q in range(9):
    name = f"q{q}"
    docs = [f"d{i}" for i in range(40)]
    qrels[name] = {d: r.choice([-1, 0, 0, 1, 1, 2, 3])
                   for d in r.sample(docs, 15)}
    if q == 3:    # nothing is relevant
        qrels[name] = {d: 0 for d in qrels[name]}
    if q == 7:    # the run leaves it out
        continue
    run[name] = {d: r.randrange(8) / 4 for d in r.sample(docs, 22)}
run["q99"] = {"d1": 1.0}  # nobody judged it

measures = {"ndcg_cut.10": "ndcg", "recall.10": "recall", "P.10": "precision",
            "recip_rank": "mrr", "map": "map", "recall.100": "deep"}
found = pytrec_eval.RelevanceEvaluator(qrels, set(measures)).evaluate(run)


def value(query, measure):
    return found.get(query, {}).get(measure.replace(".", "_"), 0.0)


lines = ["/* Written by tests/golden/trec_eval.py. */",
         "#ifndef TACIT_TESTS_GOLDEN_TREC_EVAL_H",
         "#define TACIT_TESTS_GOLDEN_TREC_EVAL_H", "",
         "static const char trec_qrels[] ="]
for q in sorted(qrels):
    lines += [f'    "{q} 0 {d} {g}\\n"' for d, g in qrels[q].items()]
lines[-1] += ";"
lines.append("static const char trec_run[] =")
for q in sorted(run):
    lines += [f'    "{q} Q0 {d} 0 {s} x\\n"' for d, s in run[q].items()]
lines[-1] += ";"
lines += ["/* nDCG@10, recall@10, P@10, MRR, MAP, recall@100 */",
          "static const struct {", "    const char *query;",
          "    double value[6];", "} trec_wanted[] = {"]
for q in sorted(qrels):
    row = ", ".join(f"{value(q, m):.10f}" for m in measures)
    lines.append(f'    {{"{q}", {{{row}}}}},')
lines += ["};", "", "#endif"]
path = os.path.join(os.path.dirname(__file__), "trec_eval.h")
with open(path, "w", encoding="utf-8") as f:
    f.write("\n".join(lines) + "\n")
