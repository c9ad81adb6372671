#!/usr/bin/env python3
"""Forward passes beside gradients: bytes of a round and the loss after it.

    mezo_table.py [ROUNDS]

stories260K, a small Llama, goes on with questions of three of MedQuAD's sites,
200 each: by pairs of rank 4 that travel (FFA-LoRA), and along directions that
only have numbers to send, of the same pairs and of the whole network. The loss
is that of the batches of a round's local training. A table goes to stdout.
TACIT_CASE=word runs only the rows whose name holds the word.
"""
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile

BUILD = os.environ.get("TACIT_BUILD", "build/release")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
SITES = ("CancerGov", "SeniorHealth", "CDC")
PLAN = """name: thin
task: lm
base: {{name: stories, hash: {hash}}}
adapter: {adapter}
data: {{source: texts, length: 40, holdout: 0.2}}
rounds: {rounds}
cohort: {{size: 3, min_reports: 3, over_select: 1}}
local: {{batch: 16, {local}}}
weighting: {{by: uniform}}
clip: {clip}
seed: 1
sim: {{clients: 3, protocol: sum, evaluate_every: 1000}}
"""
PAIRS = "{kind: ffa, rank: 4}"
WAYS = (
    ("FFA-LoRA, 10 steps of AdamW", PAIRS, 20,
     "optimizer: adamw, learning_rate: 0.01, steps: 10"),
    ("its pairs, 256 directions, 100 steps", PAIRS, 1,
     "optimizer: mezo, learning_rate: 0.0002, seeds: 256, steps: 100"),
    ("its pairs, 1,024 directions, 100 steps", PAIRS, 1,
     "optimizer: mezo, learning_rate: 0.0002, seeds: 1024, steps: 100"),
    ("all of it, 1,024 directions, 100 steps", "{kind: full}", 0.1,
     "optimizer: mezo, learning_rate: 0.000002, seeds: 1024, steps: 100"),
)


def tool(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True,
                          timeout=3600).stdout


def write_sites(at):
    rows = {site: [] for site in SITES}
    with gzip.open(f"{DATA}/medquad/medquad.jsonl.gz", "rt",
                   encoding="utf-8") as f:
        for line in f:
            x = json.loads(line)
            site = x["source"].split("_")[1]
            if site in rows and len(rows[site]) < 200:
                rows[site].append(x["question"])
    os.makedirs(at)
    for site, questions in rows.items():
        with open(os.path.join(at, site + ".csv"), "w", newline="",
                  encoding="utf-8") as f:
            csv.writer(f).writerows([["text"], *([q] for q in questions)])


def points(rounds):
    return sorted({0, rounds // 4, rounds // 2, 3 * rounds // 4, rounds - 1})


def run(way, base, at, rounds):
    name, adapter, clip, local = way
    plan, out = os.path.join(at, "plan.yaml"), os.path.join(at, "out")
    with open(plan, "w", encoding="utf-8") as f:
        f.write(PLAN.format(hash=base["hash"], adapter=adapter, rounds=rounds,
                            local=local, clip=clip))
    before = os.times().children_user
    tool("rm", "-rf", out)
    tool(f"{BUILD}/bin/tacit-sim", "run", plan, "--base", base["path"],
         "--data", os.path.join(at, "sites"), "-q", "-t", "1", "-o", out)
    seconds = os.times().children_user - before
    with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as f:
        loss = [x["loss_before"] for x in map(json.loads, f)
                if "loss_before" in x]
    with open(os.path.join(out, "model.safetensors"), "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(size))
    header.pop("__metadata__", None)
    n = sum(x["data_offsets"][1] - x["data_offsets"][0]
            for x in header.values()) // 4
    # What rides with an update: two counts, seven metrics, four checks.
    print(f"| {name} | {4 * (n + 13):,} | "
          + " | ".join(f"{loss[i]:.3f}" for i in points(rounds))
          + f" | {seconds:.0f} |", flush=True)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    with tempfile.TemporaryDirectory(prefix="tacit-mezo-") as at:
        home = os.path.join(at, "home")
        tool(f"{BUILD}/bin/tacit", "init", "--home", home)
        tool(f"{BUILD}/bin/tacit", "model", "import",
             f"{DATA}/models/stories260K/stories260K-f32.gguf", "--name",
             "stories", "--type", "q8_0", "--home", home)
        base = json.loads(tool(f"{BUILD}/bin/tacit", "model", "show", "stories",
                               "--json", "--home", home))["data"]
        write_sites(os.path.join(at, "sites"))
        print("| | bytes up | " + " | ".join(f"round {i + 1}"
                                             for i in points(rounds))
              + " | s of CPU |")
        print("|---" * (3 + len(points(rounds))) + "|")
        for way in WAYS:
            if os.environ.get("TACIT_CASE", "") in way[0]:
                run(way, base, at, rounds)


if __name__ == "__main__":
    main()
