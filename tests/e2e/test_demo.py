#!/usr/bin/env python3
"""The demo, as somebody sees it who types `make demo`: it tells its story, ends
well and soon, leaves a page that needs nothing else, and takes everything of
its own away, also when it is stopped in the middle.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, until, write  # noqa: E402

DEMO = os.path.join(cases.REPOSITORY, "sims/clinic/demo.sh")
SITES = ("northgate", "harbour", "lakeside", "hillcrest")
LIMIT_S = 60


class Demo:
    """The demo in a process group of its own, with a $TMPDIR of its own: by
    that its processes and folders are known from all others."""

    def __init__(self, here, **env):
        self.tmp = os.path.join(here, "tmp")
        self.out = os.path.join(here, "out")
        os.makedirs(self.tmp, exist_ok=True)
        self.log = os.path.join(here, "log")
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                ["bash", DEMO], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                env={**os.environ, "TMPDIR": self.tmp,
                     "TACIT_BIN": os.path.abspath(cases.BIN),
                     "TACIT_DEMO_OUT": self.out, **env})

    def said(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()

    def wait(self, timeout=LIMIT_S):
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            raise AssertionError(f"still runs:\n{self.said()}") from None

    def left(self):
        """Command lines of its processes that still run."""
        mark, found = f"TMPDIR={self.tmp}\0".encode(), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    mine = mark in f.read() + b"\0"
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if mine:
                        found.append(f.read().replace(b"\0", b" ").decode())
            except OSError:
                pass
        return found

    def nothing_is_left(self):
        assert self.left() == [], self.left()
        assert os.listdir(self.tmp) == [], os.listdir(self.tmp)


def the_page_needs_nothing_else(page, here):
    for word in ("http:", "https:", "src=", "href=", "@import", "url(",
                 "<script", "<link", here):
        assert word not in page, word
    for word in (*SITES, "<svg", "Nothing here answers this",
                 "epsilon is not bounded", "whole"):
        assert word in page, word
    for chart in re.findall("<svg.*?</svg>", page, re.S):
        assert not re.search(r"\b(nan|inf)\b", chart), chart
    # Four charts of curves with a line in each, two of bars.
    assert page.count("<svg") == page.count("</svg>") == 6, page.count("<svg")
    assert len(re.findall(r'd="M[\d.]+ [\d.]+(L[\d.]+ [\d.]+)+"', page)) == 4


def case_a_whole_run_tells_its_story_and_cleans_up():
    with folder() as here:
        write(here + "/out/notes.txt", "mine")
        demo = Demo(here)
        status, said = demo.wait(), demo.said()
        assert status == 0, said
        demo.nothing_is_left()
        for n in range(1, 8):
            assert re.search(rf"^{n}\. ", said, re.M), (n, said)
        for site in SITES:  # one row per site in either table
            row = rf"^  {site} +\d\.\d{{3}} +\d\.\d{{3}} +[+-]\d\.\d{{3}}$"
            assert len(re.findall(row, said, re.M)) == 2, (site, said)
        means = re.findall(r"^  mean .* ([+-]\d\.\d{3})$", said, re.M)
        assert len(means) == 2 and all(float(m) > 0 for m in means), said
        assert "risk                      20/20  committed" in said, said
        assert "retriever                 30/30  committed" in said, said
        assert "E0230" in said and "(exit code 6)" in said, said
        assert "chain whole" in said, said
        assert f"report   {demo.out}/report.html" in said, said
        assert "\033" not in said, "colours, and no terminal"
        names = set(os.listdir(demo.out))
        assert {"report.html", "risk.safetensors", "retriever.safetensors",
                "rounds.json", "notes.txt"} <= names, names
        with open(demo.out + "/notes.txt", encoding="utf-8") as f:
            assert f.read() == "mine"
        for site in SITES:
            with open(f"{demo.out}/audit-{site}.json", encoding="utf-8") as f:
                audit = json.load(f)["data"]
            assert audit["chain_ok"] and len(audit["releases"]) == 50, audit
        with open(demo.out + "/report.html", encoding="utf-8") as f:
            the_page_needs_nothing_else(f.read(), here)


def stopped(how, status, step):
    """A demo that gets this signal, whole group, when it has come so far."""
    with folder() as here:
        demo = Demo(here)
        until(lambda: f"\n{step}" in demo.said() or demo.popen.poll()
              is not None, LIMIT_S, "the demo does not start")
        time.sleep(0.3)
        os.killpg(demo.popen.pid, how)
        got = demo.wait(20)
        assert got == status, (got, demo.said())
        demo.nothing_is_left()
        assert not os.path.exists(demo.out + "/report.html"), demo.said()


def case_ctrl_c_leaves_nothing_behind():
    for step in ("1.", "2."):
        stopped(signal.SIGINT, 130, step)


def case_sigterm_leaves_nothing_behind():
    stopped(signal.SIGTERM, 143, "2.")


def case_an_impatient_ctrl_c_twice_leaves_nothing_behind():
    with folder() as here:
        demo = Demo(here)
        until(lambda: "\n2." in demo.said(), LIMIT_S, "the demo does not start")
        for _ in range(3):
            os.killpg(demo.popen.pid, signal.SIGINT)
            time.sleep(0.01)
        assert demo.wait(20) == 130, demo.said()
        demo.nothing_is_left()


def case_it_ends_by_itself_and_shows_the_logs():
    with folder() as here:
        demo = Demo(here, TACIT_DEMO_LIMIT_S="1")
        assert demo.wait(20) == 143, demo.said()
        assert "demo: failed" in demo.said(), demo.said()
        assert "--- coordinator.log" in demo.said(), demo.said()
        demo.nothing_is_left()


if __name__ == "__main__":
    cases.run(globals())
