#!/usr/bin/env python3
"""tacit-sim, given what cannot work: each message names the thing, the limit
and the way out, and nothing half-written is taken for a result.
"""
import json
import os
import re
import struct
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, folder, sim, until, write  # noqa: E402

PLAN = """name: trial
task: {task}
model: {{kind: {model}}}
data:
  source: patients
  label: {label}
  columns: [{{name: age}}, {{name: chol}}]
  standardise: {standardise}
rounds: {rounds}
cohort: {{size: 6, min_reports: 4, over_select: 1.2}}
strategy: {{kind: fedavg}}
local: {{steps: 10, batch: 16, learning_rate: {rate}}}
clip: 1000
seed: 5
sim: {{clients: 20, rows: 30}}
"""
USUAL = {"task": "classify", "model": "logistic", "label": "disease",
         "standardise": "site", "rounds": 5, "rate": 0.1}
IMAGES = """name: skew
task: classify
model: {kind: softmax, classes: 10}
data: {source: digits, format: images, height: 8, width: 8}
rounds: 2
cohort: {size: 3, min_reports: 3, over_select: 1}
local: {epochs: 1, batch: 8, learning_rate: 0.1}
sim: {clients: 4, rows: 20, partition: iid}
"""


def plan(here, **other):
    return write(here + "/trial.yaml", PLAN.format(**{**USUAL, **other}))


def sets(*words):
    return [w for word in words for w in ("--set", word)]


def state(out):
    with open(out + "/run.json", encoding="utf-8") as f:
        return json.load(f)["state"]


def weights(out):
    with open(out + "/model.safetensors", "rb") as f:
        whole = f.read()
    return whole[8 + struct.unpack("<Q", whole[:8])[0]:]


def refuse(here, path, *words, says, code, out=None):
    """A run that is refused before it writes anything, in both tongues."""
    out = out or here + "/o"
    done = sim("run", path, "-o", out, *words).exits(1)
    done.says(*says, code)
    told = sim("run", path, "-o", out, "--json", *words).exits(1)
    assert told.code == "TACIT-" + code and told.err == "", told
    for word in says:
        assert word in told.envelope()["error"]["message"], (word, told)
    assert not os.path.exists(out), os.listdir(out)


def case_fewer_clients_than_the_cohort():
    with folder() as here:
        refuse(here, plan(here), *sets("sim.clients=3"), code="E0601",
               says=["sim.clients is 3", "cohort.size 6", "raise sim.clients"])
        refuse(here, plan(here), *sets("sim.clients=200000"), code="E0005",
               says=["sim.clients is 200000", "at most 100000"])


def case_too_few_that_can_be_reached_at_once():
    with folder() as here:
        done = sim("run", plan(here), "-o", here + "/o", *sets(
            "sim.devices={available: 0.01}")).exits(1)
        done.says("round 1: within a day no more than", "of 20 clients",
                  "cohort.min_reports", "raise sim.devices.available")
        assert state(here + "/o") == "failed"


def case_a_client_without_samples():
    rows = "age,chol,disease\n" + "50,200,1\n60,210,0\n" * 3
    with folder() as here:
        data = here + "/data"
        for name in "abcdef":
            write(f"{data}/{name}.csv", rows)
        for rest, why in (("", "0 rows"), ("?,200,1\n50,,0\n", "2 with an "
                                                             "unknown value")):
            write(data + "/g.csv", "age,chol,disease\n" + rest)
            refuse(here, plan(here), "-d", data, code="E0705",
                   says=["g.csv: no row to train on", why, "add rows",
                         "take it out of the folder"])


def case_alpha_so_small_that_labels_vanish():
    with folder() as here:
        path = write(here + "/images.yaml", IMAGES)
        words = sets("sim.partition=dirichlet", "sim.clients=60")
        refuse(here, path, *words, *sets("sim.alpha=0.001"), code="E0602",
               says=["sim.alpha 0.001 leaves client", "with", "rows",
                     "raise sim.alpha"])
        refuse(here, path, *words, *sets("sim.alpha=1e-9"), code="E0601",
               says=["sim.alpha is 1e-09", "0.001"])


def case_a_loss_that_is_no_number():
    """The model that is kept is that of the round before, to the bit."""
    with folder() as here:
        out, good = here + "/o", here + "/good"
        path = plan(here, task="regress", model="mlp, hidden: [16]",
                    label="thalach", rounds=60, rate=0.01)
        for protocol in ("full", "sum"):
            for seed in range(1, 20): # one whose first round goes well
                words = sets("sim.protocol=" + protocol, f"seed={seed}")
                done = sim("run", path, "-o", out, *words).exits(1)
                n = int(re.search(r"keeps the model before round (\d+): ",
                                  done.err).group(1))
                if n > 1:
                    break
            done.says(out + " keeps", f": round {n}, client ", " a number",
                      "E0701")
            assert n > 1 and state(out) == "failed", (n, state(out))
            told = sim("run", path, "-o", out, "--json", *words).exits(1)
            assert told.code == "TACIT-E0701", told
            sim("run", path, "-o", good, *words, "-q", "-r",
                str(n - 1)).exits(0)
            kept = weights(out)
            assert kept == weights(good)
            values = struct.unpack(f"<{len(kept) // 4}f", kept)
            assert all(abs(v) < 1e38 for v in values), values
            sim("compare", out).exits(1).says("none of the 1 runs is finished")


def case_attackers_that_send_nan_do_not_reach_the_model():
    with folder() as here:
        out = here + "/o"
        sim("run", plan(here), "-o", out, "-q", *sets(
            "sim.attack={kind: nan, share: 0.3}")).exits(0)
        kept = weights(out)
        assert all(v == v for v in struct.unpack(f"<{len(kept) // 4}f", kept))
        refuse(here, plan(here), *sets("sim.attack.kind=nann"), code="E0601",
               says=["sim.attack.kind is \"nann\"", "did you mean \"nan\""],
               out=here + "/x")


def case_memory_that_is_not_there():
    with folder() as here:
        refuse(here, plan(here), *sets("sim.rows=10000000",
                                       "sim.clients=90000"), code="E0610",
               says=["trial needs about", "TB", "are free", "sim.clients"])
        refuse(here, plan(here, model="mlp, hidden: [65536, 65536]"),
               code="E0601", says=["model.hidden makes", "there may be"])


def case_a_dataset_that_ends_early():
    with folder() as here:
        path = write(here + "/images.yaml", IMAGES)
        images = here + "/a-images-idx3-ubyte"
        labels = here + "/a-labels-idx1-ubyte"
        whole = struct.pack(">IIII", 0x803, 100, 8, 8) + bytes(6400)
        marks = struct.pack(">II", 0x801, 100) + bytes(range(10)) * 10
        for cut, left, name in ((6416 - 70, 108, "images"), (6416, 60,
                                                             "labels")):
            with open(images, "wb") as f:
                f.write(whole[:cut])
            with open(labels, "wb") as f:
                f.write(marks[:left])
            refuse(here, path, "-d", images, code="E0707",
                   says=[f"a-{name}-idx", "ends early, in row", "of the 100"])
        table = write(here + "/t.csv", "age,chol,disease\n1,2,0\n3,4,1\n5,6")
        refuse(here, plan(here), "-d", table, *sets("sim.partition=iid"),
               code="E0704", says=["t.csv:4: 2 values", "names 3"])


def case_a_resumed_run_of_another_plan():
    with folder() as here:
        out = here + "/o"
        words = sets("rounds=50000", "sim.protocol=sum",
                     "sim.checkpoint_every=5")
        p = begin("tacit-sim", "run", plan(here), "-o", out, "-q", *words)
        until(lambda: os.path.exists(out + "/checkpoint"), 60, "no checkpoint")
        finish(p, 2).exits(130)
        assert state(out) == "interrupted"
        other = sim("run", plan(here, rate=0.2), "-o", out, "-q", "--resume",
                    *words).exits(1)
        other.says("of another plan than trial", "hash ", "--resume", "E0612")
        assert state(out) == "interrupted"
        # Cut in the middle: refused, and still there for who looks at it.
        with open(out + "/checkpoint", "r+b") as f:
            f.truncate(os.path.getsize(out + "/checkpoint") // 2)
        sim("run", plan(here), "-o", out, "-q", "--resume", *words).exits(
            1).says("ends early", "E0611")
        assert state(out) == "interrupted"


def case_names_that_do_not_exist():
    with folder() as here:
        for value, near in (("fedporx", "fedprox"), ("scafold", "scaffold"),
                            ("krumm", "krum"), ("fed_avg", "fedavg")):
            refuse(here, plan(here), *sets("strategy.kind=" + value),
                   code="E0601", says=[f'strategy.kind is "{value}"',
                                       f'did you mean "{near}"'])
        refuse(here, plan(here), *sets("strategy.kin=x"), code="E0106",
               says=['unknown key "strategy.kin"', '"strategy.kind"'])
        text = PLAN.format(**USUAL).replace("rounds:", "runds:")
        refuse(here, write(here + "/k.yaml", text), code="E0106",
               says=["k.yaml:9", 'unknown key "runds"', '"rounds"'])


def case_a_fault_has_its_line_in_the_file_whatever_is_set():
    with folder() as here:
        text = PLAN.format(**USUAL).replace("rounds: ", "rounds: -")
        line = text[:text.index("rounds:")].count("\n") + 1
        refuse(here, write(here + "/k.yaml", text), *sets(
            "seed=3", "strategy.kind=fedavg", "sim.dropout=0.1"),
            code="E0601", says=[f"k.yaml:{line}: rounds is -"])


if __name__ == "__main__":
    cases.run(globals())
