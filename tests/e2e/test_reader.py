#!/usr/bin/env python3
"""The built-in reader, improved by three devices on loopback under secure
aggregation: it finds the answers of held-out rows that it did not find before,
and what was adopted reads at once.

The sites write their doses in a way that no text that the reader learnt from
does, and want the code behind the dose.
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
import test_encoder  # noqa: E402
from cases import folder, write  # noqa: E402
from federation import Federation  # noqa: E402

SITES = ("north", "south", "west")
DRUGS = ("warfarin", "digoxin", "heparin", "insulin", "morphine", "aspirin",
         "codeine", "lithium", "phenytoin", "tramadol", "ramipril",
         "atenolol")
PLAN = """name: answers
task: reader
model: {kind: reader, encoder: VERSION}
data: {source: texts, holdout: 0.3}
rounds: 3
cohort: {size: 3, min_reports: 3, over_select: 1}
local: {steps: 30, batch: 8, optimizer: adamw, learning_rate: 0.005}
clip: 50
deadline: {stage: 60s, train: 5m}
seed: 5
"""


def rows(at):
    """A site's rows; every drug in another order and with another code."""
    out = ["question,passage,answer,split"]
    for i, drug in enumerate(DRUGS):
        code = f"kx{at}{i}"
        text = (f"The ward keeps {drug} in the steel cabinet. The nurse "
                f"writes {drug} {i + 2} mg then {code} on the sheet.")
        split = "test" if i % 3 == 2 else "train"
        out.append(f"what is the mark of {drug},{text},{code},{split}")
    return "\n".join(out) + "\n"


def case_a_federation_improves_the_built_in_reader():
    with Federation() as f, folder() as at:
        f.start_coordinator()
        for n, site in enumerate(SITES):
            path = os.path.join(at, site, "texts.csv")
            write(path, rows(n))
            f.add_device(site, policy=(
                "tasks: [reader]\nmin_cohort: 2\nclip_max: 100\n"
                f"data:\n  - {{source: texts, file: {path}}}\n"))
        north = f.devices["north"]
        assert north.json("status")["reader"] == {
            "name": "built-in", "set_aside": ""}
        own = north.json("status")["encoder"]["built_in_version"]
        f.coordinator.run("plan", "submit", f.write(
            "plan.yaml", PLAN.replace("VERSION", own)))
        for device in f.devices.values():
            device.start()
        f.wait_committed(3, 240)
        for device in f.devices.values():
            device.process.stop()
        got = north.json("train", "--eval", "--plan", f.path("plan.yaml"))
        assert got["metric"] == "exact_spans", got
        before, after = got["initial"], got["federated"]
        assert after["version"] == 3 and after["rows"] == 4, got
        assert after["loss"] < 0.5 * before["loss"], got
        assert after["metric"] > before["metric"], got

        # What was adopted reads; the answer holds the code.
        assert north.json("status")["reader"] == {
            "name": "plan answers version 3", "set_aside": ""}
        write(os.path.join(at, "note.txt"),
              "The ward keeps enalapril in the steel cabinet. The nurse "
              "writes enalapril 9 mg then kx77 on the sheet.\n")
        north.run("add", os.path.join(at, "note.txt"))
        said = north.json("ask", "--threshold", "0",
                          "what is the mark of enalapril")
        assert said["reader"] == "plan answers version 3", said
        assert said["span"]["text"] == "kx77", said


def with_a_head(at, rows_of_head):
    """A BERT of random numbers with a question-answering head."""
    bert = test_encoder.bert
    try:
        test_encoder.bert = lambda width: [
            *bert(width), ("qa_outputs.weight", (rows_of_head, width)),
            ("qa_outputs.bias", (rows_of_head,))]
        return test_encoder.checkpoint(at)
    finally:
        test_encoder.bert = bert


def case_an_imported_network_with_a_head_for_spans_reads():
    with folder() as at:
        home = test_encoder.Home(at)
        path = with_a_head(os.path.join(at, "qa"), 2)
        home.data("model", "import", path, "--name", "qa")
        assert home.data("model", "use", "qa") == {"reads": "qa"}
        assert home.data("status")["reader"]["name"] == "qa"
        listed = home.data("model", "ls")
        assert listed["reads"] == "qa", listed
        assert [m["reads"] for m in listed["models"]] == [True], listed
        assert home.data("model", "show", "qa")["use"] == "reads"
        assert home.data("status")["encoder"]["name"] == "built-in"
        home.run("model", "export", "qa", path + "-out", "--folder").exits(0)
        with open(path + "-out/config.json") as f:
            assert json.load(f)["architectures"] == [
                "BertForQuestionAnswering"]
        home.run("add", home.notes).exits(0)
        ask = ("ask", "--threshold", "0", "what dose of warfarin")
        said = home.data(*ask)
        assert said["reader"] == "qa" and said["sentences"], said
        home.run("model", "rm", "qa").exits(1)
        home.data("model", "use", "built-in-reader")
        assert home.data(*ask)["reader"] == "built-in"
        assert home.data("model", "ls")["reads"] == "built-in"
        home.run("model", "rm", "qa").exits(0)

        # A head of another shape is no reader.
        path = with_a_head(os.path.join(at, "three"), 3)
        home.data("model", "import", path, "--name", "three")
        home.run("model", "use", "three").exits(1)
        assert home.data("status")["reader"]["name"] == "built-in"


if __name__ == "__main__":
    cases.run(globals())
