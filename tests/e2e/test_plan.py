#!/usr/bin/env python3
"""Plans and tables that cannot work, with real programs.

`plan check` and `plan submit` explain every fault by file, line and key, and
start nothing; a device declines a plan that its policy or its table does not
allow, says why by file, line and column, and the others go on.
"""
# variants: asan
import os
import sqlite3
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, lead, tacit, until, write  # noqa: E402
from federation import Federation  # noqa: E402

PLAN = """name: good
task: classify
model: {kind: logistic}
data:
  source: patients
  label: y
  columns: [{name: a}, {name: b}]
  standardise: none
rounds: 2
cohort: {size: 3, min_reports: 2, over_select: 1.0}
local: {steps: 5, batch: 4, learning_rate: 0.1}
clip: 5
secagg: {ring_bits: 32}
deadline: {stage: 1s, train: 2s}
seed: 1
"""
ROWS = ["a,b,y"] + [f"{i % 7 - 3},{i % 5 - 2},{int(i % 7 + i % 5 > 5)}"
                    for i in range(40)]


def check(path, text=None):
    if text is not None:
        write(path, text)
    return lead("plan", "check", path, timeout=10)


def case_each_fault_is_named_with_its_line():
    """What stands in the plan, what instead, and what is said of it."""
    changes = [
        ("rounds: 2", "rounds: -2", ":9: ", "rounds is -2", "1 to"),
        ("rounds: 2", "rounds: 2.5", ":9: ", "not a whole number"),
        ("rounds: 2", "rounds: two", ":9: ", "not a whole number"),
        ("rounds: 2", "rounds: [2]", ":9", "rounds"),
        ("rounds: 2", "rounds: 99999999999999999999", ":9", "rounds"),
        ("rounds: 2", "round: 2", ':9: unknown key "round"', '"rounds"?'),
        ("rounds: 2", "rounds: 2\nrounds: 3", ":10: ", "twice"),
        ("{size: 3,", "{size: 1,", ":10: ", "cohort.size is 1", "2 to 4096"),
        ("{size: 3,", "{size: 500,", ":10: ", "cohort.size 500 makes 500"),
        ("min_reports: 2", "min_reports: 1", "cohort.min_reports is 1"),
        ("min_reports: 2", "min_reports: 9", "cohort.min_reports is 9"),
        ("0.1}", "nan}", ":11: ", "local.learning_rate: not a number"),
        ("0.1}", ".nan}", ":11: ", "local.learning_rate: not a number"),
        ("0.1}", "1e999}", ":11", "local.learning_rate"),
        ("0.1}", "0}", ":11: ", "local.learning_rate is 0"),
        ("0.1}", "-1}", ":11: ", "local.learning_rate is -1"),
        ("learning_rate", "learing_rate", ':11: unknown key "learing_rate"',
         '"learning_rate"?'),
        ("clip: 5", "clip: 0", ":12: ", "clip is 0"),
        ("clip: 5", "clip: .inf", ":12: ", "clip: not a number"),
        ("{ring_bits: 32}", "off", ":13: ", "secagg: keys with values"),
        ("{ring_bits: 32}", "{mode: none}", ":13: ", "may be on or off"),
        ("{ring_bits: 32}", "{ring_bits: 16}", "ring_bits is 16"),
        ("secagg:", "secag:", ':13: unknown key "secag"', '"secagg"?'),
        ("stage: 1s", "stage: soon", ":14: ", "deadline.stage", "30s"),
        ("stage: 1s", "stage: -1s", ":14: ", "deadline.stage"),
        ("seed: 1", "seed: -1", ":15: ", "seed is -1"),
        ("task: classify", "task: clasify", ":2: ", '"classify"?'),
        ("task: classify", "task: {}", ":2", "task"),
        ("kind: logistic", "kind: gpt", ":3: ",
         "logistic, softmax, mlp or cnn"),
        ("kind: logistic", "kind: mlp, hidden: [65536, 65536]",
         ":3: ", "weights; there may be"),
        ("kind: logistic", "kind: mlp, hidden: [0]", "model.hidden is 0"),
        ("name: good", "name: ../x", ":1: ", "letters, digits"),
        ("name: good", "name: ''", ":1: ", "name is empty"),
        ("  label: y\n", "", "data.label is missing"),
        ("label: y", "label: a", "the label", "told the answer"),
        ("{name: a}, {name: b}", "{name: a}, {name: a}", "twice"),
        ("{name: a}, {name: b}", "", "data.columns is missing"),
        ("{name: a}", "{name: a, sd: 0}", ":7", "a has a mean or sd"),
        ("{name: a}", "{name: a, values: [1, 1]}", "a value twice"),
        ("{name: a}", "{nmae: a}", ':7: unknown key "nmae"', '"name"?'),
        ("{name: a}", "a", ":7: ", "columns[1]"),
        ("  source: patients\n", "", '"source" is missing in data'),
        ("task: classify\n", "", '"task" is missing'),
        ("seed: 1", "seed: *n", "a reference (*name) may not stand here"),
        ("rounds: 2", "rounds:\t2\n\tx", ":10:", "not valid YAML"),
        ("seed: 1", "seed: 1\n---\nname: b", ":16: a second document"),
    ]
    with folder() as here:
        path = os.path.join(here, "p.yaml")
        check(path, PLAN).exits(0).prints("valid good", "hash")
        for was, now, *says in changes:
            assert was in PLAN, was
            done = check(path, PLAN.replace(was, now, 1)).exits(1)
            assert done.out == "", done
            done.says("p.yaml", *says)
            assert done.err.count("p.yaml") == 1 or "(1 of" in done.err, done


def case_several_faults_are_all_told():
    text = (PLAN.replace("rounds: 2", "rounds: 0").replace("clip", "clipp")
            .replace("learning_rate: 0.1", "learning_rate: 200")
            .replace("seed: 1", "seed: -4").replace("ring_bits: 32",
                                                    "ring_bits: 7"))
    with folder() as here:
        path = os.path.join(here, "p.yaml")
        done = check(path, text).exits(1)
        done.says('p.yaml:12: unknown key "clipp"; did you mean "clip"?',
                  "p.yaml:9: rounds is 0", "p.yaml:11: local.learning_rate is",
                  "p.yaml:13: secagg.ring_bits is 7", "p.yaml:15: seed is -4",
                  "(1 of 5)", "(5 of 5)")
        again = lead("plan", "check", path, "--json").exits(1)
        assert again.code == "TACIT-E0106" and again.err == "", again
        message = again.envelope()["error"]["message"]
        assert "(5 of 5)" in message, message
        # The device's own command reads plans in the same way.
        home = os.path.join(here, "home")
        tacit("init", "--home", home).exits(0)
        tacit("train", "--plan", path, "--home", home).exits(1).says("of 5)")


def case_a_strategy_is_checked_with_its_numbers():
    changes = [
        ("{kind: fedadm}", ':16: strategy.kind is "fedadm"', '"fedadam"?'),
        ("{kind: fedavg, mu: 1}", ":16: strategy.mu has no effect"),
        ("{kind: feddyn, server_learning_rate: 2}", "has no effect: feddyn"),
        ("{mu: 1}", '"kind" is missing in strategy'),
        ("{kind: fedprox, mu: -1}", "strategy.mu is -1; it may be 0 to 1000"),
        ("{kind: median}", "give strategy.groups"),
        ("{kind: median, groups: 3}", "leaves 1 devices of cohort.size 3"),
        ("{kind: fedper}", "strategy.personal 1: the model has no more than"),
    ]
    with folder() as here:
        path = os.path.join(here, "p.yaml")
        for strategy, *says in changes:
            done = check(path, f"{PLAN}strategy: {strategy}\n").exits(1)
            done.says(*says)
        for optimizer in ("adam", "adamw"):
            text = PLAN.replace("steps: 5", f"steps: 5, optimizer: {optimizer}")
            done = check(path, text + "strategy: {kind: scaffold}\n").exits(1)
            done.says("scaffold is defined for local.optimizer: sgd")
        off = PLAN.replace("{ring_bits: 32}", "{mode: off}")
        check(path, off).exits(1).says("plan good: secagg.mode: off is for sim")
        check(path, PLAN).exits(0).prints("by fedavg")
        check(path, PLAN.replace("size: 3", "size: 40")
              + "strategy: {kind: krum, groups: 8}\n").exits(0).prints(
            "by krum across 8 groups", "40 devices (16 to 40 take part)")
        done = lead("plan", "check", path, "--json").exits(0)
        data = done.envelope()["data"]
        assert (data["strategy"], data["groups"]) == ("krum", 8), data
        # Two vectors of two weights and a bias go up.
        sent = {}
        for kind in ("fedavg", "scaffold"):
            check(path, f"{PLAN}strategy: {{kind: {kind}}}\n").exits(0)
            done = lead("plan", "check", path, "--json").exits(0)
            sent[kind] = done.envelope()["data"]["upload_bytes"]
        assert sent["scaffold"] - sent["fedavg"] == 3 * 4, sent
        lead("explain", "E0518").exits(0).prints("robust rule")


def case_what_is_no_plan_at_all():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n"
        for p, c in zip("abcdefgh", "bcdefghi"))
    with folder() as here:
        path = os.path.join(here, "p.yaml")
        for text, says in (
                ("", "empty"), ("\n\n# nothing\n", "empty"), ("just text", "p"),
                ("[]", "p.yaml"), (b"\xff\xfe\x00", "not UTF-8"),
                (PLAN.encode() + b"# \xe9\n", "p.yaml:16: not UTF-8"),
                (b"name: a\0b\n", "p.yaml"), (bomb, "p.yaml"),
                ("{" * 5000, "p.yaml"), ("- " * 3000 + "x", "p.yaml"),
                ("name: " + "x" * 60000, "is missing"),
                (PLAN + "#" * 70000, "65536"),
                ("name: good\n" + "k: 1\n" * 9000, "unknown key"),
                (os.urandom(5000), "p.yaml"),
                ("!!python/object:os x", "p.yaml"),
                ("%YAML 9.9\n---\n" + PLAN, "p.yaml")):
            start = time.monotonic()
            done = check(path, text).exits(1).says(says, "TACIT-E")
            assert done.out == "" and len(done.err) < 2000, done
            assert time.monotonic() - start < 5, text[:40]
        write(path, "")
        with open(path, "ab") as f:
            f.truncate(3 << 30)  # three sparse gigabytes
        check(path).exits(1).says("p.yaml", "TACIT-E0005")
        os.remove(path)
        check(path).exits(1).says("p.yaml", "TACIT-E")
        check(here).exits(1).says(here, "TACIT-E")
        check("/dev/zero").exits(1).says("/dev/zero", "TACIT-E")
        os.mkfifo(path)
        check(path).exits(1).says("p.yaml", "TACIT-E")


def contents(home):
    with sqlite3.connect(os.path.join(home, "coordinator.db")) as db:
        tables = [t for t, in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%' ORDER BY name")]
        rows = {t: db.execute(f"SELECT * FROM {t}").fetchall() for t in tables}
    db.close()
    return rows, sorted(os.listdir(os.path.join(home, "blobs")))


def case_a_faulty_plan_changes_nothing():
    with folder() as here:
        home, path = os.path.join(here, "lead"), os.path.join(here, "p.yaml")
        check(path, PLAN).exits(0)
        assert os.listdir(here) == ["p.yaml"], "check made something"
        lead("init", "--home", home).exits(0)
        before = contents(home)
        for text in (PLAN.replace("clip: 5", "clip: -5"), "", "name: x",
                     PLAN.replace("kind: logistic",
                                  "kind: mlp, hidden: [65536, 65536]")):
            write(path, text)
            done = lead("plan", "submit", path, "--home", home).exits(1)
            done.says("p.yaml")
            assert contents(home) == before
        write(path, PLAN)
        lead("plan", "submit", path, "--home", home).exits(0)
        after = contents(home)
        assert after != before
        # The same bytes again are the same plan; other bytes are another.
        again = lead("plan", "submit", path, "--home", home).exits(0)
        again.prints("already submitted")
        assert contents(home) == after


def policy(path, **more):
    lines = {"tasks": "[classify]", "min_cohort": "2", "clip_max": "100",
             "budget": "{updates: 1000, updates_per_day: 1000}", **more}
    return ("".join(f"{k}: {v}\n" for k, v in lines.items()) +
            f"data:\n  - {{source: patients, file: {path}}}\n")


TABLES = {  # a name, the table, what is said of it
    "no-column": (["a,bb,y"] + ROWS[1:], ('"b"',)),
    "no-label": (["a,b,z"] + ROWS[1:], ('"y"',)),
    "text": (ROWS[:5] + ["high,1,1"] + ROWS[5:], (":6: ", '"a"')),
    "nan": (ROWS[:9] + ["1,NaN,1"] + ROWS[9:], (":10: ", '"b"')),
    "infinite": (ROWS + ["1,1e999,1"], (":42: ", '"b"')),
    "short": (ROWS[:3] + ["1"] + ROWS[3:], (":4: ", "header names 3")),
    "long": (ROWS[:3] + ["1,2,3,4"] + ROWS[3:], (":4: ", "more values")),
    "quote": (ROWS + ['"1,2,3'], (":42: ", "quote")),
    "unknown": (["a,b,y"] + ["?,1,1"] * 9, ("no row to train on",)),
    "header": (ROWS[:1], ("no row to train on",)),
    "empty": ([], ("empty",)),
}


def case_a_table_that_cannot_be_used_is_named():
    with folder() as here:
        home, plan = os.path.join(here, "home"), os.path.join(here, "p.yaml")
        write(plan, PLAN)
        tacit("init", "--home", home).exits(0)
        for name, (rows, says) in TABLES.items():
            path = write(os.path.join(here, name + ".csv"),
                         "".join(r + "\n" for r in rows))
            done = tacit("train", "--plan", plan, "--data", path, "--home",
                         home).exits(1)
            done.says(name + ".csv", *says)
            assert done.out == "", done
        path = write(os.path.join(here, "latin.csv"), b"a,b,y\n1,2,\xe9\n")
        tacit("train", "--plan", plan, "--data", path, "--home",
              home).exits(1).says("latin.csv", "UTF-8")
        tacit("train", "--plan", plan, "--data", here + "/none.csv", "--home",
              home).exits(1).says("none.csv")
        tacit("train", "--plan", plan, "--data", here, "--home",
              home).exits(1).says(here)
        # Rows with a value that is not known are left out, and counted.
        path = write(os.path.join(here, "some.csv"),
                     "\n".join(ROWS + ["?,1,1", "1,,0"]) + "\n")
        done = tacit("train", "--plan", plan, "--data", path, "--home",
                     home).exits(0).prints("2 left out")


def case_a_device_declines_and_the_others_go_on():
    """Each of these says why in its log; three good ones make the rounds."""
    odd = {name: (policy("{}/" + name + ".csv"), says)
           for name, (_, says) in TABLES.items()
           if name in ("no-column", "text", "nan", "unknown")}
    odd.update({
        "no-task": (policy("{}/good.csv", tasks="[regress]"), ("classify",)),
        "no-data": (policy("{}/good.csv").replace("source: patients",
                                                  "source: others"),
                    ("patients",)),
        "cohort": (policy("{}/good.csv", min_cohort="5"), ("min_cohort",)),
        "clip": (policy("{}/good.csv", clip_max="1"), ("clip",)),
        "spent": (policy("{}/good.csv", budget="{{updates: 0, "
                         "updates_per_day: 0}}"), ("0 of 0 updates",)),
        "broken": ("tasks: [clasify]\n", ("policy.yaml:1", "classify")),
        "gone": (policy("{}/gone.csv"), ("gone.csv",)),
    })
    with Federation() as f:
        f.start_coordinator()
        f.write("good.csv", "\n".join(ROWS) + "\n")
        for name, (rows, _) in TABLES.items():
            f.write(name + ".csv", "".join(r + "\n" for r in rows))
        good = [f.add_device(f"good{i}", policy=policy(f.path("good.csv")))
                for i in range(3)]
        for name, (text, _) in odd.items():
            f.add_device(name, policy=text.replace("{}", f.folder).replace(
                "{{", "{").replace("}}", "}"))
        for device in f.devices.values():
            device.start()
        f.submit(PLAN.replace("size: 3, min_reports: 2",
                              "size: 14, min_reports: 2").replace(
                                  "stage: 1s, train: 2s",
                                  "stage: 5s, train: 10s"))
        f.wait_committed(2, 60)
        # Nobody who cannot train has a seat: no round is lost to them.
        assert [(r["state"], r["n_inputs"]) for r in f.rounds()] == [
            ("committed", 3)] * 2, f.rounds()
        for name, (_, says) in odd.items():
            device = f.devices[name]
            until(lambda d=device: "reason=" in d.tail(200), 10,
                  f"{name} says why")
            log = device.tail(200)
            for word in says:
                assert word in log.replace('\\"', '"'), (name, word, log)
            assert device.process.alive(), name
            assert device.json("audit")["releases"] == [], name
        for device in good:
            assert len(device.json("audit")["releases"]) >= 2


if __name__ == "__main__":
    cases.run(globals())
