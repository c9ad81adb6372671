#!/usr/bin/env python3
"""What --json prints is what client/JSON.md says, field by field and with its
type; nothing is printed that does not stand there.
"""
# variants: asan
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, tacit, write  # noqa: E402
from test_ask import beir  # noqa: E402
from test_rerank import Network  # noqa: E402

PAGE = os.path.join(os.path.dirname(__file__), "../../client/JSON.md")
TEXT = """# Pumps

## Cleaning

The infusion pump is cleaned with soap and warm water every evening.
"""


def promised(command):
    """{field: type} of the section of a command."""
    with open(PAGE, encoding="utf-8") as f:
        section = f.read().split(f"\n## {command}\n")[1].split("\n## ")[0]
    found = {}
    for row in re.findall(r"^\| `.*$", section, re.M):
        fields, kinds = (c.strip() for c in row.split(" | ")[:2])
        fields, kinds = re.findall(r"`([^`]+)`", fields), kinds.split(", ")
        if len(kinds) == 1:
            kinds *= len(fields)
        assert len(kinds) == len(fields), row
        found.update(zip(fields, kinds))
    return found


def kind(value):
    if isinstance(value, list):
        assert len(value) == 2 and all(isinstance(v, int) for v in value)
        return "[2]"
    return {str: "string", int: "integer", float: "number", bool: "boolean",
            type(None): "null", dict: "object"}[type(value)]


def joined(*all_found):
    """What is known of several values: one that is empty says nothing."""
    rows = [row for found in all_found for row in found.items()]
    known = {field: k for field, k in rows if k is not None}
    return known | {field: None for field, k in rows if k is None
                    and not any(f.startswith(field) for f in known)}


def printed(value, at=""):
    """{field: type} of what a command printed; None of a list that is empty
    wherever it is printed."""
    if isinstance(value, dict):
        return joined(*(printed(v, f"{at}.{name}" if at else name)
                        for name, v in value.items()))
    pair = isinstance(value, list) and value and isinstance(value[0], int)
    if not isinstance(value, list) or pair:
        return {at: kind(value)}
    if not value:
        return {f"{at}[]": None}
    return joined(*(printed(v, at + "[]") for v in value))


def same(command, data, more=None):
    """All that stands in the section is printed, and nothing else."""
    want, got = dict(promised(command), **(more or {})), printed(data)
    for field in [f for f, k in want.items() if k == "object"]:
        del want[field]
    for field, is_kind in got.items():
        assert is_kind is not None, (command, field, "is empty: not compared")
        assert is_kind in want.get(field, "").split(" or "), \
            (command, field, is_kind)
    left = set(want) - set(got)
    assert not left, (command, left)


def case_every_field_stands_in_the_reference():
    with folder() as at:
        docs, home = os.path.join(at, "docs"), os.path.join(at, "home")
        write(os.path.join(docs, "pumps.md"), TEXT)
        write(os.path.join(docs, "again.md"), TEXT + "\nIt is then dried.\n")
        write(os.path.join(docs, "copy/pumps.md"), TEXT)
        write(os.path.join(docs, "cut.csv"), "pump,ward\nblue,4B\nred\n")
        write(os.path.join(docs, "broken.pdf"), "no page")
        os.symlink("/etc", os.path.join(docs, "out"))

        def run(*words):
            return tacit("--home", home, *words, "--json")
        run("init").exits(0)
        same("add", run("add", docs).data)
        same("ls", run("ls").data)
        assert printed(run("ls", "--folders").data) == {"folders[]": "string"}
        search = promised("search")
        same("search", run("search", "cleaned pump evening").exits(0).data)
        hit = {f.replace("hits[]", "passages[]"): k for f, k in search.items()
               if f.startswith("hits[]")}
        rest = {f: k for f, k in search.items() if f not in hit
                and not f.startswith("hits[]")}
        asked = run("ask", "When is the infusion pump cleaned?").exits(0).data
        same("ask", asked, {**hit, **rest})
        same("open", run("open", "1").exits(0).data)


def case_the_fields_of_evaluations_stand_there():
    with folder() as at:
        home, env = os.path.join(at, "home"), {"TMPDIR": at}
        judge = Network(os.path.join(at, "judge")).path

        def run(*words):
            return tacit("--home", home, *words, "--json", env=env)
        run("init").exits(0)
        run("model", "import", judge).exits(0)
        beir(at)
        words = ("eval", "retrieval", at, "--weight", "0.5")
        judged = ("--reranker", "judge")
        same("eval retrieval",
             run(*words, "--per-query", *judged).exits(0).data)
        assert {m["mode"] for m in run(*words).exits(0).data["modes"]} == \
            {"words", "vectors", "ranks", "scores"}
        squad = {"data": [{"title": "Pumps", "paragraphs": [{
            "context": TEXT, "qas": [
                {"id": "1", "question": "When is the pump cleaned?",
                 "answers": [{"text": "every evening"}]},
                {"id": "2", "question": "What do parrots cost in Lima?",
                 "is_impossible": True, "answers": []}]}]}]}
        file = write(os.path.join(at, "squad.json"), json.dumps(squad))
        same("eval answers", run("eval", "answers", file, "--per-question",
                                 *judged).exits(0).data)
        rows = write(os.path.join(at, "asked.csv"),
                     "question,document\nsleeping cat,d1\n")
        got = printed(run("eval", "answers", rows, "--texts",
                          os.path.join(at, "corpus.jsonl")).exits(0).data)
        left = set(promised("eval answers")) - set(got)
        assert {f.split(".")[-1] for f in left if "per_question" not in f} == \
            {"exact", "f1", "risk", "exact_answerable", "f1_answerable",
             "name", "passages"}, left


if __name__ == "__main__":
    cases.run(globals())
