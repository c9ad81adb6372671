#!/usr/bin/env python3
"""The README's commands, line by line, as somebody new would type them: walk A
(a folder, a question) without any network, walk B (three devices, a round, a
new model) on loopback. A command that the README gains is run here too.
"""
# variants: asan
import glob
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import REPOSITORY, Done, finish, folder, write  # noqa: E402
from federation import BIN, free_port  # noqa: E402

CLINIC = os.path.join(REPOSITORY, "sims/clinic")
SITES = ("harbour", "lakeside", "hillcrest")
OFFLINE = ["unshare", "-rn"]
with open(os.path.join(REPOSITORY, "README.md"), encoding="utf-8") as readme:
    README = readme.read()


def commands(title):
    """The lines of the first sh block below a heading, as lists of words."""
    section = README.split(f"\n## {title}\n")[1].split("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.S).group(1)
    lines = block.replace("\\\n", " ").splitlines()
    return [w for w in (shlex.split(line, comments=True) for line in lines)
            if w]


def can_be_offline():
    return shutil.which("unshare") is not None and subprocess.run(
        [*OFFLINE, "true"], stderr=subprocess.DEVNULL,
        check=False).returncode == 0


class Person:
    """Somebody with a home of their own, who types commands there."""

    def __init__(self, home):
        self.home = home
        os.makedirs(home, exist_ok=True)
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(("TACIT_H", "TACIT_C", "XDG_"))}
        self.env["HOME"] = home
        self.env["PATH"] = os.path.abspath(BIN) + ":" + os.environ["PATH"]
        self.running = None

    def words(self, argv):
        return [re.sub(r"^~(?=/)", self.home, w) for w in argv]

    def type(self, *argv, offline=False, stdin=None):
        argv = [*(OFFLINE if offline else []), *self.words(argv)]
        done = subprocess.run(argv, env=self.env, cwd=self.home, timeout=60,
                              input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        return Done(argv, done.returncode, done.stdout.decode(),
                    done.stderr.decode())

    def json(self, *argv, **how):
        return self.type(*argv, "--json", **how).exits(0).data

    def start(self, *argv):
        with open(self.home + ".log", "ab") as log:
            self.running = subprocess.Popen(
                argv, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log)

    def stop(self, how=signal.SIGTERM):
        running, self.running = self.running, None
        return finish(running, how) if running else None

    def path(self, *names):
        return os.path.join(self.home, ".local/share/tacit", *names)


def case_your_own_folder_without_any_network():
    offline = can_be_offline()
    if not offline:
        print("  unshare -rn does not work here: the network stays up")
    with folder() as at:
        me = Person(at)
        write(at + "/Documents/wards.md",
              "# Wards\n\n## Supplies\n\nOn weekdays the store room orders.\n\n"
              "At weekends the nurse in charge orders more gloves from the "
              "central store.\n")
        write(at + "/Documents/deep/kitchen.txt", "Soup is served at noon.\n")
        seen = []
        for argv in commands("Your own folder"):
            if argv[0] == "make":
                assert any("build/release/bin" in w for w in argv), argv
                continue
            seen.append(argv[1])
            done = me.type(*argv, offline=offline).exits(0)
            if argv[1] == "add":
                done.prints("2 added")
            elif argv[1] == "ask":
                done.prints("nurse in charge", "[1]", "wards.md", "Supplies")
                assert "Soup" not in done.out, done
            elif argv[1] == "search":
                done.prints("gloves", "wards.md")
        assert {"init", "add", "ask", "search", "feedback"} <= set(seen), seen
        me.type("tacit", "ask", "who repairs the roof of the chapel?",
                offline=offline).exits(6)
        me.type("tacit", "audit", offline=offline).exits(0)
        me.type("tacit", "doctor", offline=offline).exits(0)


def case_every_command_that_the_readme_names_exists():
    prose = re.sub(r"```.*?```", "", README, flags=re.S)
    named = [shlex.split(text) for text in
             re.findall(r"`(tacit(?:-coordinator|-sim)? [^`]*)`", prose)]
    for title in ("Your own folder", "A federation"):
        named += [w for w in commands(title) if w[0].startswith("tacit")]
    assert len(named) >= 20, named
    with folder() as at:
        me = Person(at)
        for words in named:
            flags = [w for w in words if w.startswith("-") and w != "-"]
            verb = [w for w in words[1:3] if re.fullmatch("[a-z]+", w)]
            if not verb:
                me.type(*words).exits(0)
                continue
            if verb[0] not in ("plan", "eval", "model"):
                verb = verb[:1]
            done = me.type(words[0], *verb, "--help").exits(0)
            for flag in flags:
                done.prints(flag)


# ---- walk B ------------------------------------------------------------


class Walk:
    """The README's federation: an operator and three devices."""

    def __init__(self, at):
        self.lead = Person(os.path.join(at, "coordinator"))
        self.sites = {s: Person(os.path.join(at, s)) for s in SITES}
        self.port, self.links, self.seen = free_port(), {}, []

    def people(self):
        return [*self.sites.values(), self.lead]

    def everyone(self, *argv):
        return [p.type(*argv).exits(0) for p in self.sites.values()]

    def equip(self):
        """What the section before this one did, and the sites' own data."""
        for name, p in self.sites.items():
            p.type("tacit", "init", "--quiet").exits(0)
            p.type("tacit", "add", f"{CLINIC}/{name}/documents").exits(0)
            write(p.home + "/patients.csv",
                  p.type("tacit-sim", "patients", name, "-n", "80").out)

    def edit(self, p, path):
        """What a person does in $EDITOR."""
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if path.endswith("policy.yaml"):
            name = os.path.basename(p.home)
            text += ("data:\n"
                     f"  - {{source: patients, file: {p.home}/patients.csv}}\n"
                     "  - {source: questions, file: "
                     f"{CLINIC}/{name}/questions.csv}}\n")
        else:
            text, n = re.subn(r"(?m)^cohort: .*$",
                              "cohort: {size: 3, min_reports: 3}", text)
            assert n == 1, text
        write(path, text)

    def local(self, word):
        """The example's addresses, on this machine."""
        word = word.replace("coordinator.example", "127.0.0.1")
        return word.replace("0.0.0.0", "127.0.0.1").replace(
            ":7420", f":{self.port}")

    def step(self, argv):
        if argv[0] == "$EDITOR":
            plan = argv[1].endswith("risk.yaml")
            for p in [self.lead] if plan else self.sites.values():
                self.edit(p, os.path.join(p.home, *p.words(argv[1:])))
        elif argv == ["tacit-coordinator", "run"]:
            self.lead.start(*argv)
        elif argv[:2] == ["tacit-coordinator", "invite"]:
            out = self.lead.type(*argv).exits(0).out
            self.links = dict(re.findall(r"(?m)^(\S+)\s+(tacit:\S+)$", out))
            assert set(self.links) == set(SITES), out
        elif argv[:2] == ["tacit", "join"]:
            for name, p in self.sites.items():
                done = p.type("tacit", "join", self.links[name]).exits(0)
                done.prints("clinics").says("approve")
            assert len(set(self.links.values())) == len(SITES)
        elif argv == ["tacit", "run"]:
            for p in self.sites.values():
                p.start(*argv)
        elif argv[0] == "tacit":
            for p in self.sites.values():
                plan = os.path.join(self.lead.home, "risk.yaml")
                shutil.copy(plan, p.home)
            return self.everyone(*argv)
        else:
            done = self.lead.type(*map(self.local, argv)).exits(0)
            self.seen.append(argv[1])
            return [done]
        return []

    def members(self, done):
        """Pending, with the very fingerprint that the device shows."""
        done.prints(*SITES)
        for p in self.sites.values():
            done.prints(p.json("tacit", "status")["fingerprint"])

    def audits(self, all_done):
        for done in all_done:
            done.prints("risk", "none").says("no differential-privacy noise")
        for p in self.sites.values():
            rows = p.json("tacit", "audit")["releases"]
            rounds = self.lead.json("tacit-coordinator", "rounds")["rounds"]
            took = sum(r["state"] == "committed" for r in rounds)
            assert took <= len(rows), (took, rows)

    def same_model(self):
        exported = os.path.join(self.lead.home, "risk.safetensors")
        with open(exported, "rb") as f:
            model = f.read()
        for p in self.sites.values():
            def adopted(p=p):
                return any(open(b, "rb").read() == model for b in
                           glob.glob(p.path("blobs", "**"), recursive=True)
                           if os.path.isfile(b))
            cases.until(adopted, 20, f"{p.home} has another model")

    def kept_home(self):
        """Nothing of a document, a row or a question lies at the
        coordinator's."""
        secret = [b"refrigerator", b"Harbour", b"norovirus", b"How bad must"]
        for p in self.sites.values():
            with open(p.home + "/patients.csv", "rb") as f:
                secret += f.read().split(b"\n")[1:4]
        for path in glob.glob(self.lead.home + "/.local/**", recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    content = f.read()
                for s in secret:
                    assert s not in content, (path, s)

    def go(self):
        self.equip()
        for argv in commands("A federation"):
            done = self.step(argv)
            what = " ".join(argv[1:2])
            if what == "members":
                self.members(done[0])
            elif what == "audit":
                self.audits(done)
            elif what == "train":
                for one in done:
                    one.prints("accuracy")
        assert {"init", "members", "approve", "new", "plan", "watch",
                "export"} <= set(self.seen), self.seen
        self.same_model()
        self.kept_home()


QUESTION = ("how long may a vaccine refrigerator stay above 8 degrees before "
            "stock is discarded?")


def retriever_round(walk):
    """Two rounds of the demo's search model; then ask, offline."""
    site = walk.sites["harbour"]
    search = ["tacit", "search", QUESTION]
    before = site.json(*search)["hits"]
    with open(CLINIC + "/retriever.yaml", encoding="utf-8") as f:
        text = re.sub(r"(?m)^rounds: .*$", "rounds: 2", f.read())
    text = re.sub(r"(?m)^cohort: .*$", "cohort: {size: 3, min_reports: 3}",
                  text)
    plan = write(walk.lead.home + "/search.yaml", text)
    walk.lead.type("tacit-coordinator", "plan", "submit", plan).exits(0)
    walk.lead.type("tacit-coordinator", "watch").exits(0)

    def adopted():
        models = site.json("tacit", "status")["models"]
        return any(m["plan"] == "retriever" and m["version"] == 2
                   for m in models)
    cases.until(adopted, 20, "the search model at harbour")
    for p in walk.people():
        p.stop().exits(0)
    offline = can_be_offline()
    after = site.json(*search, offline=offline)["hits"]
    assert [h["cosine"] for h in before] != [h["cosine"] for h in after]
    done = site.type("tacit", "ask", QUESTION, "--json", offline=offline)
    answer = done.exits(0).data
    for s in answer["sentences"]:
        cited = answer["citations"][s["citation"] - 1]
        with open(cited["path"], "rb") as f:
            there = f.read()[cited["bytes"][0]:cited["bytes"][1]].decode()
        assert " ".join(s["text"].split()) in " ".join(there.split()), done
    assert any("cold-chain" in c["path"] for c in answer["citations"]), done
    site.type("tacit", "ask", "which films did the cinema show in 1962?",
              offline=offline).exits(6)
    plans = {r["plan"] for r in site.json("tacit", "audit")["releases"]}
    assert plans == {"risk", "retriever"}, plans


def case_a_federation_and_what_it_changes_for_answers():
    with folder() as at:
        walk = Walk(at)
        try:
            walk.go()
            retriever_round(walk)
        except Exception:
            for p in walk.people():
                p.stop(signal.SIGKILL)
                if os.path.exists(p.home + ".log"):
                    with open(p.home + ".log", encoding="utf-8") as f:
                        print(f"--- {p.home}\n{f.read()[-2000:]}", flush=True)
            raise
        finally:
            for p in walk.people():
                p.stop(signal.SIGKILL)


if __name__ == "__main__":
    cases.run(globals())
