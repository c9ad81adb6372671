#!/usr/bin/env python3
"""What --json prints is what client/JSON.md says, field by field and with its
type; nothing is printed that does not stand there.
"""
# variants: asan
import os
import re
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, tacit, write  # noqa: E402

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
    return {str: "string", int: "integer", float: "number",
            dict: "object"}[type(value)]


def printed(value, at=""):
    """{field: type} of what a command printed."""
    if isinstance(value, dict):
        found = {}
        for name, v in value.items():
            found.update(printed(v, f"{at}.{name}" if at else name))
        return found
    pair = isinstance(value, list) and value and isinstance(value[0], int)
    if not isinstance(value, list) or pair:
        return {at: kind(value)}
    found = {f"{at}[]": None} if not value else {}
    for v in value:
        found.update(printed(v, at + "[]"))
    return found


def same(command, data, more=None):
    want, got = dict(promised(command), **(more or {})), printed(data)
    objects = {f for f, k in want.items() if k == "object"}
    for field in objects:
        del want[field]
    for field, is_kind in got.items():
        if is_kind is None:  # an empty list says nothing of its members
            assert any(w.startswith(field) for w in want), (command, field)
        else:
            assert want.get(field) == is_kind, (command, field, is_kind)
    empty = [f for f, k in got.items() if k is None]
    left = [w for w in set(want) - set(got)
            if not any(w.startswith(e) for e in empty)]
    assert not left, (command, left)


def case_every_field_stands_in_the_reference():
    with folder() as at:
        docs, home = os.path.join(at, "docs"), os.path.join(at, "home")
        write(os.path.join(docs, "pumps.md"), TEXT)
        write(os.path.join(docs, "again.md"), TEXT + "\nIt is then dried.\n")
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


if __name__ == "__main__":
    cases.run(globals())
