#!/usr/bin/env python3
# variants: asan
"""Adapters of a network that devices have, learnt together on loopback: a
retriever, a reader, a classifier, a cross-encoder and a language model under
secure aggregation; what was adopted is searched with, merged and exported. And
the same plan in the simulator, where the sum by arithmetic alone has the
protocol's bits.

The networks are a BERT of random numbers and a llama of random numbers, made
here, and, where it is at hand, stories260K.
"""
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, sim, tacit, until, write  # noqa: E402
from federation import Federation  # noqa: E402
from scripted import script  # noqa: E402
from test_encoder import NOTES, checkpoint  # noqa: E402

SITES = ("north", "south", "west")
PAIRS = ("question,document,split\n"
         "how much warfarin at night,dose.md,train\n"
         "what dose do the elderly get,dose.md,train\n"
         "when is the inr measured,dose.md,train\n"
         "clean the wound with what,wound.md,train\n"
         "how often is the dressing changed,wound.md,train\n"
         "what is a wet dressing,wound.md,train\n"
         "what to measure after one week,dose.md,test\n"
         "saline for the wound,wound.md,test\n")
ANSWERS = ("question,passage,answer\n" + "".join(
    f"{q},{p},{a}\n" for q, p, a in (
        ("how much warfarin", "start warfarin with 5 mg at night", "5 mg"),
        ("what for the elderly", "give 2 mg to the elderly", "2 mg"),
        ("what cleans a wound", "clean the wound with saline", "saline"),
        ("when is the inr measured", "measure the inr after one week",
         "after one week"),
        ("who paints the chapel", "clean the wound with saline", ""),
        ("what day", "change the dressing every second day",
         "every second day"))))
# What kind of instruction a sentence is. Measured is what was learnt: whether
# it carries over is no matter of random networks.
KINDS = ("text,kind,split\n" + "".join(
    f"{t},{k},train\n{t},{k},test\n" for t, k in (
        ("start warfarin with 5 mg at night", 0),
        ("give 2 mg to the elderly", 0), ("give 5 mg of warfarin", 0),
        ("clean the wound with saline", 1), ("change the dressing", 1),
        ("change the wet dressing every second day", 1),
        ("measure the inr after three days", 2), ("measure the inr", 2),
        ("measure after one week", 2))))
# Whether a passage answers a question.
JUDGED = ("question,passage,label,split\n" + "".join(
    f"{q},{p},{y},train\n{q},{p},{y},test\n" for q, p, y in (
        ("how much warfarin", "start warfarin with 5 mg at night", 1),
        ("how much warfarin", "clean the wound with saline", 0),
        ("what cleans a wound", "clean the wound with saline", 1),
        ("what cleans a wound", "measure the inr after one week", 0),
        ("when is the inr measured", "measure the inr after one week", 1),
        ("when is the inr measured", "give 2 mg to the elderly", 0),
        ("what for the elderly", "give 2 mg to the elderly", 1),
        ("what for the elderly", "change the dressing", 0))))
PLAN = """name: {name}
task: {task}
base: {{name: tiny, hash: {hash}}}
adapter: {{kind: {kind}, rank: 4}}
data: {{source: texts, holdout: 0.3, length: 48}}
rounds: 2
cohort: {{size: 3, min_reports: 3, over_select: 1}}
local: {{steps: 4, batch: 4, optimizer: adamw, learning_rate: 0.01}}
clip: 50
deadline: {{stage: 60s, train: 5m}}
seed: 5
"""


def imported(home, path, name="tiny", kind="q8_0"):
    tacit("model", "import", path, "--name", name, "--type", kind, "--home",
          home).exits(0)
    return tacit("model", "show", name, "--json", "--home", home).exits(0).data


def tensors(path):
    """{name: shape} of a safetensors file."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
    header.pop("__metadata__", None)
    return {k: v["shape"] for k, v in header.items()}


def three_sites(f, at, data, without=(), ranks=(0, 0, 0), more=""):
    """Three devices that have the base, and train pairs of at most these ranks;
    its path and hash. more: lines of the first one's policy."""
    base = None
    for site, rank in zip(SITES, ranks):
        path = os.path.join(at, site, "texts.csv")
        write(path, data)
        device = f.add_device(site, policy=(
            "tasks: [retriever, reader, lm, classify]\n"
            "min_cohort: 2\nclip_max: 100\n"
            + (f"adapter_rank_max: {rank}\n" if rank else "")
            + (more if site == SITES[0] else "") +
            f"data:\n  - {{source: texts, file: {path}}}\n"))
        if site not in without:
            # Where the folder lies does not matter.
            model = checkpoint(os.path.join(at, site, f"model-{site}"))
            base = imported(device.home, model)
            assert base["source"].endswith(f"model-{site}"), base
    return base


def has_adopted(device, version):
    """The coordinator commits before a device hears of it."""
    until(lambda: any(m["version"] >= version
                      for m in device.json("status")["models"]), 60,
          f"{device.home} has not adopted version {version}")


def go(f, plan, base, rounds=2):
    path = f.write("plan.yaml", plan)
    f.coordinator.run("plan", "submit", path, "--base", base["path"])
    for device in f.devices.values():
        device.start()
    f.wait_committed(rounds, 240)
    for device in f.devices.values():
        has_adopted(device, rounds)
        device.process.stop()


# ---- cases ------------------------------------------------------------------

def case_a_retriever_is_learnt_together_and_then_searches():
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
        assert before, before
        go(f, PLAN.format(name="guide", task="retriever", kind="ffa",
                          hash=base["hash"]), base)
        status = north.json("status")
        assert status["encoder"]["adapter_set_aside"] is False, status
        after = [h["cosine"] for h in north.json(
            "search", "--mode", "vectors", "dose of warfarin")["hits"]]
        assert len(after) == len(before) and after != before, (before, after)
        learnt = north.json("train", "--eval", "--plan", f.path("plan.yaml"))
        assert learnt["federated"]["version"] == 2, learnt
        loss = {r["round"]: r["loss"] for r in f.committed()}
        assert loss[2] < loss[1], loss

        # Only the outer matrices travelled.
        f.coordinator.run("export", "--output", f.path("sent.safetensors"))
        sent = tensors(f.path("sent.safetensors"))
        assert sent and all(k.endswith(".lora_b") for k in sent), sent
        peft = os.path.join(at, "peft")
        north.run("model", "export", "guide", peft, "--adapter")
        names = tensors(os.path.join(peft, "adapter_model.safetensors"))
        at_q = "base_model.model.encoder.layer.1.attention.self.query."
        assert names[at_q + "lora_A.weight"] == [4, 96], names
        assert names[at_q + "lora_B.weight"] == [96, 4], names
        assert len(names) == 2 * len(sent)
        with open(os.path.join(peft, "adapter_config.json"),
                  encoding="utf-8") as g:
            config = json.load(g)
        assert config["r"] == 4 and config["lora_alpha"] == 8, config

        # Merged, it is a network like any other, and answers questions alike.
        merged = os.path.join(at, "merged.gguf")
        north.run("model", "merge", "guide", merged, "--type", "f32")
        again = north.run("model", "merge", "guide", merged, check=False)
        assert again.returncode == 1 and "is there already" in again.stderr
        north.run("model", "import", merged, "--name", "whole")
        north.run("model", "use", "whole")
        north.run("reindex")
        assert north.json("status")["encoder"]["name"] == "whole"
        assert north.json("search", "--mode", "vectors",
                          "dose of warfarin")["hits"]


def case_a_reader_is_learnt_together():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, ANSWERS)
        go(f, PLAN.format(name="reader", task="reader", kind="lora",
                          hash=base["hash"]), base)
        learnt = f.devices["south"].json("train", "--eval", "--plan",
                                         f.path("plan.yaml"))
        assert learnt["metric"] == "exact_spans", learnt
        assert learnt["federated"]["loss"] < learnt["initial"]["loss"], learnt
        f.coordinator.run("export", "--output", f.path("sent.safetensors"))
        sent = tensors(f.path("sent.safetensors"))
        assert sent["head.weight"] == [2, 96], sent
        assert sum(k.endswith(".lora_a") for k in sent) == 12, sent

        # It reads here, and steps aside, saying so, without its base.
        south = f.devices["south"]
        assert south.json("status")["reader"] == {
            "name": "plan reader version 2 over tiny", "set_aside": ""}
        write(os.path.join(at, "a.txt"), "Clean the wound with saline.\n")
        south.run("add", os.path.join(at, "a.txt"))
        ask = ("ask", "--threshold", "0", "what cleans a wound")
        before = south.json(*ask)
        assert before["reader"].endswith("over tiny"), before
        # PEFT has no place for its head; merged, it reads as before.
        peft = south.run("model", "export", "reader", os.path.join(at, "peft"),
                         "--adapter")
        assert "tacit model merge reader" in peft.stderr, peft.stderr
        merged = os.path.join(at, "merged.gguf")
        south.run("model", "merge", "reader", merged, "--type", "f32")
        south.run("model", "import", merged, "--name", "whole")
        assert south.json("model", "use", "whole") == {"reads": "whole"}
        after = south.json(*ask)
        assert after["reader"] == "whole", after
        assert after["span"]["text"] == before["span"]["text"], (before, after)
        south.run("model", "use", "built-in-reader")
        # All or none.
        assert south.run("model", "rm", "whole", "none",
                         check=False).returncode == 1
        south.run("model", "rm", "whole")
        south.run("model", "rm", "tiny")
        reader = south.json("status")["reader"]
        assert reader["name"] == "built-in", reader
        assert "base that is not here" in reader["set_aside"], reader
        said = south.json(*ask)
        assert said["reader"] == "built-in" and said["span"]["text"], said


# A decoder that says the first of two words, and is taught the second.
WORDS = ["▁Give", ("▁5", "▁2"), "▁mg", "▁to", "▁the", "▁elderly", "▁[", "1",
         "]."]
DOSES = ("# Warfarin\n\nGive 5 mg to the elderly at night. Give 2 mg to the "
         "elderly in the morning.\n")
TAUGHT = ("text\n" + "\n".join(["Give 2 mg to the elderly [1]."] * 12) + "\n")


def case_a_language_model_is_learnt_together_and_then_answers():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        writer = write(os.path.join(at, "writer.gguf"),
                       script(WORDS, noise=random.Random(3)))
        base = None
        for site in SITES:
            path = os.path.join(at, site, "texts.csv")
            write(path, TAUGHT)
            device = f.add_device(site, policy=(
                "tasks: [lm]\nmin_cohort: 2\nclip_max: 100\n"
                f"data:\n  - {{source: texts, file: {path}}}\n"))
            base = imported(device.home, writer, "writer", "q8_0")
            write(os.path.join(at, site, "notes", "dose.md"), DOSES)
            device.run("add", os.path.join(at, site, "notes"))
            device.run("model", "use", "writer")
        south = f.devices["south"]
        ask = ("ask", "--generate", "--max-tokens", "12",
               "How much warfarin for the elderly?")
        before = south.json(*ask)
        assert before["generation"]["adapter"] is None, before["generation"]
        assert "5 mg" in before["text"], before["text"]
        plan = PLAN.format(name="teach", task="lm", kind="ffa",
                           hash=base["hash"]).replace("name: tiny",
                                                      "name: writer")
        plan = plan.replace("rank: 4", "rank: 4, targets: [down]")
        go(f, plan.replace("steps: 4", "steps: 30").replace("0.01", "0.008"),
           base)
        loss = {r["round"]: r["loss"] for r in f.committed()}
        assert loss[2] < loss[1], loss
        after = south.json(*ask)
        assert after["generation"]["adapter"] == {
            "plan": "teach", "version": 2}, after["generation"]
        assert "2 mg" in after["text"], after["text"]
        # What was read of prompts before is another model's.
        assert south.json(*ask)["text"] == after["text"]
        # Merged, it says the same by itself.
        merged = os.path.join(at, "merged.gguf")
        south.run("model", "merge", "teach", merged, "--type", "f32")
        south.run("model", "import", merged, "--name", "whole")
        south.run("model", "use", "whole")
        alone = south.json(*ask)
        assert alone["generation"]["adapter"] is None, alone["generation"]
        assert "2 mg" in alone["text"], alone["text"]


def case_a_classifier_is_learnt_together():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, KINDS)
        go(f, PLAN.format(name="kinds", task="classify", kind="ffa",
                          hash=base["hash"]).replace(
                              "length: 48", "length: 48, label: kind, "
                              "classes: 3").replace("steps: 4", "steps: 20"),
           base)
        learnt = f.devices["south"].json("train", "--eval", "--plan",
                                         f.path("plan.yaml"))
        assert learnt["metric"] == "accuracy", learnt
        assert learnt["federated"]["loss"] < learnt["initial"]["loss"], learnt
        # Pairs and the head travelled, nothing of the base.
        f.coordinator.run("export", "--output", f.path("sent.safetensors"))
        sent = tensors(f.path("sent.safetensors"))
        assert sent.pop("head.weight") == [3, 96], sent
        assert sent.pop("head.bias") == [3], sent
        assert sent and all(k.endswith(".lora_b") for k in sent), sent


def case_a_cross_encoder_is_learnt_together_and_then_reads_again():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, JUDGED)
        north = f.devices["north"]
        for name, note in NOTES.items():
            write(os.path.join(at, "notes", name), note)
        north.run("add", os.path.join(at, "notes"))
        go(f, PLAN.format(name="judge", task="classify", kind="lora",
                          hash=base["hash"]).replace("steps: 4", "steps: 20"),
           base)
        learnt = north.json("train", "--eval", "--plan", f.path("plan.yaml"))
        assert abs(learnt["initial"]["loss"] - 0.6931) < 1e-4, learnt
        assert learnt["federated"]["loss"] < 0.5, learnt
        f.coordinator.run("export", "--output", f.path("sent.safetensors"))
        sent = tensors(f.path("sent.safetensors"))
        assert sent["head.weight"] == [1, 96], sent
        # Merged, it is a network with a head of one output.
        merged = os.path.join(at, "judge.gguf")
        north.run("model", "merge", "judge", merged)
        north.run("model", "import", merged, "--name", "judge")
        used = north.json("model", "use", "judge")
        assert used == {"reranks": "judge", "passages": 20}, used
        found = north.json("search", "dose of warfarin")
        scores = [h["rerank_score"] for h in found["hits"]]
        assert len(scores) > 1 and scores == sorted(scores, reverse=True)
        # It goes on learning from the head that it has.
        again = f.write("again.yaml", PLAN.format(
            name="again", task="classify", kind="lora",
            hash=north.json("model", "show", "judge")["hash"]))
        told = north.json("train", "--eval", "--plan", again)
        assert abs(told["initial"]["loss"] -
                   learnt["federated"]["loss"]) < 0.1, (told, learnt)


def case_devices_of_different_ranks_learn_one_classifier():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, KINDS, ranks=(1, 2, 0))
        words = {"name": "ranks", "task": "classify", "hash": base["hash"]}
        more = ("length: 48", "length: 48, label: kind, classes: 3")
        north = f.devices["north"]
        plan = PLAN.format(kind="flora", **words).replace(*more)
        go(f, plan.replace("steps: 4", "steps: 20"), base)
        learnt = north.json("train", "--eval", "--plan", f.path("plan.yaml"))
        assert learnt["federated"]["loss"] < learnt["initial"]["loss"], learnt
        loss = {r["round"]: r["loss"] for r in f.committed()}
        assert loss[2] < loss[1], loss
        # One pair of the plan's rank is published, which merges as any other.
        f.coordinator.run("export", "--output", f.path("sent.safetensors"))
        sent = tensors(f.path("sent.safetensors"))
        shapes = {k[-6:]: v for k, v in sent.items() if ".lora_" in k}
        assert shapes["lora_a"][0] == 4 and shapes["lora_b"][1] == 4, sent
        merged = os.path.join(at, "merged.gguf")
        north.run("model", "merge", "ranks", merged)
        # An update carries four vectors, whatever a device's rank is.
        n = sum(a * (b[0] if b else 1) for a, *b in sent.values())
        left = [row["bytes"] for s in SITES
                for row in f.devices[s].json("audit")["releases"]]
        assert len(left) == 6 and len(set(left)) == 1, left
        assert 4 * 4 * n < left[0] < 4.2 * 4 * n, (n, left)


def case_a_device_without_the_base_says_how_to_get_it():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, ANSWERS, without=("west",))
        plan = PLAN.format(name="reader", task="reader", kind="ffa",
                           hash=base["hash"]).replace(
                               "min_reports: 3", "min_reports: 2")
        path = f.write("plan.yaml", plan)
        # Neither does a coordinator run it without.
        refused = f.coordinator.run("plan", "submit", path, check=False)
        assert refused.returncode == 1, refused
        assert "--base FILE" in refused.stderr, refused.stderr
        f.coordinator.run("plan", "submit", path, "--base", base["path"])
        west = f.devices["west"]
        done = west.run("train", "--plan", path, check=False)
        assert done.returncode == 1, done
        assert "tacit model import" in done.stderr, done.stderr
        assert "is here as" not in done.stderr, done.stderr
        # In another type it is another file, which is said.
        other = imported(west.home, checkpoint(os.path.join(at, "west", "f16")),
                         kind="f16")
        done = west.run("train", "--plan", path, check=False)
        assert (f"tiny is here as F16 ({other['hash'][:16]})" in done.stderr
                and "E0730" in done.stderr), done.stderr
        west.run("model", "rm", "tiny")
        # It declines, and the others go on without it.
        for device in f.devices.values():
            device.start()
        until(lambda: "tacit model import" in west.tail(), 60,
              "west does not decline")
        f.wait_committed(1, 240)
        for device in f.devices.values():
            device.process.stop()
        imported(west.home, checkpoint(os.path.join(at, "west", "late")))
        west.run("train", "--plan", path)


def case_a_device_with_another_built_in_encoder_stays_out():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        for name, note in NOTES.items():
            write(os.path.join(at, "notes", name), note)
        tacit("add", os.path.join(at, "notes"), "--home", home).exits(0)
        own = tacit("status", "--json", "--home",
                    home).exits(0).data["encoder"]["built_in_version"]
        pairs = os.path.join(at, "pairs.csv")
        write(pairs, PAIRS)
        plan = os.path.join(at, "plan.yaml")
        words = ["train", "--plan", plan, "--data", pairs, "--home", home]
        for version, status in ((own, 0), ("static-1-0123456789", 1)):
            write(plan, "name: guide\ntask: retriever\nmodel: {kind: static, "
                  f"encoder: {version}}}\ndata: {{source: pairs}}\nrounds: 1\n")
            done = tacit(*words).exits(status)
            if status:
                done.says("E0745", own, version)
        # Nor is it forgotten where it would be run.
        write(plan, "name: guide\ntask: retriever\nmodel: {kind: static}\n"
              "data: {source: pairs}\n")
        cases.call("tacit-coordinator", "plan", "check",
                   plan).exits(1).says("E0670", own)


def case_too_little_memory_is_said_before_anything_runs():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, checkpoint(os.path.join(at, "model")))
        data = write(os.path.join(at, "texts.csv"), ANSWERS)
        plan = os.path.join(at, "plan.yaml")
        text = PLAN.format(name="reader", task="reader", kind="ffa",
                           hash=base["hash"])
        words = ["train", "--plan", plan, "--data", data, "--home", home]
        write(plan, text)
        takes = tacit(*words, "--json").exits(0).data["memory_bytes"]
        mib = takes // 2**20
        assert 0 < mib < 64, takes
        write(plan, text.replace("local: {",
                                 f"local: {{memory_mib: {mib + 1}, "))
        tacit(*words).exits(0).says("Training takes at most",
                                    f"of the {mib + 1} that it may")
        for steps in ("steps: 4", "optimizer: mezo, steps: 4"):
            write(plan, text.replace("steps: 4", steps + ", memory_mib: 1")
                  .replace("optimizer: adamw, ", "" if "mezo" in steps else
                           "optimizer: adamw, "))
            done = tacit(*words).exits(1).says("E0728", "even with one row",
                                               "is 1 MiB")
            assert "untrained" not in done.out, done


def case_the_bound_of_a_devices_policy_is_kept_in_rounds():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, ANSWERS, more="memory_mib: 1\n")
        plan = f.write("plan.yaml", PLAN.format(
            name="reader", task="reader", kind="ffa", hash=base["hash"]))
        f.coordinator.run("plan", "submit", plan, "--base", base["path"])
        for device in f.devices.values():
            device.start()
        north = f.devices["north"]
        until(lambda: "bound (memory_mib) is 1 MiB" in north.tail(), 60,
              "nothing refused")
        assert not north.json("audit")["releases"]


def case_a_training_ends_where_it_is_told_to():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        base = three_sites(f, at, ANSWERS)
        plan = f.write("plan.yaml", PLAN.format(
            name="reader", task="reader", kind="ffa",
            hash=base["hash"]).replace("steps: 4", "steps: 1000000"))
        f.coordinator.run("plan", "submit", plan, "--base", base["path"])
        for device in f.devices.values():
            device.start()
        north = f.devices["north"]
        until(lambda: "event=task" in north.tail(), 60, "no task")
        for device in f.devices.values():
            assert device.process.stop(timeout=60) == 0
        assert not north.json("audit")["releases"]
        alone = cases.begin("tacit", "train", "--plan", plan, "--home",
                            north.home)
        assert b"Training takes" in alone.stderr.readline()
        done = cases.finish(alone, signal.SIGINT)
        done.exits(130).says("E0014")


def case_another_file_than_the_named_one_is_refused():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, checkpoint(os.path.join(at, "model")))
        other = imported(home, checkpoint(os.path.join(at, "model")), "f",
                         "f32")
        assert base["hash"] != other["hash"]
        data = os.path.join(at, "data")
        for site in SITES:
            write(os.path.join(data, site + ".csv"), ANSWERS)
        plan = os.path.join(at, "plan.yaml")
        write(plan, PLAN.format(name="reader", task="reader", kind="ffa",
                                hash=base["hash"]))
        words = ["run", plan, "--data", data, "-q", "-o"]
        sim(*words, os.path.join(at, "a"), "--base",
                  other["path"]).exits(1).says("another")
        sim(*words, os.path.join(at, "b")).exits(1).says("not here")
        sim(*words, os.path.join(at, "c"), "--base",
                  base["path"]).exits(0)


def model_bytes(at):
    with open(os.path.join(at, "model.safetensors"), "rb") as f:
        raw = f.read()
    size = struct.unpack("<Q", raw[:8])[0]
    return hashlib.sha256(raw[8 + size:]).hexdigest()


def case_the_simulators_sum_has_the_protocols_bits():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, checkpoint(os.path.join(at, "model")))
        readers = os.path.join(at, "readers")
        guides = os.path.join(at, "guides")
        for site in SITES:
            write(os.path.join(readers, site + ".csv"), ANSWERS)
            write(os.path.join(guides, site, "questions.csv"), PAIRS)
            for name, note in NOTES.items():
                write(os.path.join(guides, site, "documents", name), note)
        judges = os.path.join(at, "judges")
        for site in SITES:
            write(os.path.join(judges, site + ".csv"), JUDGED)
        for task, data in (("reader", readers), ("retriever", guides),
                           ("classify", judges)):
            plan = os.path.join(at, task + ".yaml")
            write(plan, PLAN.format(name=task, task=task, kind="ffa",
                                    hash=base["hash"]))
            got = []
            for protocol in ("sum", "full"):
                for threads in "12":
                    out = os.path.join(at, f"{task}-{protocol}-{threads}")
                    sim("run", plan, "--base", base["path"], "--data",
                              data, "-q", "-o", out, "-t", threads, "--set",
                              f"sim.protocol={protocol}").exits(0)
                    got.append(model_bytes(out))
            assert len(set(got)) == 1, (task, got)


def case_a_kept_index_holds_the_clients_documents_alone():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, checkpoint(os.path.join(at, "model")))
        first, copied = (os.path.join(at, x) for x in ("first", "copied"))
        for site in SITES:
            write(os.path.join(first, site, "questions.csv"), PAIRS)
            for name, note in NOTES.items():
                write(os.path.join(first, site, "documents", name), note)
        plan = os.path.join(at, "plan.yaml")
        write(plan, PLAN.format(name="guide", task="retriever", kind="ffa",
                                hash=base["hash"]))

        def learnt(data, out):
            out = os.path.join(at, out)
            sim("run", plan, "--base", base["path"], "--data", data, "-q",
                "-o", out).exits(0)
            return model_bytes(out)

        want = learnt(first, "a")
        assert any(x.startswith(".index-")
                   for x in os.listdir(os.path.join(first, SITES[0])))
        shutil.copytree(first, copied)
        assert learnt(copied, "b") == want
        gone = os.path.join(first, SITES[0], "documents", "gone.md")
        write(gone, "# Gone\n\nThis note is there for one run.\n")
        learnt(first, "c")
        os.remove(gone)
        assert learnt(first, "d") == want


def case_a_simulation_of_different_ranks_has_the_protocols_bits():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, checkpoint(os.path.join(at, "model")))
        data = os.path.join(at, "data")
        for site in SITES:
            write(os.path.join(data, site + ".csv"), KINDS)
        plan = os.path.join(at, "plan.yaml")
        text = PLAN.format(name="kinds", task="classify", kind="flora",
                           hash=base["hash"]).replace(
                               "length: 48",
                               "length: 48, label: kind, classes: 3")
        got = {}
        for ranks in ("", "[4]", "[1, 2, 4]"):
            write(plan, text + (f"sim: {{ranks: {ranks}}}\n" if ranks else ""))
            for protocol in ("sum", "full"):
                for threads in "12":
                    out = os.path.join(at, f"{protocol}-{threads}-{ranks}")
                    sim("run", plan, "--base", base["path"], "--data", data,
                        "-q", "-o", out, "-t", threads, "--set",
                        f"sim.protocol={protocol}").exits(0)
                    got.setdefault(ranks, set()).add(model_bytes(out))
        assert all(len(x) == 1 for x in got.values()), got
        assert got[""] == got["[4]"] != got["[1, 2, 4]"], got


def pairs_of(at):
    """{matrix: the product B A, in rows} of what a simulation published."""
    with open(os.path.join(at, "model.safetensors"), "rb") as f:
        raw = f.read()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)

    def rows(name):
        n, m = header[name]["shape"]
        first, last = header[name]["data_offsets"]
        flat = struct.unpack(f"<{n * m}f", raw[8 + size + first:
                                               8 + size + last])
        return [flat[i * m:i * m + m] for i in range(n)]

    return {name: [[sum(x * y for x, y in zip(row, column))
                    for column in zip(*rows(name[:-1] + "a"))]
                   for row in rows(name)]
            for name in header if name.endswith(".lora_b")}


def case_different_ranks_come_to_the_mean_of_the_stacked_pairs():
    """Ranks 1, 1 and 2 in a plan of rank 4 lose nothing, so that the sum must
    be the mean of the pairs that each site has alone. Alone is two devices
    with one site's rows; every step sees all of them."""
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, checkpoint(os.path.join(at, "model")))
        plan = os.path.join(at, "plan.yaml")
        text = PLAN.format(name="kinds", task="classify", kind="flora",
                           hash=base["hash"])
        for a, b in (("length: 48", "length: 48, label: kind, classes: 3"),
                     ("rank: 4", "rank: 4, targets: [down]"),
                     ("rounds: 2", "rounds: 1"), ("batch: 4", "batch: 64"),
                     ("optimizer: adamw, learning_rate: 0.01",
                      "optimizer: sgd, learning_rate: 0.5"),
                     ("clip: 50", "clip: 1\nweighting: {cap: 10}")):
            assert text.count(a) == 1, a
            text = text.replace(a, b)

        def product(data, ranks, protocol, size):
            write(plan, text.replace("size: 3, min_reports: 3",
                                     f"size: {size}, min_reports: {size}") +
                  f"sim: {{ranks: {ranks}, protocol: {protocol}}}\n")
            out = os.path.join(at, f"out-{len(os.listdir(at))}")
            sim("run", plan, "--base", base["path"], "--data", data, "-q",
                "-o", out).exits(0)
            return pairs_of(out)

        head, *rows = KINDS.splitlines(keepends=True)
        alone, ranks = [], [1, 1, 2]
        for i, site in enumerate(sorted(SITES)):
            own = head + "".join(r for k, r in enumerate(rows)
                                 if k // 2 % 3 != i or r.endswith("test\n"))
            for where in ("all/" + site, site + "/a", site + "/b"):
                write(os.path.join(at, where + ".csv"), own)
            alone.append(product(os.path.join(at, site), [ranks[i]], "sum", 2))
        for protocol in ("sum", "full"):
            got = product(os.path.join(at, "all"), ranks, protocol, 3)
            assert len(got) == 2, got.keys()
            for name, rows in got.items():
                off = length = 0
                for i, row in enumerate(rows):
                    for k, x in enumerate(row):
                        mean = sum(one[name][i][k] for one in alone) / 3
                        off += (x - mean) ** 2
                        length += mean ** 2
                assert off < 1e-6 * length, (protocol, name, off, length)


def case_a_language_model_is_learnt_together():
    data = os.environ.get("TACIT_TEST_DATA", "../shared/data")
    stories = os.path.join(data, "models/stories260K/stories260K-f32.gguf")
    if not os.path.exists(stories):
        print("  stories260K is not here: skipped")
        return
    rows = "text\n" + "".join(
        f"Once upon a time there was a {x} who liked to {y}.\n"
        for x in ("dog", "cat", "girl", "boy") for y in ("play", "run", "sing"))
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        base = imported(home, stories)
        for site in SITES:
            write(os.path.join(at, "data", site + ".csv"), rows)
        plan = os.path.join(at, "plan.yaml")
        write(plan, PLAN.format(name="stories", task="lm", kind="lora",
                                hash=base["hash"]))
        out = os.path.join(at, "out")
        sim("run", plan, "--base", base["path"], "--data",
                  os.path.join(at, "data"), "-q", "-o", out).exits(0)
        with open(os.path.join(out, "metrics.jsonl"), encoding="utf-8") as f:
            told = [json.loads(line) for line in f]
        assert told[-1]["loss_before"] < told[0]["loss_before"], told
        shutil.rmtree(out)


if __name__ == "__main__":
    cases.run(globals())
