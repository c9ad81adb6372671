#!/usr/bin/env python3
# variants: asan
"""Record-level differential privacy on loopback, under secure aggregation: a
table, a reader, a retriever and what stops when a budget is spent; and the same
plan in the simulator, where the sum by arithmetic alone has the protocol's
bits.
"""
import os
import random
import shutil
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, lead, sim, tacit, until, write  # noqa: E402
from federation import Federation  # noqa: E402
import test_adapters as nets  # noqa: E402
from test_encoder import NOTES, checkpoint  # noqa: E402

SITES = ("north", "south", "west")
TABLE = """name: {name}
task: classify
model: {{kind: logistic}}
data:
  source: patients
  label: sick
  standardise: plan
  columns: [{{name: age, mean: 50, sd: 10}}, {{name: dose, mean: 5, sd: 2}}]
rounds: {rounds}
cohort: {{size: 3, min_reports: 3, over_select: 1}}
strategy: {{kind: fedavgm, server_learning_rate: 0.5}}
local: {{batch: 20}}
privacy: {{unit: record, epsilon: {epsilon}, delta: 1e-5, clip: 1, sample: 0.5,
  retries: {retries}}}
deadline: {{stage: 60s, train: 5m}}
"""
NETWORK = """name: {name}
task: {task}
base: {{name: tiny, hash: {hash}}}
adapter: {{kind: ffa, rank: 4}}
data: {{source: texts, holdout: 0.3, length: 48}}
rounds: 2
cohort: {{size: 3, min_reports: 3, over_select: 1}}
strategy: {{kind: fedadam, server_learning_rate: 0.01}}
local: {{batch: 4{more}}}
privacy: {{epsilon: 8, clip: 0.5}}
deadline: {{stage: 60s, train: 5m}}
seed: 5
"""
GUIDE = """name: guide
task: retriever
model: {{kind: static, encoder: {version}}}
data: {{source: pairs, holdout: 0.3}}
rounds: 2
cohort: {{size: 3, min_reports: 3, over_select: 1}}
strategy: {{kind: finetune, server_learning_rate: 0.01}}
local: {{batch: 4, hard_negatives: 2, steps: 20, optimizer: adamw,
  learning_rate: 0.003}}
privacy: {{epsilon: 8, clip: 0.5}}
deadline: {{stage: 60s, train: 5m}}
seed: 5
"""
POLICY = ("tasks: [classify]\nmin_cohort: 2\nclip_max: 10\n"
          "data:\n  - {{source: patients, file: {0}}}\n{1}")


def patients(seed):
    r = random.Random(seed)
    rows = []
    for _ in range(80):
        age, dose = r.gauss(50, 10), r.gauss(5, 2)
        sick = (age - 50) / 10 + (dose - 5) / 2 + r.gauss(0, 0.5) > 0
        rows.append(f"{age:.1f},{dose:.2f},{int(sick)}\n")
    return "age,dose,sick\n" + "".join(rows)


def sites_with_tables(f, more=""):
    for i, site in enumerate(SITES):
        path = f.write(site + ".csv", patients(i))
        f.add_device(site, policy=POLICY.format(path, more))


def case_what_left_is_told_with_unit_noise_and_epsilon():
    with Federation() as f:
        f.start_coordinator()
        sites_with_tables(f, "privacy: {epsilon_max: 8, epsilon_per_day: 8}\n")
        checked = f.coordinator.run(
            "plan", "check", f.write("p.yaml", TABLE.format(
                name="risk", rounds=4, epsilon=8, retries=0))).stdout
        assert "record-level differential privacy: epsilon" in checked, checked
        f.submit(TABLE.format(name="risk", rounds=4, epsilon=8, retries=0))
        for device in f.devices.values():
            device.start()
        f.wait_committed(4, 120)
        for device in f.devices.values():
            device.process.stop()
        # No loss and no count of rows left.
        for r in f.committed():
            assert r["loss"] is None and r["metric"] is None, r
            assert not any(r["metrics"]), r
        assert "not sent" in f.coordinator.run("rounds").stdout
        for device in f.devices.values():
            audit = device.json("audit")
            assert audit["chain_ok"] and len(audit["releases"]) == 4, audit
            spent = [r["epsilon"] for r in audit["releases"]]
            assert spent == sorted(spent) and 7.5 < spent[-1] <= 8, spent
            assert {(r["unit"], r["sample"], r["weight"])
                    for r in audit["releases"]} == {("record", 0.5, 1)}, audit
            told = audit["privacy"]
            assert told["epsilon"] == spent[-1] and told["delta"] == 1e-5, told
            assert "of one record" in audit["note"], audit["note"]
            assert "not bounded" not in device.run("audit").stdout
            policy = device.json("policy")["privacy"]
            assert policy["epsilon_spent"] == spent[-1], policy
            assert policy["epsilon_max"] == 8, policy


def case_a_spent_budget_is_exit_7_and_nothing_leaves():
    with Federation() as f:
        f.start_coordinator()
        sites_with_tables(f)
        north = f.devices["north"]
        # Room for the first round alone.
        path = f.path("north.csv")
        write(os.path.join(north.home, "policy.yaml"),
              POLICY.format(path, "privacy: {epsilon_max: 4}\n"))
        f.submit(TABLE.format(name="risk", rounds=4, epsilon=8, retries=4))
        for device in f.devices.values():
            device.start()
        f.wait_committed(1, 60)
        until(lambda: "is spent" in north.tail(), 60, "north goes on")
        north.process.stop()
        done = north.run("run", "--once", "--wait", "90s", check=False,
                         timeout=120)
        assert done.returncode == 7 and "E0310" in done.stderr, done
        assert "unit record" in done.stderr, done.stderr
        left = north.json("audit")
        assert len(left["releases"]) == len(f.committed()) >= 1, left
        assert left["privacy"]["epsilon"] <= 4, left["privacy"]


def case_a_site_with_a_bound_refuses_plans_without_noise():
    with Federation() as f:
        f.start_coordinator()
        sites_with_tables(f, "privacy: {epsilon_max: 8}\n")
        plan = TABLE.format(name="open", rounds=2, epsilon=8, retries=0)
        plan = "".join(line for line in plan.splitlines(True)
                       if "privacy" not in line and "retries" not in line)
        f.submit(plan)
        north = f.devices["north"]
        for name in ("south", "west"):
            f.devices[name].start()
        done = north.run("run", "--once", "--wait", "90s", check=False,
                         timeout=120)
        assert done.returncode != 0 and "adds no noise" in done.stderr, done
        assert not north.json("audit")["releases"]


def case_adapters_are_learnt_privately():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = nets.three_sites(f, at, nets.ANSWERS)
        nets.go(f, NETWORK.format(name="reader", task="reader", more="",
                             hash=base["hash"]), base)
        audit = f.devices["south"].json("audit")
        assert audit["privacy"]["with_noise"] == 2, audit
        assert audit["privacy"]["epsilon"] <= 8, audit
        assert f.devices["south"].json("train", "--eval", "--plan", f.path(
            "plan.yaml"))["federated"]["version"] == 2


def case_a_language_model_is_learnt_privately():
    data = os.environ.get("TACIT_TEST_DATA", "../shared/data")
    stories = os.path.join(data, "models/stories260K/stories260K-f32.gguf")
    if not os.path.exists(stories):
        raise cases.Skip("stories260K is not here")
    rows = "text\n" + "".join(
        f"Once upon a time there was a {x} who liked to {y}.\n"
        for x in ("dog", "cat", "girl", "boy") for y in ("play", "run", "sing"))
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = None
        for site in SITES:
            path = os.path.join(at, site + ".csv")
            write(path, rows)
            device = f.add_device(site, policy=(
                "tasks: [lm]\nmin_cohort: 2\n"
                "privacy: {epsilon_max: 8}\n"
                f"data:\n  - {{source: texts, file: {path}}}\n"))
            base = nets.imported(device.home, stories)
        nets.go(f, NETWORK.format(name="stories", task="lm", more="",
                                  hash=base["hash"]), base)
        audit = f.devices["north"].json("audit")
        assert audit["privacy"]["with_noise"] == 2, audit
        assert audit["privacy"]["epsilon"] <= 8, audit


def case_a_retrievers_pairs_are_private_beside_indexed_documents():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = nets.three_sites(f, at, nets.PAIRS)
        for site in SITES:
            for name, note in NOTES.items():
                write(os.path.join(at, site, "notes", name), note)
            f.devices[site].run("model", "use", "tiny")
            f.devices[site].run("add", os.path.join(at, site, "notes"))
        plan = NETWORK.replace("fedadam", "finetune").format(
            name="guide", task="retriever", hash=base["hash"],
            more=", hard_negatives: 2, steps: 3, optimizer: adamw")
        nets.go(f, plan, base)
        search = ("search", "--mode", "vectors", "dose of warfarin")
        own = [[h["cosine"] for h in f.devices[site].json(*search)["hits"]]
               for site in SITES]
        assert all(own) and own[0] != own[1] != own[2], own
        audit = f.devices["west"].json("audit")
        assert audit["privacy"]["with_noise"] == 2, audit
        assert audit["privacy"]["epsilon"] <= 8, audit


def case_the_built_in_encoders_pairs_are_private_and_each_has_its_own():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        for site in SITES:
            pairs = write(os.path.join(at, site, "pairs.csv"), nets.PAIRS)
            for name, note in NOTES.items():
                write(os.path.join(at, site, "notes", name), note)
            device = f.add_device(site, data={"pairs": pairs})
            device.run("add", os.path.join(at, site, "notes"))
        north = f.devices["north"]
        search = ("search", "--mode", "vectors", "dose of warfarin")
        before = [h["cosine"] for h in north.json(*search)["hits"]]
        version = north.json("status")["encoder"]["built_in_version"]
        f.submit(GUIDE.format(version=version))
        for device in f.devices.values():
            device.start()
        f.wait_committed(2, 120)
        for device in f.devices.values():
            nets.has_adopted(device, 2)
            device.process.stop()
        after = [[h["cosine"] for h in device.json(*search)["hits"]]
                 for device in f.devices.values()]
        assert all(after) and before not in after, (before, after)
        # The same notes and one shared model: what differs is their own.
        assert after[0] != after[1], after
        model, = north.json("status")["models"]
        assert model["own"] and model["plan"] == "guide", model
        assert model["trial"]["held_out"] == 2, model
        assert model["trial"]["searches"] == "own", model
        assert "and this device's own" in north.run("status").stdout
        audit = north.json("audit")
        assert audit["privacy"]["with_noise"] == 2, audit
        assert audit["privacy"]["epsilon"] <= 8, audit


THINGS = ("anchor basket candle dragon engine feather garden hammer island "
          "jacket kettle ladder mirror needle orchard pencil quarry ribbon "
          "saddle tunnel").split()


def case_a_model_that_finds_less_than_none_does_not_search():
    rows = "question,document,split\n" + "".join(
        f"where is the {x},{x}.md,{split}\n"
        for x in THINGS for split in ("train", "test"))
    with Federation() as f, folder() as at:
        f.start_coordinator()
        for site in SITES:
            pairs = write(os.path.join(at, site, "pairs.csv"), rows)
            for x in THINGS:
                write(os.path.join(at, site, "notes", x + ".md"),
                      f"# {x.title()}\n\nThe {x} is in room {len(x)}.\n")
            device = f.add_device(site, data={"pairs": pairs})
            device.run("add", os.path.join(at, site, "notes"))
        north = f.devices["north"]
        search = ("search", "--mode", "vectors", "where is the ladder")
        before = [h["cosine"] for h in north.json(*search)["hits"]]
        version = north.json("status")["encoder"]["built_in_version"]
        # So little epsilon and so long a step leave nothing but noise.
        f.submit(GUIDE.format(version=version).replace(
            "kind: finetune, server_learning_rate: 0.01",
            "kind: fedavg, server_learning_rate: 100").replace(
                ", steps: 20, optimizer: adamw,\n  learning_rate: 0.003", "")
            .replace("epsilon: 8", "epsilon: 0.1"))
        for device in f.devices.values():
            device.start()
        f.wait_committed(2, 120)
        for device in f.devices.values():
            nets.has_adopted(device, 2)
            device.process.stop()
            model, = device.json("status")["models"]
            tried = model["trial"]
            assert tried["held_out"] == len(THINGS) == tried["untrained"], tried
            assert tried["shared"] < len(THINGS), tried
            assert tried["searches"] == "untrained", tried
            assert tried["own"] is None, tried
        assert [h["cosine"] for h in north.json(*search)["hits"]] == before
        assert "20 held-out questions" in north.run("status").stdout


def case_what_cannot_be_private_is_refused_with_the_way_out():
    with folder() as at:
        path = os.path.join(at, "plan.yaml")
        good = TABLE.format(name="risk", rounds=4, epsilon=8, retries=0)
        for old, new, says in (
                ("standardise: plan", "standardise: site", "without noise"),
                ("kind: fedavgm", "kind: scaffold", "noisy sum"),
                ("local: {batch: 20}", "local: {batch: 20, steps: 3}",
                 "has no effect under privacy")):
            text = good.replace(old, new)
            assert text != good
            write(path, text)
            lead("plan", "check", path).exits(1).says(says)
        write(path, good.replace("clip: 1,", "clip: 1, noise: 0.3,"))
        lead("plan", "check", path).exits(1).says("E0660", "or auto")


def case_the_simulators_sum_has_the_protocols_bits():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = nets.imported(home, checkpoint(os.path.join(at, "model")))
        readers = os.path.join(at, "readers")
        for site in SITES:
            write(os.path.join(readers, site + ".csv"), nets.ANSWERS)
        plan = os.path.join(at, "reader.yaml")
        write(plan, NETWORK.format(name="reader", task="reader", more="",
                                   hash=base["hash"]))
        got = []
        for protocol in ("sum", "full"):
            out = os.path.join(at, protocol)
            sim("run", plan, "--base", base["path"], "--data", readers, "-o",
                out, "--set", f"sim.protocol={protocol}").exits(0).prints(
                    "record-level differential privacy: epsilon")
            got.append(nets.model_bytes(out))
        assert len(set(got)) == 1, got
        shutil.rmtree(out)


if __name__ == "__main__":
    cases.run(globals())
