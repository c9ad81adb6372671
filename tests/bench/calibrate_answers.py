#!/usr/bin/env python3
"""Fits the constants of retrieval/relevance.c and prints them.

    make benches && python3 tests/bench/calibrate_answers.py

Only rows marked train are used. The training questions of each simulated site
are cut into 5 folds (row number mod 5); each fold is asked with the adapter
that the other four train (sims/clinic/retriever.yaml, its seed 7), because an
adapter knows the questions it was trained on. Section headings are asked, too,
as those do who know their documents; they weigh less. Nothing here is random
but the fleet's seed.

How far a passage that is about a question answers it, is fitted elsewhere
(calibrate_doubts.py) and taken as it is.

The regression is over the best passage of each question, "best" by the
constants themselves, so it is repeated until they settle. The threshold lets
the same share of unanswerable questions through with and without an adapter:
ADAPTED_OFFSET moves the former to the latter.
"""
import csv
import math
import os
import subprocess
import sys
import tempfile

BUILD = os.environ.get("TACIT_BUILD", "build/release")
CLINIC = "sims/clinic"
SITES = ("harbour", "hillcrest", "lakeside", "northgate")
FOLDS = 5
HEADING_WEIGHT = 0.3     # of a heading beside a question
LET_THROUGH = 0.05       # of the questions that nothing answers
START = [10.0, 6.0, 10.0, 6.0, -5.0]
REPEATS = 12
RIDGE = 1e-4


def train_rows(site):
    with open(f"{CLINIC}/{site}/questions.csv", newline="",
              encoding="utf-8") as f:
        return [r for r in csv.DictReader(f) if r["split"] == "train"]


def write_fold(folder, fold):
    """Sites whose `test` rows are this fold. Returns the headings asked."""
    headings = set()
    for site in SITES:
        home = os.path.join(folder, site)
        os.makedirs(home)
        os.symlink(os.path.abspath(f"{CLINIC}/{site}/documents"),
                   os.path.join(home, "documents"))
        rows = train_rows(site)
        for i, row in enumerate(rows):
            row["split"] = "test" if i % FOLDS == fold else "train"
        seen = sorted({(r["document"], r["heading"]) for r in rows})
        for document, heading in seen[fold::FOLDS]:
            rows.append({"question": heading, "document": document,
                         "heading": heading, "split": "test"})
            headings.add((site, sum(r["split"] == "test" for r in rows) - 1))
        with open(os.path.join(home, "questions.csv"), "w", newline="",
                  encoding="utf-8") as f:
            w = csv.DictWriter(f, rows[0].keys(), lineterminator="\n")
            w.writeheader()
            w.writerows(rows)
    return headings


def read_fold(folder, headings):
    """Per question (wanted, weight, [(features, right, answers)], adapted)."""
    out = subprocess.run([f"{BUILD}/bench/bench_answers", "--features",
                          folder], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    questions = {}
    for line in out.splitlines():
        site, kind, number, right, answers, *x = line.split("\t")
        passages = questions.setdefault((site, kind, number), [])
        passages.append((tuple(map(float, x)), right == "1", float(answers)))
    result = []
    for (site, kind, number), passages in questions.items():
        n = int(number.removeprefix("adapted").removeprefix("plain"))
        weight = HEADING_WEIGHT if (site, n) in headings else 1.0
        result.append((kind == "asked", weight if kind == "asked" else 1.0,
                       passages, number.startswith("adapted")))
    return result


def log_odds(w, x):
    return sum(a * b for a, b in zip(w, x)) + w[-1]


def best(w, passages):
    return max(passages, key=lambda p: log_odds(w, p[0]))


def chance(odds):
    return 1 / (1 + math.exp(-max(-700, min(700, odds))))


def confidence(w, passages, offset=0.0):
    """As relevance.c has it, of the passage that comes first."""
    first = max(((log_odds(w, p[0]) + offset, p[2]) for p in passages),
                key=lambda p: p[0] + math.log(p[1]))
    return chance(first[0]) * first[1]


def solve(a, b):
    """Gaussian elimination with pivots, in place."""
    n = len(b)
    for i in range(n):
        k = max(range(i, n), key=lambda r: abs(a[r][i]))
        a[i], a[k], b[i], b[k] = a[k], a[i], b[k], b[i]
        for r in range(i + 1, n):
            f = a[r][i] / a[i][i]
            b[r] -= f * b[i]
            a[r] = [x - f * y for x, y in zip(a[r], a[i])]
    for i in reversed(range(n)):
        b[i] = (b[i] - sum(a[i][j] * b[j] for j in range(i + 1, n))) / a[i][i]
    return b


def loss(rows, total, w):
    """What regress() makes small: cross-entropy, both sides alike, and a
    little of the slopes' squares."""
    sum_ = RIDGE / 2 * sum(v * v for v in w)
    for x, wanted, weight in rows:
        z = log_odds(w, x)
        z = -z if wanted else z
        sum_ += weight / total[wanted] / 2 * (
            max(0.0, z) + math.log1p(math.exp(-abs(z))))
    return sum_


def regress(rows, w):
    """Newton's method, its steps halved until they help; rows are (features,
    wanted, weight)."""
    total = {y: sum(r[2] for r in rows if r[1] == y) for y in (True, False)}
    for _ in range(50):
        gradient = [RIDGE * v for v in w]
        hessian = [[RIDGE * (i == j) for j in range(len(w))]
                   for i in range(len(w))]
        for x, wanted, weight in rows:
            share = weight / total[wanted] / 2
            p = 1 / (1 + math.exp(-max(-30, min(30, log_odds(w, x)))))
            z = (*x, 1.0)
            for i, zi in enumerate(z):
                gradient[i] += share * (p - wanted) * zi
                for j, zj in enumerate(z):
                    hessian[i][j] += share * p * (1 - p) * zi * zj
        step = solve(hessian, gradient)
        before, by = loss(rows, total, w), 1.0
        while by > 1e-6 and loss(rows, total, [
                a - by * b for a, b in zip(w, step)]) > before:
            by /= 2
        w = [a - by * b for a, b in zip(w, step)]
        if by * max(map(abs, step)) < 1e-6:
            break
    return w


def let_through(questions, w, adapted, offset):
    """The confidence that LET_THROUGH of the unanswerable ones reach."""
    of = sorted(confidence(w, p, offset) for y, _, p, a in questions
                if not y and a == adapted)
    return of[int((1 - LET_THROUGH) * len(of))]


def limits(questions, w):
    """The threshold, and the offset with which it holds with an adapter."""
    threshold = let_through(questions, w, False, 0.0)
    low, high = -5.0, 5.0
    for _ in range(30):
        offset = (low + high) / 2
        if let_through(questions, w, True, offset) > threshold:
            high = offset
        else:
            low = offset
    return threshold, low


def main():
    questions = []
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory(prefix="tacit-answers-") as folder:
            questions += read_fold(folder, write_fold(folder, fold))
    print(f"# {len(questions)} questions", file=sys.stderr)
    w = START
    for _ in range(REPEATS):
        rows = []
        for wanted, weight, passages, _ in questions:
            x, right, _ = best(w, passages)
            if right:  # a wrong passage teaches nothing
                rows.append((x, wanted, weight))
        w = regress(rows, w)
    threshold, offset = limits(questions, w)
    for name, value in zip(("SENTENCE_SLOPE", "PASSAGE_SLOPE", "COSINE_SLOPE",
                            "GAIN_SLOPE", "OFFSET"), w):
        print(f"#define {name} {value:.2f}")
    print(f"#define ADAPTED_OFFSET {offset:.2f}")
    print(f"#define RELEVANCE_THRESHOLD {threshold:.2f}")


if __name__ == "__main__":
    main()
