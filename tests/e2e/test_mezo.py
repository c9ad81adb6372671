#!/usr/bin/env python3
# variants: asan
"""Learning by forward passes on loopback, where only numbers along directions
travel: a small model through a kill, an absence and a late joiner; a whole
encoder; and the simulator, whose sum has the protocol's bits.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, sim, tacit, write  # noqa: E402
from federation import Federation  # noqa: E402
from test_adapters import (ANSWERS, NOTES, PAIRS, SITES,  # noqa: E402
                           checkpoint, go, has_adopted, imported,
                           model_bytes, tensors, three_sites)
from test_kill import table  # noqa: E402

SEEDS = 96
SMALL = f"""name: thin
task: classify
model: {{kind: mlp, hidden: [64, 32]}}
data:
  source: patients
  label: y
  columns: [{{name: a}}, {{name: b}}]
  standardise: none
  holdout: 0.3
rounds: 200
cohort: {{size: 3, min_reports: 2, over_select: 1}}
local: {{steps: 200, batch: 8, optimizer: mezo, learning_rate: 0.003,
  seeds: {SEEDS}}}
weighting: {{by: examples, cap: 100}}
clip: 1
deadline: {{stage: 2s, train: 20s}}
seed: 11
"""
WHOLE = """name: {task}
task: {task}
base: {{name: tiny, hash: {hash}}}
adapter: {{kind: {kind}}}
data: {{source: texts, holdout: 0.3, length: 48}}
rounds: 2
cohort: {{size: 3, min_reports: 3, over_select: 1}}
local: {{steps: 40, batch: 4, optimizer: mezo, learning_rate: {rate},
  seeds: 64}}
clip: 1
deadline: {{stage: 60s, train: 5m}}
seed: 5
"""
SEARCH = """name: search
task: retriever
model: {{kind: static, encoder: {version}}}
data: {{source: pairs, holdout: 0.3}}
rounds: 2
cohort: {{size: 3, min_reports: 3, over_select: 1}}
local: {{steps: 40, batch: 4, optimizer: mezo, learning_rate: 0.001,
  seeds: 64, temperature: 1}}
clip: 1
deadline: {{stage: 60s, train: 5m}}
seed: 5
"""


# ---- cases ------------------------------------------------------------------

def case_only_numbers_along_directions_travel():
    with Federation() as f:
        f.start_coordinator()
        for i in range(3):
            csv = f.write(f"rows{i}.csv", table(i))
            f.add_device(f"site{i}", data={"patients": csv})
        first, second, absent = f.devices.values()
        plan = f.submit(SMALL)
        first.start()
        second.start()
        f.wait_committed(2, 120)
        # One alone is too few: nothing is committed until another comes, and
        # what was committed is kept by a coordinator that is killed.
        second.kill()
        f.coordinator.kill()
        f.start_coordinator()
        target = len(f.committed()) + 2
        assert target > 3, target
        absent.start()
        f.wait_committed(target, 120)
        for device in (first, absent):
            has_adopted(device, target)
            device.process.stop()
        sent = f.path("sent.safetensors")
        f.coordinator.run("export", "--output", sent)
        assert tensors(sent) == {"mezo.scalars": [SEEDS]}, tensors(sent)
        for device in f.devices.values():
            for r in device.json("audit")["releases"]:
                # The update, and what rides with it.
                assert 4 * SEEDS < r["bytes"] < 4 * SEEDS + 100, r
        for device in (first, absent):
            one = device.json("train", "--eval", "--plan", plan)
            assert one["federated"]["version"] >= target, one
            assert one["federated"]["loss"] < one["initial"]["loss"], one


def case_the_built_in_encoders_adapter_is_learnt_and_then_searches():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        for site in SITES:
            pairs = write(os.path.join(at, site, "pairs.csv"), PAIRS)
            for name, note in NOTES.items():
                write(os.path.join(at, site, "notes", name), note)
            device = f.add_device(site, data={"pairs": pairs})
            device.run("add", os.path.join(at, site, "notes"))
        north = f.devices["north"]
        words = ("search", "--mode", "vectors", "dose of warfarin")
        before = [h["cosine"] for h in north.json(*words)["hits"]]
        version = north.json("status")["encoder"]["built_in_version"]
        f.submit(SEARCH.format(version=version))
        for device in f.devices.values():
            device.start()
        f.wait_committed(2, 120)
        has_adopted(north, 2)
        for device in f.devices.values():
            device.process.stop()
        after = [h["cosine"] for h in north.json(*words)["hits"]]
        assert len(after) == len(before) and after != before, (before, after)


def case_a_whole_encoder_is_learnt_and_then_searches():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, PAIRS)
        for site in SITES:
            device = f.devices[site]
            for name, note in NOTES.items():
                write(os.path.join(at, site, "notes", name), note)
            device.run("model", "use", "tiny")
            device.run("add", os.path.join(at, site, "notes"))
        north = f.devices["north"]
        before = [h["cosine"] for h in north.json(
            "search", "--mode", "vectors", "dose of warfarin")["hits"]]
        go(f, WHOLE.format(task="retriever", kind="full", rate="0.0001",
                           hash=base["hash"]), base)
        after = [h["cosine"] for h in north.json(
            "search", "--mode", "vectors", "dose of warfarin")["hits"]]
        assert len(after) == len(before) and after != before, (before, after)
        status = north.json("status")
        assert status["encoder"]["adapter_set_aside"] is False, status

        # All of it changed, so it is written as a network, not as pairs.
        done = north.run("model", "export", "retriever",
                         os.path.join(at, "peft"), "--adapter", check=False)
        assert done.returncode == 1 and "model merge" in done.stderr, done
        merged = os.path.join(at, "merged.gguf")
        north.run("model", "merge", "retriever", merged, "--type", "f32")
        north.run("model", "import", merged, "--name", "whole")
        north.run("model", "use", "whole")
        north.run("reindex")
        assert north.json("search", "--mode", "vectors",
                          "dose of warfarin")["hits"]


def case_the_simulators_sum_has_the_protocols_bits():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, checkpoint(os.path.join(at, "model")))
        for site in SITES:
            write(os.path.join(at, "data", site + ".csv"), ANSWERS)
        for kind in ("ffa", "full"):
            plan = os.path.join(at, kind + ".yaml")
            write(plan, WHOLE.format(task="reader", kind=kind, rate="0.0001",
                                     hash=base["hash"]))
            got = []
            for protocol in ("sum", "full"):
                for threads in "12":
                    out = os.path.join(at, f"{kind}-{protocol}-{threads}")
                    sim("run", plan, "--base", base["path"], "--data",
                        os.path.join(at, "data"), "-q", "-o", out, "-t",
                        threads, "--set", f"sim.protocol={protocol}").exits(0)
                    got.append(model_bytes(out))
            assert len(set(got)) == 1, (kind, got)


def case_what_forward_passes_cannot_do_is_explained():
    with folder() as at:
        plan = os.path.join(at, "plan.yaml")
        for was, now, word in (
                ("seeds: 96", "seeds: 70000", "local.seeds"),
                ("seeds: 96", "weight_decay: 0.1", "local.weight_decay"),
                ("optimizer: mezo", "optimizer: sgd", "local.seeds"),
                ("clip: 1", "clip: 1\nstrategy: {kind: fedprox}", "gradients")):
            write(plan, SMALL.replace(was, now))
            done = sim("run", plan, "-q", "-o", os.path.join(at, "out"))
            done.exits(1).says(word)


if __name__ == "__main__":
    cases.run(globals())
