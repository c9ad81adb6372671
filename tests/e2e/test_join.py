#!/usr/bin/env python3
"""Joining and being a member, with real programs: invites that are used twice,
too old, damaged, or another coordinator's; dead addresses; wrong clocks;
approval and revocation; a copied home; leaving and coming back.

What is checked each time: the exit code and a message that says what to do,
that nothing was stored when it failed, and that the others go on.
"""
# variants: asan
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import Skip, begin, finish, folder, lead, tacit, until  # noqa: E402
from federation import Device, Federation  # noqa: E402

POLICY = """tasks: [classify]
min_cohort: 2
clip_max: 100
budget: {{updates: 100000, updates_per_day: 100000}}
data:
  - {{source: patients, file: {}}}
"""
PLAN = """name: {name}
task: classify
model: {{kind: logistic}}
data:
  source: patients
  label: y
  columns: [{{name: a}}, {{name: b}}]
  standardise: none
rounds: {rounds}
cohort: {{size: 3, min_reports: 2, over_select: 1.0}}
local: {{steps: 5, batch: 4}}
clip: 5
deadline: {{stage: 1s, train: 2s}}
"""
ROWS = "a,b,y\n" + "".join(
    f"{i % 7 - 3},{i % 5 - 2},{int(i % 7 + i % 5 > 5)}\n" for i in range(40))
CLOCK = """#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += atoll(getenv("TACIT_TEST_CLOCK"));
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
"""


def new_device(f, name):
    """A device of its own, not joined yet."""
    device = Device(f.path(name))
    device.run("init")
    csv = f.write(name + ".csv", ROWS)
    cases.write(os.path.join(device.home, "policy.yaml"), POLICY.format(csv))
    f.devices[name] = device
    return device


def invite(f, name, *options):
    made = f.coordinator.json("invite", name, *options)["invites"]
    return made[0]["link"]


def join(device, link, *options, env=None, timeout=60):
    return tacit("join", link, *options, "--home", device.home, env=env,
                 timeout=timeout)


def member(f, name):
    """State of the member, "" when there is none of this name."""
    states = [m["state"] for m in f.coordinator.json("members")["members"]
              if m["name"] == name]
    return states[0] if states else ""


def stayed_outside(device):
    """A join that failed left nothing behind."""
    tacit("status", "--home", device.home).exits(0)
    assert device.json("status").get("federation") is None, device.home
    tacit("run", "--home", device.home).exits(1).says("E0411")


def log_of(node):
    return node.tail(100000)


def case_an_invite_works_once():
    with Federation() as f:
        f.start_coordinator()
        one, two = new_device(f, "one"), new_device(f, "two")
        link = invite(f, "one", "--approve")
        join(one, link).exits(0).prints("joined trial")
        join(two, link).exits(2).says("E0450", "used")
        stayed_outside(two)
        # The device that used it is a member, and told so.
        join(one, link).exits(1).says("E0412")
        assert [m["name"] for m in f.coordinator.json("members")["members"]
                ] == ["one"]
        # Many at once: one of them gets in.
        link = invite(f, "race", "--approve")
        many = [new_device(f, f"racer{i}") for i in range(4)]
        racing = [begin("tacit", "join", link, "--home", d.home) for d in many]
        done = [finish(p, timeout=30) for p in racing]
        assert sorted(d.status for d in done) == [0, 2, 2, 2], done
        assert len(f.coordinator.json("members")["members"]) == 2


def case_an_answer_that_was_lost_does_not_spend_the_invite():
    """The coordinator enrols, the reply is lost: joining again works."""
    with Federation() as f:
        f.start_coordinator()
        one = new_device(f, "one")
        link = invite(f, "one", "--approve")
        join(one, link).exits(0)
        with cases.store_to_change(one.home) as db:
            db.execute("DELETE FROM federation")  # as if it had not arrived
        join(one, link).exits(0).prints("joined trial")
        assert member(f, "one") == "approved"


def case_an_invite_ends():
    with Federation() as f:
        f.start_coordinator()
        one = new_device(f, "one")
        link = invite(f, "one", "--ttl", "1s")
        until(lambda: member(f, "one") == "expired", 5, "the invite expires")
        join(one, link).exits(2).says("E0451", "expired")
        stayed_outside(one)
        again = join(one, link, "--json").exits(2)
        assert again.code == "TACIT-E0451", again
        lead("invite", "x", "--ttl", "0s", "--home",
             f.coordinator.home).exits(4)


def case_a_damaged_invite_is_told_from_a_wrong_one():
    with Federation() as f:
        f.start_coordinator()
        one = new_device(f, "one")
        link = invite(f, "one")
        head, code = link.split("#")
        other = code[:20] + ("A" if code[20] != "A" else "B") + code[21:]
        for bad in (link[:-1], link + "A", link[6:], head + "#" + other, "",
                    "tacit:", link.replace("#", "%"), "https://" + link[6:],
                    head + "#" + "A" * 80, "tacit:127.0.0.1#" + code,
                    "tacit:127.0.0.1:1#" + code, "tacit:#" + code,
                    link * 10, "file:/nonexistent"):
            done = join(one, bad)
            assert done.status in (1, 4) and "TACIT-E" in done.err, done
            assert "E0408" in done.err or bad.startswith("file:"), done
        stayed_outside(one)
        path = f.write("link.txt", "\n  " + link + " \n\n")
        join(one, "file:" + path).exits(0)
        two = new_device(f, "two")
        done = tacit("join", "-", "--home", two.home,
                     stdin=(invite(f, "two") + "\n").encode())
        done.exits(0).says("approve")


def case_another_coordinator_at_the_address_stops_everything():
    with Federation() as f, Federation() as g:
        f.start_coordinator()
        one = new_device(f, "one")
        ours, theirs = invite(f, "one"), None
        g.port = f.port
        f.coordinator.process.stop()
        g.start_coordinator()  # another key answers at the same address
        theirs = g.coordinator.json("members")["members"]
        prints = log_of(f.coordinator).split("fingerprint")[1].split()[0]
        done = join(one, ours, timeout=20).exits(2)
        done.says("E0403", "nothing was sent", prints)
        stayed_outside(one)
        assert g.coordinator.json("members")["members"] == theirs == []
        # A member's daemon ends, too, and has told it nothing.
        g.coordinator.process.stop()
        f.start_coordinator()
        join(one, ours).exits(0)
        f.coordinator.process.stop()
        g.start_coordinator()
        done = finish(begin("tacit", "run", "--home", one.home))
        done.exits(2).says("E0403", "nothing was sent", prints)
        # Leaving by force still works.
        tacit("leave", "--home", one.home).exits(2).says("--force")
        tacit("leave", "--force", "--home", one.home).exits(0)


def case_doctor_knows_whether_the_coordinator_answers():
    with Federation() as f:
        f.start_coordinator()
        device = f.add_device("north")
        done = tacit("doctor", "--home", device.home).exits(0)
        done.prints("it answers, and holds the pinned key")
        assert "level=error" not in f.coordinator.tail(), f.coordinator.tail()
        f.coordinator.process.stop()
        tacit("doctor", "--home", device.home).exits(1).prints(
            "BAD  coordinator")


def case_an_address_where_nothing_answers():
    with Federation() as f:
        f.start_coordinator()
        one = new_device(f, "one")
        link = invite(f, "one")
        f.coordinator.process.stop()
        start = time.monotonic()
        joining = begin("tacit", "join", link, "--home", one.home)
        time.sleep(1)
        finish(joining, signal.SIGINT)
        # Nobody listens: it is tried again for a while, then given up.
        waiting = begin("tacit", "join", link, "--home", one.home)
        done = finish(waiting, timeout=45).exits(2).says("E0405", "refused")
        assert time.monotonic() - start < 45, done
        stayed_outside(one)


def case_a_clock_that_is_wrong():
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise Skip("no C compiler for the wrong clock")
    with Federation() as f:
        if "asan" in cases.BIN or "tsan" in cases.BIN:
            raise Skip("nothing can be preloaded before a sanitiser")
        shim = f.path("clock.so")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", shim,
                        f.write("clock.c", CLOCK)], check=True, timeout=60)
        years = 20 * 365 * 86400
        late = {"LD_PRELOAD": shim, "TACIT_TEST_CLOCK": str(years)}
        early = {"LD_PRELOAD": shim, "TACIT_TEST_CLOCK": str(-years)}
        f.start_coordinator()
        # Devices that are twenty years wrong join and learn as any other.
        for name, env in (("late", late), ("early", early), ("right", {})):
            device = new_device(f, name)
            join(device, invite(f, name, "--approve"), env=env).exits(0)
        f.submit(PLAN.format(name="clocks", rounds=2))
        running = [begin("tacit", "run", "--until-finished", "--home",
                         f.devices[n].home, env=e)
                   for n, e in (("late", late), ("early", early),
                                ("right", {}))]
        for p in running:
            finish(p, timeout=30).exits(0)
        assert len(f.committed()) == 2, f.rounds()
        # A clock set back does not give back what the day allows.
        policy = POLICY.format(f.path("late.csv"))
        cases.write(os.path.join(f.devices["late"].home, "policy.yaml"),
                    policy.replace("per_day: 100000", "per_day: 2"))
        f.submit(PLAN.format(name="more", rounds=1), "more.yaml")
        spent = begin("tacit", "run", "--once", "--wait", "9s", "--home",
                      f.devices["late"].home)
        time.sleep(0.3)  # it waits for work before the others do
        for name in ("early", "right"):
            f.devices[name].start()
        finish(spent).exits(7).says("E0302")
        # A coordinator whose clock is wrong refuses by its own clock only.
        link = invite(f, "by-now", "--ttl", "1h")
        f.coordinator.process.stop()
        os.environ.update(late)
        try:
            f.start_coordinator()
        finally:
            for name in late:
                del os.environ[name]
        join(new_device(f, "by-now"), link).exits(2).says("E0451")


def case_approval_and_revocation():
    with Federation() as f:
        f.start_coordinator()
        for name in ("north", "south"):
            device = new_device(f, name)
            join(device, invite(f, name, "--approve")).exits(0)
            device.start()
        east = new_device(f, "east")
        done = join(east, invite(f, "east"), "--json").exits(0)
        assert done.data["approved"] is False, done
        known = [m for m in f.coordinator.json("members")["members"]
                 if m["name"] == "east"][0]
        assert known["state"] == "pending", known
        assert known["fingerprint"] == done.data["fingerprint"]
        east.start()
        f.submit(PLAN.format(name="two", rounds=2))
        f.wait_committed(2, 20)
        assert {r["n_inputs"] for r in f.committed()} == {2}
        until(lambda: "waiting_for_approval" in log_of(east), 5, "told so")
        assert east.json("audit")["releases"] == []
        # Approved while it runs, it takes part.
        lead("approve", "nobody", "--home", f.coordinator.home).exits(1)
        f.coordinator.run("approve", "east")
        f.submit(PLAN.format(name="three", rounds=2), "three.yaml")
        f.wait_committed(4, 20)
        assert len(east.json("audit")["releases"]) >= 1
        spent = len(east.json("audit")["releases"])
        # Revoked, it stops by itself and says why; the others go on.
        f.coordinator.run("revoke", "east")
        status = east.process.popen.wait(20)
        assert status == 2, (status, east.tail())
        assert "revoked" in east.tail(), east.tail()
        f.submit(PLAN.format(name="without", rounds=2), "without.yaml")
        f.wait_committed(6, 20)
        assert {r["n_inputs"] for r in f.committed()[-2:]} == {2}
        done = finish(begin("tacit", "run", "--home", east.home), timeout=20)
        done.exits(2).says("revoked", "TACIT-E")
        assert len(east.json("audit")["releases"]) == spent
        # A new invite alone does not undo the operator's word.
        tacit("leave", "--home", east.home).exits(0)
        join(east, invite(f, "east", "--approve")).exits(0)
        assert member(f, "east") == "pending"
        f.coordinator.run("approve", "east")
        assert member(f, "east") == "approved"


def case_a_copied_home_counts_once():
    with Federation() as f:
        f.start_coordinator()
        for name in ("north", "south", "east"):
            device = new_device(f, name)
            join(device, invite(f, name, "--approve")).exits(0)
        copy = Device(f.path("copy"))
        shutil.copytree(f.devices["east"].home, copy.home)
        f.devices["copy"] = copy
        for device in f.devices.values():
            device.start()
        f.submit(PLAN.format(name="copies", rounds=1))
        f.wait_committed(1, 30)
        rounds = f.rounds()
        assert all(r["n_inputs"] <= 3 for r in rounds), rounds
        until(lambda: "same_identity" in log_of(f.coordinator), 5,
              "the operator is told")
        # Its line is written before the answer is sent.
        until(lambda: any("identity" in log_of(f.devices[d])
                          for d in ("east", "copy")), 5,
              "one of the two is told")
        # What was received of this identity is in one of the two ledgers.
        spent = {n: d.json("audit") for n, d in f.devices.items()}
        assert all(a["chain_ok"] for a in spent.values())
        both = sum(len(spent[n]["releases"]) for n in ("east", "copy"))
        received = sum(r["n_inputs"] for r in rounds)
        others = sum(len(spent[n]["releases"]) for n in ("north", "south"))
        assert both + others >= received, (both, others, received)
        # With the copy gone the federation is whole again.
        copy.kill()
        f.submit(PLAN.format(name="after", rounds=1), "after.yaml")
        f.wait_committed(2, 30)


def case_one_daemon_per_home():
    with Federation() as f:
        f.start_coordinator()
        one = new_device(f, "one")
        join(one, invite(f, "one", "--approve")).exits(0)
        one.start()
        until(lambda: one.json("status")["running"], 5, "it runs")
        tacit("run", "--home", one.home).exits(1).says("E0103")
        assert one.process.alive()


def case_leave_and_come_back():
    with Federation() as f:
        f.start_coordinator()
        for name in ("north", "south", "east"):
            device = new_device(f, name)
            join(device, invite(f, name, "--approve")).exits(0)
            device.start()
        f.submit(PLAN.format(name="before", rounds=1))
        f.wait_committed(1, 20)
        east = f.devices["east"]
        until(lambda: "adopted" in log_of(east), 10, "the model is adopted")
        east.process.stop()
        print_ = east.json("status")["fingerprint"]
        spent = len(east.json("audit")["releases"])
        tacit("leave", "--home", east.home).exits(0)
        assert member(f, "east") == "left"
        tacit("leave", "--home", east.home).exits(1).says("E0411")
        tacit("run", "--home", east.home).exits(1).says("E0411")
        # Its models and its ledger stay.
        assert len(east.json("audit")["releases"]) == spent >= 1
        join(east, invite(f, "east2", "--approve")).exits(0)
        assert east.json("status")["fingerprint"] == print_
        assert member(f, "east2") == "approved" and not member(f, "east")
        east.start()
        f.submit(PLAN.format(name="after", rounds=1), "after.yaml")
        f.wait_committed(2, 20)
        assert f.committed()[-1]["n_inputs"] == 3, f.rounds()
        audit = east.json("audit")
        assert audit["chain_ok"] and len(audit["releases"]) == spent + 1


def case_a_home_of_a_newer_version_is_left_alone():
    with Federation() as f:
        f.start_coordinator()
        one = new_device(f, "one")
        join(one, invite(f, "one")).exits(0)
        f.coordinator.process.stop()
        tacit("key", "none", "--home", one.home).exits(0)
        for node, name, program in ((f.coordinator, "coordinator.db", lead),
                                    (one, "tacit.db", tacit)):
            path = os.path.join(node.home, name)
            db = sqlite3.connect(path)
            db.execute("PRAGMA user_version = 9999")
            db.commit()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
            with open(path, "rb") as file:
                before = file.read()
            commands = {lead: (["run"], ["members"], ["invite", "x"],
                               ["rounds"], ["approve", "one"]),
                        tacit: (["run"], ["status"], ["ls"], ["leave"],
                                ["audit"])}[program]
            for words in commands:
                done = program(*words, "--home", node.home)
                done.exits(1).says("E0101", name)
            with open(path, "rb") as file:
                assert file.read() == before, f"{name} was written to"


if __name__ == "__main__":
    cases.run(globals())
