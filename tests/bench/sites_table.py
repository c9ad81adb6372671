#!/usr/bin/env python3
"""One search encoder, many sites: what learning together is worth.

    sites_table.py [--choose|--trial|--newcomer] [--open|--private] [built-in]
                   [minilm] [medquad] [pubmedqa] [key=x]

built-in   the encoder that is part of the program: a matrix that turns the
           questions' vectors is trained (common/model/adapter.h)
minilm     all-MiniLM-L6-v2 in Q8_0 (TACIT_MINILM=FOLDER): the side of the
           questions, by FFA-LoRA pairs (common/model/tuned.h); its first call
           embeds the passages, and without the folder it is left out
medquad    nine sites of the NIH as they are (MedQuAD); the passages are the
           beginnings of the answers
pubmedqa   one journal question and its abstract, dealt out to four sites by the
           year of publication

Trained by all sites together under the protocol's arithmetic, by one that had
all rows, and by all sites together under record-level differential privacy
(epsilon 8, delta 1e-5); with strategy finetune also each site's own model, from
that one with the site's rows ("then its own"), and what the same steps come to
from the untrained one ("each alone"). A fifth of each site's questions is held
out; told is where the answer stands among the site's own passages, and again
among those of all sites: recall@5, and in the mean recall@1 and the reciprocal
place. Gains have the middle 95 % of
10,000 paired draws of the site's questions, with replacement.

--choose holds out a fifth of the training questions instead, runs what stands
in GRID, and names the best numbers; those stand in OPEN and PRIVATE. --trial
holds them out, too, for each site to try what it adopts under privacy by them
(client/trial.h), and says what it then searches with. --newcomer leaves out
each site in turn: what is the others' model worth to it? --open and --private
run one half. A run's lines are kept in TACIT_TABLE_DIR and not made again while
its plan is the same.

Tables go to stdout; whole ones of MedQuAD also to common/model/sites.svg, as
curves. Exits 1 when an expectation does not hold.
"""
import csv
import gzip
import hashlib
import json
import os
import random
import subprocess
import sys

BUILD = os.environ.get("TACIT_BUILD", "build/release")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
WORK = os.environ.get("TACIT_TABLE_DIR", "/tmp/tacit-sites")
PICTURE = "common/model/sites.svg"
WORDS = 100
DRAWS = 10000

BUILT_IN = """model: {{kind: static}}
data: {{source: pairs}}"""
MINILM = """base: {{name: minilm, hash: {hash}}}
adapter: {{kind: ffa, rank: {rank}, targets: [{targets}]}}
data: {{source: pairs, length: 64}}"""
PLAN = """name: sites
task: retriever
{model}
rounds: {rounds}
cohort: {{size: {n}, min_reports: {n}, over_select: 1}}
local: {{steps: {steps}, batch: {batch}, optimizer: adamw,
  learning_rate: {rate}, temperature: {temperature},
  hard_negatives: {hard}{more}}}
weighting: {{by: uniform}}
clip: {clip}
seed: 1
sim: {{clients: {n}, protocol: sum, evaluate_every: 1000}}
"""
PRIVATE_PLAN = """name: sites
task: retriever
{model}
rounds: {rounds}
cohort: {{size: {n}, min_reports: {n}, over_select: 1}}
strategy: {{{strategy}, server_learning_rate: {rate}}}
local: {{batch: {batch}, temperature: {temperature},
  hard_negatives: {hard}{own}}}
privacy: {{unit: record, epsilon: 8, delta: 1e-5, clip: {clip},
  sample: {sample}, retries: 0}}
seed: 1
sim: {{clients: {n}, protocol: sum, evaluate_every: 1000}}
"""
ALL = "q, k, v, output, gate, up, down"
OPEN = {"built-in": {"rounds": 24, "steps": 12, "batch": 256, "rate": 0.002,
                     "hard": 0, "temperature": 0.04, "clip": 10.0, "more": ""},
        "minilm": {"rank": 8, "targets": ALL, "rounds": 12, "steps": 12,
                   "batch": 32, "rate": 0.002, "hard": 4, "temperature": 0.05,
                   "clip": 5.0, "more": ",\n  numbers: fast"}}
# What one place does otherwise: its steps have no others' beside them.
ALONE = {"built-in": {"batch": 1024, "rate": 0.0005, "rounds": 16},
         "minilm": {"batch": 128, "rate": 0.001}}
# A step along the noisy sum as it is: Adam, which makes all coordinates' steps
# alike, gives those that are noise alone as much as any.
OWN = ", steps: 384, optimizer: adamw, learning_rate: 0.001"
PRIVATE = {"built-in": {"strategy": "kind: finetune", "own": OWN, "rounds": 8,
                        "sample": 1.0, "batch": 64, "rate": 2.5, "clip": 1.0,
                        "hard": 32, "temperature": 0.03},
           "minilm": {"strategy": "kind: fedadam, beta2: 0.95, tau: 1e-5",
                      "own": "", "rank": 4, "targets": "q, v", "rounds": 64,
                      "sample": 0.0625, "batch": 100, "rate": 0.002,
                      "clip": 1.0, "hard": 16, "temperature": 0.05}}
# What --choose tries, from those above; the curve of each run also says after
# how many rounds it would have been best.
GRID = {"built-in": {
            "open": [{"batch": n, "rate": 0.003} for n in (32, 64, 128, 256)] +
                    [{}],
            "alone": [{"batch": n, "rate": r, "rounds": 24}
                      for n in (288, 1024) for r in (0.001, 0.0005)],
            "private": [{"strategy": "kind: fedadam, beta2: 0.95, tau: 1e-5",
                         "own": "", "rate": 0.01}] +
                       [{"rate": r, "rounds": n} for r, n in (
                           (1.3, 8), (1.8, 8), (2.5, 8), (3.6, 8), (1.8, 16))]},
        "minilm": {
            "open": [{}, {"rate": 0.001}, {"batch": 64}],
            "alone": [{}, {"batch": 32, "rate": 0.002},
                      {"batch": 32, "rate": 0.0007}],
            "private": [{}, {"rank": 8, "targets": ALL}, {"rate": 0.005},
                        {"rounds": 16, "sample": 0.25, "rate": 0.005},
                        {"rounds": 16, "sample": 0.25, "rank": 8,
                         "targets": ALL}]}}
FULL = 0.97  # a base over this has no three points left
SEARCHED = {"place": "its own passages",
            "among_all": "the passages of all sites"}
TITLES = {"federated": "together", "centralised": "one place",
          "private": "together, ε = 8", "own": "then its own, ε = 8",
          "each": "each alone"}


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
        return None
    os.makedirs(WORK, exist_ok=True)
    if not os.path.exists(os.path.join(WORK, "home", "tacit.db")):
        tacit("init")
    tacit("model", "import", folder, "--name", "minilm", "--type", "q8_0")
    got = json.loads(tacit("model", "show", "minilm", "--json"))["data"]
    return got["path"], got["hash"]


def share(text):
    """0 to 1, of a text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def is_test(question):
    return share("test" + question) < 0.2


def side(question, split):
    chosen = share("choose" + question) < 0.2
    if split == "table" or split == "trial" and not chosen:
        return "test" if is_test(question) else "train"
    if split == "choose" and is_test(question):
        return None
    return "test" if chosen else "train"


def write_documents(folder, texts):
    """Once: those of another state of the collection are not searched with."""
    if not os.path.exists(folder):
        os.makedirs(folder + ".part", exist_ok=True)
        for name, text in texts.items():
            with open(os.path.join(folder + ".part", name), "w",
                      encoding="utf-8") as f:
                f.write(text)
        os.rename(folder + ".part", folder)
    there = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            there[name] = f.read()
    if there != texts:
        sys.exit(f"sites_table: {folder} has other documents than the "
                 "collection; remove it")


def write_site(folder, rows, split):
    """rows: (id, question, passage)."""
    seen, lines, texts = set(), [], {}
    for number, question, passage in rows:
        if question in seen:
            continue
        seen.add(question)
        name = f"{number}.txt"
        texts.setdefault(name, " ".join(passage.split()[:WORDS]) + "\n")
        where = side(question, split)
        if where:
            lines.append((question, name, where))
    write_documents(os.path.join(folder, "documents"), texts)
    path = os.path.join(folder, "questions.csv")
    with open(path, "w", newline="", encoding="utf-8") as f:
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
                (x["id"], x["question"], x["answer"]))
    return {name: sorted(rows) for name, rows in sites.items()}


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


def lay_out(name, sites, split):
    """All splits lie in one folder, so that passages are embedded once: not to
    be laid out twice at once."""
    folder = os.path.join(WORK, name)
    for site, rows in sites.items():
        write_site(os.path.join(folder, site), rows, split)
    return folder


def run(how, text, folder, file, split="table"):
    """The lines of one training, made once."""
    named = f"{how} {folder} {split} {text}"
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


def plan_text(which, half, n, content, given):
    private = half == "private"
    numbers = {**(PRIVATE if private else OPEN)[which],
               **(ALONE[which] if half == "alone" else {}), **given}
    model = BUILT_IN if which == "built-in" else MINILM
    return (PRIVATE_PLAN if private else PLAN).format(
        model=model.format(hash=content, **numbers), n=n, **numbers)


def curve(lines, among):
    """round -> site -> places of the answers among what is searched."""
    rounds = {}
    for x in lines:
        if "site" in x and not x["own"]:
            rounds.setdefault(x["round"], {})[x["site"]] = x[among]
    return rounds


def own(lines, among):
    """site -> places of the answers, of the sites' own models."""
    return {x["site"]: x[among] for x in lines if "site" in x and x["own"]}


MEASURES = {"recall@5": lambda place: place <= 5,
            "recall@1": lambda place: place <= 1,
            "reciprocal": lambda place: 1 / place}


def score(places, measure="recall@5"):
    return 100 * sum(map(MEASURES[measure], places)) / len(places)


def mean(sites, measure="recall@5"):
    return sum(score(x, measure) for x in sites.values()) / len(sites)


def draws(before, after, seed):
    """Gains of recall@5, of questions drawn again."""
    rng = random.Random(seed)
    gain = [(b <= 5) - (a <= 5) for a, b in zip(before, after)]
    return [100 * sum(rng.choices(gain, k=len(gain))) / len(gain)
            for _ in range(DRAWS)]


def middle(values):
    values = sorted(values)
    return (f"[{values[len(values) * 25 // 1000]:+.1f}, "
            f"{values[len(values) * 975 // 1000 - 1]:+.1f}]")


def say_curve(what, lines, among):
    points = ", ".join(f"{r}: {mean(x):.1f}"
                       for r, x in curve(lines, among).items())
    of_own = own(lines, among)
    print(f"{what}, mean after rounds {points}"
          + (f"; own {mean(of_own):.1f}" if of_own else ""))


def say_privacy(lines):
    for x in lines:
        if "noise" in x:
            print(f"  unit record, epsilon {x['epsilon']:.3f} at delta "
                  f"{x['delta']:g}, noise {x['noise']:.3f} times the clip, "
                  f"{x['weights']} weights")


def choose_table(task, sites, halves, given):
    which, name, (file, content) = task
    folder = lay_out(name, sites, "choose")
    for half in GRID[which] if len(halves) == 2 else halves:
        best = (0, None)
        for tried in GRID[which][half]:
            text = plan_text(which, half, len(sites), content,
                             {**given, **tried})
            how = "alone" if half == "alone" else "together"
            lines = run(how, text, folder, file, "choose")
            for among, title in SEARCHED.items():
                say_curve(f"{which} {name} {half} {tried}, {title}", lines,
                          among)
            rounds = {r: sum(mean(curve(lines, a)[r]) for a in SEARCHED) / 2
                      for r in curve(lines, "place") if r}
            # Fewer rounds of a private plan are another plan, of less noise.
            points = list(rounds.items())
            if half == "private":
                points = points[-1:]
            for r, value in points:
                best = max(best, (value, json.dumps({**tried, "rounds": r})))
            sys.stdout.flush()
        print(f"{which} {name} {half}: best {best[0]:.1f} with {best[1]}")


def trial_table(task, sites, given):
    """Each site's best of untrained, shared and own by its own held-out
    questions, of equals the one learnt the longer; measured on the others."""
    which, name, (file, content) = task
    folder = lay_out(name, sites, "trial")
    text = plan_text(which, "private", len(sites), content, given)
    lines = run("together", text, folder, file, "trial")
    rounds = curve(lines, "place")
    models = {"untrained": rounds[0], "shared": rounds[max(rounds)]}
    if own(lines, "place"):
        models["own"] = own(lines, "place")
    total = dict.fromkeys([*models, "searches"], 0)
    print(f"{which} {name}, trial: recall@5 of the others")
    for site, rows in sites.items():
        is_held = [is_test(q) for q in dict.fromkeys(r[1] for r in rows)
                  if side(q, "trial") == "test"]
        tried, held = ({m: [p for p, t in zip(x[site], is_held) if t == want]
                        for m, x in models.items()} for want in (False, True))
        best = max(reversed(models), key=lambda m: score(tried[m]))
        got = {m: score(x) for m, x in held.items()}
        got["searches"] = got[best]
        print(f"  {site}, tried on {len(tried[best])}: "
              + ", ".join(f"{m} {v:.1f}" for m, v in got.items())
              + f" ({best})")
        total = {m: v + got[m] / len(sites) for m, v in total.items()}
    print("  mean: " + ", ".join(f"{m} {v:.1f}" for m, v in total.items()))


def newcomer_table(task, sites, halves, given):
    """For each site, the model that the others made without it."""
    which, name, (file, content) = task
    folder = lay_out(name, sites, "table")
    got = {"private" if half == "private" else "federated":
           run("without", plan_text(which, half, len(sites), content, given),
               folder, file) for half in halves}
    for among, title in SEARCHED.items():
        curves = [curve(lines, among) for lines in got.values()]
        last = {c: x[max(x)] for c, x in zip(got, curves)}
        print(f"\n{which} encoder, {name}: what the others' model is worth to "
              f"a site, over {title}\n")
        print_table(curves[0][0], last, dict.fromkeys(sites, 0))


def rows_of(first, last, trained):
    """Lines of the table, and draws of each column's mean gain."""
    sums = {c: [0.0] * DRAWS for c in last}
    for site, before in first.items():
        cells = []
        for c in last:
            got = draws(before, last[c][site], site)
            sums[c] = [s + g / len(first) for s, g in zip(sums[c], got)]
            gain = score(last[c][site]) - score(before)
            cells += [f"{score(last[c][site]):.1f}",
                      f"{gain:+.1f} {middle(got)}"]
        print(f"| {site} | {trained[site]} | {len(before)} | "
              f"{score(before):.1f} | {' | '.join(cells)} |")
    return sums


def print_table(first, last, trained):
    heads = [w for c in last for w in (TITLES[c], "gain")]
    print(f"| site | train | held out | base | {' | '.join(heads)} |\n"
          + "|---" * (4 + len(heads)) + "|")
    sums = rows_of(first, last, trained)
    print(f"| mean | | | {mean(first):.1f} | " + " | ".join(
        f"{mean(x):.1f} | {mean(x) - mean(first):+.1f} {middle(sums[c])}"
        for c, x in last.items()) + " |\n")
    print(f"| mean | base | {' | '.join(TITLES[c] for c in last)} |\n"
          + "|---" * (2 + len(last)) + "|")
    for m in MEASURES:
        print(f"| {m} | {mean(first, m):.1f} | "
              + " | ".join(f"{mean(x, m):.1f}" for x in last.values()) + " |")


def expectations(first, last):
    if "federated" not in last:
        return []
    low = [s for s, x in first.items() if score(x) <= 100 * FULL]
    least = {c: min((score(x[s]) - score(first[s]) for s in low), default=3)
             for c, x in last.items()}
    checks = [("together 3 points over the base at every site that has them "
               "left", least["federated"] >= 3),
              ("together within 1 point of one place, in the mean",
               mean(last["federated"]) >= mean(last["centralised"]) - 1)]
    if "own" in last:
        checks += [("at epsilon 8 its own 3 points over the base at every site "
                    "that has them left", least["own"] >= 3),
                   ("at epsilon 8 its own within 1 point of one place, in the "
                    "mean",
                    mean(last["own"]) >= mean(last["centralised"]) - 1)]
    if "private" in last:
        checks += [("at epsilon 8 within 3 points of one place, in the mean",
                    mean(last["private"]) >= mean(last["centralised"]) - 3)]
    return checks


def columns(got, among):
    """Places at the start, and at each column's end."""
    curves = {c: curve(lines, among) for c, lines in got.items()
              if c != "each"}
    last = {c: x[max(x)] for c, x in curves.items()}
    if "each" in got:
        last["own"] = own(got["private"], among)
        last["each"] = own(got["each"], among)
    return next(iter(curves.values()))[0], last, curves


def trained(task, sites, halves, given):
    """column -> lines of its training."""
    which, name, (file, content) = task
    folder = lay_out(name, sites, "table")
    got = {}
    for half, column, how in (("open", "federated", "together"),
                              ("alone", "centralised", "alone"),
                              ("private", "private", "together")):
        if (half if half != "alone" else "open") not in halves:
            continue
        text = plan_text(which, half, len(sites), content, given)
        got[column] = run(how, text, folder, file)
    if "private" in got and own(got["private"], "place"):
        got["each"] = run("each", text, folder, file)
    return got


def table(task, sites, halves, given):
    """What is searched -> the expectations, and the curves."""
    which, name, _ = task
    got = trained(task, sites, halves, given)
    n_train = {x["site"]: x["n_train"] for x in next(iter(got.values()))
               if "site" in x}
    out = {}
    for among, title in SEARCHED.items():
        first, last, curves = columns(got, among)
        print(f"\n{which} encoder, {name}: {len(first)} sites, each over "
              f"{title}\n")
        print_table(first, last, n_train)
        for c in curves:
            say_curve(TITLES[c], got[c], among)
        say_privacy(got.get("private", []))
        out[among] = expectations(first, last), curves
    return out


# ---- the picture -----------------------------------------------------------

STROKES = {"federated": "#0b6e4f", "centralised": "#33415c",
           "private": "#b23a48"}
DASHES = {"federated": "none", "centralised": "7 4", "private": "2 3"}
PANEL, HIGH, LEFT, TOP = 420, 240, 56, 56


def panel(out, x0, y0, title, curves):
    """One table's curves: the mean recall@5 over the share of the rounds."""
    points = {c: [(r / max(x), mean(s)) for r, s in x.items()]
              for c, x in curves.items()}
    values = [v for p in points.values() for _, v in p]
    low, high = min(values) // 2 * 2, max(values) // 2 * 2 + 2

    def at(share, value):
        return (x0 + LEFT + share * (PANEL - LEFT - 16),
                y0 + TOP + HIGH * (high - value) / (high - low))

    def text(x, y, what, anchor="middle"):
        out.append(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" '
                   f'fill="#222">{what}</text>')

    text(x0 + LEFT, y0 + 38, title, "start")
    value = low
    while value <= high:
        (x, y), (end, _) = at(0, value), at(1, value)
        out.append(f'<path d="M{x:.0f} {y:.1f}H{end:.0f}" stroke="#ddd"/>')
        text(x - 8, y + 4, f"{value:.0f}", "end")
        value += 2
    for k, (c, p) in enumerate(points.items()):
        line = "L".join("{:.1f} {:.1f}".format(*at(*q)) for q in p)
        style = (f'stroke="{STROKES[c]}" stroke-width="2" '
                 f'stroke-dasharray="{DASHES[c]}"')
        y = y0 + TOP + HIGH + 44 + 18 * k
        out.append(f'<path d="M{line}" fill="none" {style}/>')
        out.append(f'<path d="M{x0 + LEFT} {y - 4}h28" {style}/>')
        text(x0 + LEFT + 36, y, f"{TITLES[c]}: {p[0][1]:.1f} to {p[-1][1]:.1f} "
             f"in {max(curves[c])} rounds", "start")
    text(*[v + d for v, d in zip(at(0, low), (0, 18))], "0")
    text(*[v + d for v, d in zip(at(1, low), (0, 18))], "all rounds", "end")


def picture(panels, path):
    tall = TOP + HIGH + 96
    wide, high = 2 * PANEL, tall * ((len(panels) + 1) // 2)
    title = "Recall@5 of held-out questions over the rounds, mean of the sites"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" '
           f'height="{high}" role="img" font-family="sans-serif" '
           'font-size="12">', f"<title>{title}</title>",
           '<rect width="100%" height="100%" fill="#fff"/>',
           '<text x="8" y="18" fill="#222">recall@5 over the rounds, mean of '
           'the sites, per cent</text>']
    for i, (what, curves) in enumerate(panels.items()):
        panel(out, i % 2 * PANEL, i // 2 * tall, what, curves)
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n</svg>\n")


def asked(words, known):
    return [k for k in known if k in words] or list(known)


def main():
    words = sys.argv[1:]
    given = {}
    for word in words:
        key, _, value = word.partition("=")
        if value:
            given[key] = type({**OPEN["minilm"], **PRIVATE["minilm"]}[key])(
                value)
    halves = [h for h in ("open", "private")
              if "--open" not in words and "--private" not in words
              or f"--{h}" in words]
    known = {"medquad": medquad, "pubmedqa": pubmedqa}
    failed, panels = False, {}
    os.makedirs(WORK, exist_ok=True)
    for which in asked(words, OPEN):
        files = ("-", "") if which == "built-in" else base()
        if not files:
            print("sites_table: TACIT_MINILM=FOLDER names no model; left out")
            continue
        for name in asked(words, known):
            task = which, name, files
            if "--choose" in words:
                choose_table(task, known[name](), halves, given)
                continue
            if "--trial" in words:
                trial_table(task, known[name](), given)
                continue
            if "--newcomer" in words:
                newcomer_table(task, known[name](), halves, given)
                continue
            tables = table(task, known[name](), halves, given)
            for among, (checks, curves) in tables.items():
                for what, holds in checks:
                    print(f"  {'holds' if holds else 'FAILS'}: {what}, over "
                          f"{SEARCHED[among]}", flush=True)
                    failed |= not holds
                if name == "medquad" and len(halves) == 2 and not given:
                    panels[f"{which} encoder, over {SEARCHED[among]}"] = curves
    if panels:
        picture(panels, PICTURE)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
