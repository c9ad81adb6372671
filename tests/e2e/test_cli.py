#!/usr/bin/env python3
"""The contract of the command line, for each of the three programs: help,
manual and completion from one table; data on stdout and hints on stderr; one
JSON envelope; the exit codes; codes that `explain` knows.
"""
# variants: asan
import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import (begin, call, finish, folder, lead, sim,  # noqa: E402
                   tacit, write)
from federation import Federation, free_port  # noqa: E402

PROGRAMS = ("tacit", "tacit-coordinator", "tacit-sim")
PLAN = os.path.join(cases.REPOSITORY, "sims/clinic/risk.yaml")
COMMANDS = {
    "tacit": {
        "init": [], "key": [], "add": ["x.md"], "reindex": [],
        "ls": [], "rm": ["x.md"],
        "search": ["x"], "ask": ["x"], "chat": [], "open": ["1"],
        "feedback": ["1", "good"], "tune": [],
        "eval retrieval": ["x"], "eval answers": ["x.csv"],
        "train": ["--plan", PLAN], "join": ["tacit:x"], "leave": [],
        "run": [], "model import": ["x.gguf"], "model ls": [],
        "model show": ["x"], "model rm": ["x"], "model use": ["x"],
        "model export": ["x", "x.gguf"], "model quantize": ["x", "q8_0"],
        "model merge": ["x", "x.gguf"],
        "model distill": ["--teacher", "x", "--texts", ".", "-o", "y"],
        "audit": [], "policy": [], "status": [], "doctor": [],
        "explain": ["E0203"]},
    "tacit-coordinator": {
        "init": [], "run": [], "invite": ["a"], "members": [],
        "approve": ["a"], "revoke": ["a"], "plan check": [PLAN],
        "plan submit": [PLAN], "rounds": [], "watch": [], "models": [],
        "export": ["-o", "/dev/null"], "explain": ["203"]},
    "tacit-sim": {
        "new": ["x"], "run": ["x.yaml"], "sweep": ["x.yaml"],
        "compare": ["."], "data": ["x.yaml"], "patients": ["harbour"],
        "report": ["."],
        "explain": ["TACIT-E0203"]},
}
CODE = re.compile(r"TACIT-E\d{4}")
seen_codes = set()


def checked(done):
    """No colour off a terminal; codes are collected for explain."""
    assert "\033" not in done.out + done.err, done
    seen_codes.update(CODE.findall(done.out + done.err))
    return done


def case_help_lists_every_command_and_each_has_its_own():
    for program in PROGRAMS:
        whole = checked(call(program, "--help")).exits(0)
        assert whole.err == "", whole
        for name in COMMANDS[program]:
            whole.prints(name)
            for words in ([*name.split(), "--help"], ["help", *name.split()]):
                one = checked(call(program, *words)).exits(0)
                one.prints(f"Usage: {program} {name}", "Global options")
                assert one.err == "", one
        listed = re.search(r"Commands\n(.*?)\n\n", whole.out, re.S).group(1)
        words = re.findall(r"^  ([a-z]+(?: [a-z]+)?)\b", listed, re.M)
        assert sorted(words) == sorted(COMMANDS[program]), words
        for line in whole.out.splitlines():
            assert len(line) <= 80, line
        whole.prints("Exit codes", "130")


def case_the_audit_fits_the_window():
    with folder() as at:
        home = os.path.join(at, "home")
        tacit("init", "--home", home).exits(0)
        with cases.store_to_change(home) as db:
            for i in (1, 2):
                db.execute("INSERT INTO ledger VALUES(?, 1760000000, ?, ?, ?,"
                           " 12, 0, ?, 123456, 0.5, 1, 65535, 9, 32, 8, ?, ?)",
                           (i, "a plan of twenty let" * 2, *[bytes(32)] * 5))
                db.execute("INSERT INTO ledger_noise VALUES(?, 1.25, 0.5,"
                           " 1e-6)", (i,))
        whole = tacit("audit", "--home", home).exits(1)
        assert len(whole.out.splitlines()) == 6, whole
        row = whole.out.splitlines()[1].split()
        for columns in (80, 100, 200):
            shown = on_terminal(columns, "audit", "--home", home)
            assert max(map(len, shown)) <= columns, shown
            assert " ".join(shown).split().count("epsilon") == 3, shown
            at_row = " ".join(shown).split()
            first = at_row.index(row[0])
            assert at_row[first:first + len(row)] == row, shown


def on_terminal(columns, *words):
    """The lines that `tacit WORDS` writes to a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ,
                struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([os.path.join(cases.BIN, "tacit"), *words],
                          stdout=slave, stderr=subprocess.DEVNULL) as p:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while more := os.read(master, 4096):
                shown += more
        p.wait(60)
    os.close(master)
    return shown.decode().splitlines()


def case_without_a_command_help_goes_to_stderr():
    for program in PROGRAMS:
        done = checked(call(program)).exits(4).says("Usage:")
        assert done.out == "", done


def case_version_manual_and_completion():
    for program in PROGRAMS:
        version = call(program, "--version").exits(0)
        assert re.fullmatch(rf"{program} \d+\.\d+\.\d+\n", version.out), version
        man = call(program, "--man").exits(0)
        man.prints(".TH", ".SH NAME", ".SH EXIT STATUS")
        for name in COMMANDS[program]:
            assert name in man.out, name
            listed = call(program, *name.split(), "--help").out
            for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", listed, re.M):
                assert option in man.out.replace("\\-", "-"), (name, option)
        if shutil.which("groff"):
            rendered = subprocess.run(
                ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", "-z"],
                input=man.out, text=True, capture_output=True, timeout=30,
                check=True)
            assert rendered.stderr == "", rendered.stderr
        script = call(program, "--completion").exits(0).out
        subprocess.run(["bash", "-n"], input=script, text=True, timeout=10,
                       check=True)
        ask = (f"{script}\nCOMP_WORDS=({program} ''); COMP_CWORD=1\n"
               f"_{program.replace('-', '_')}; echo \"${{COMPREPLY[@]}}\"")
        words = subprocess.run(["bash", "-c", ask], text=True, timeout=10,
                               capture_output=True, check=True).stdout.split()
        for name in COMMANDS[program]:
            assert name.split()[0] in words, (name, words)


def case_a_misspelt_word_is_answered_with_the_nearest():
    for words, near in [(["ad"], "add"), (["serch", "x"], "search"),
                        (["statsu"], "status"),
                        (["ls", "--jsn"], "--json"),
                        (["train", "--pln", "x"], "--plan")]:
        done = checked(tacit(*words)).exits(4).says(near, "E0013")
        assert done.out == "", done
    checked(lead("plan", "chekc", "x")).exits(4).says("plan check")
    checked(lead("plan")).exits(4).says("one more word: check, submit")
    checked(lead("invite", "a", "--tll", "1h")).exits(4).says("--ttl")
    checked(sim("reprot", ".")).exits(4).says("report")
    checked(sim("run", "x", "--thread", "1")).exits(4).says("--threads")
    checked(tacit("frobnicate")).exits(4).says("--help")
    checked(tacit("ls", "--frobnicate")).exits(4).says("tacit ls --help")
    checked(tacit("ls", "extra")).exits(4).says("extra")
    checked(tacit("search")).exits(4).says("wants more")
    checked(tacit("search", "x", "-n")).exits(4).says("-n")
    checked(lead("watch", "--timeout", "soon")).exits(4).says("90s")
    for done in (tacit("lss", "--json"), tacit("ls", "--jsonn", "--json")):
        assert checked(done).exits(4).code == "TACIT-E0013", done


def case_before_init_every_command_says_so():
    with folder() as home:
        nowhere = os.path.join(home, "none")
        for program in PROGRAMS[:2]:
            for name, args in COMMANDS[program].items():
                if name in ("init", "explain", "plan check", "join",
                            "eval retrieval", "eval answers"):
                    continue
                words = [*name.split(), *args, "--home", nowhere]
                done = checked(call(program, *words)).exits(1)
                done.says("init", "E0104", nowhere)
                assert done.out == "", done
                done = checked(call(program, *words, "--json")).exits(1)
                assert done.code == "TACIT-E0104" and not done.err, done
                assert not os.path.exists(nowhere), words


def case_the_home_comes_from_flag_then_environment():
    with folder() as home:
        one, two = os.path.join(home, "one"), os.path.join(home, "two")
        env = {"TACIT_HOME": one}
        tacit("init", env=env).exits(0).prints(one)
        assert os.path.exists(os.path.join(one, "tacit.db"))
        tacit("init", "--home", two, env=env).exits(0).prints(two)
        assert tacit("status", "--json", env=env).data["home"] == one
        xdg = {"XDG_DATA_HOME": home, "HOME": home, "TACIT_HOME": ""}
        tacit("init", env=xdg).exits(0).prints(os.path.join(home, "tacit"))
        env = {"TACIT_COORDINATOR_HOME": os.path.join(home, "lead")}
        assert lead("init", "--json", env=env).data["home"].endswith("lead")
        lead("members", env=env).exits(0)


def case_init_again_keeps_the_keys():
    with folder() as home:
        first = tacit("init", "--home", home, "--json").data["fingerprint"]
        again = checked(tacit("init", "--home", home, "--json")).exits(1)
        assert again.code == "TACIT-E0008", again
        status = tacit("status", "--home", home, "--json").data
        assert status["fingerprint"] == first
        assert os.stat(os.path.join(home, "keys")).st_mode & 0o077 == 0


def small_site(home):
    if not os.path.exists(os.path.join(home, "tacit.db")):
        tacit("init", "--home", home, "--quiet").exits(0)
    path = write(os.path.join(home, "docs/hours.md"),
                 "# Pharmacy\n\n## Opening hours\n\n"
                 "The pharmacy opens at eight in the morning and closes at "
                 "six in the evening.\n")
    tacit("add", os.path.dirname(path), "--home", home, "--quiet").exits(0)
    return path


def case_data_goes_to_stdout_and_hints_to_stderr():
    with folder() as home:
        done = tacit("init", "--home", home).exits(0).says("tacit add")
        done.prints("fingerprint")
        tacit("ls", "--home", home).exits(0).says("tacit add")
        small_site(home)
        done = tacit("ask", "When does the pharmacy open?", "--home", home)
        checked(done).exits(0).prints("eight", "[1]").says("tacit feedback")
        assert "feedback" not in done.out, done
        for words in (["reindex"], ["ls"],
            ["ls", "--folders"], ["search", "pharmacy"], ["status"], ["policy"],
                      ["audit"], ["doctor"],
                      ["ask", "When does the pharmacy open?"]):
            quiet = checked(tacit(*words, "--home", home, "--quiet")).exits(0)
            assert quiet.err == "" and quiet.out, quiet
            json = checked(tacit(*words, "--home", home, "--json")).exits(0)
            assert json.err == "" and json.data is not None, json


def case_every_command_prints_one_envelope():
    with folder() as home:
        path = small_site(home)
        done = [tacit(*w, "--home", home, "--json") for w in (
            ["init"], ["add", path], ["ls"], ["search", "pharmacy"],
            ["ask", "When does the pharmacy open?"], ["feedback", "1", "good"],
            ["audit"], ["policy"], ["status"], ["doctor"], ["explain"],
            ["explain", "E0203"], ["rm", path],
            # and failures
            ["add", home + "/none"], ["rm", "/none"], ["feedback", "77", "bad"],
            ["feedback", "1", "maybe"], ["search", "pharmacy"], ["ask", "?"],
            ["train"], ["train", "--plan", "/none"], ["join", "tacit:x"],
            ["join", "file:/none"], ["leave"], ["run"], ["explain", "E9999"],
            ["run", "--wait", "soon"])]
        for one in done:
            assert checked(one).envelope()["status"] == (
                "ok" if one.status == 0 else "error"), one
            assert one.err == "", one


def case_every_coordinator_command_prints_one_envelope():
    with folder() as home:
        port = free_port()
        home = os.path.join(home, "lead")
        for words, status in [
                (["init", "--listen", f"127.0.0.1:{port}"], 0),
                (["invite", "a", "b"], 0), (["members"], 0),
                (["plan", "check", PLAN], 0), (["plan", "submit", PLAN], 0),
                (["plan", "submit", PLAN], 0), (["rounds"], 0),
                (["rounds", "--plan", "risk"], 0), (["models"], 0),
                (["explain", "E0601"], 0), (["explain"], 0),
                (["approve", "nobody"], 1), (["revoke", "nobody"], 1),
                (["rounds", "--plan", "none"], 1), (["export"], 4),
                (["export", "-o", home + "/m", "--version", "9"], 1),
                (["export", "-o", home + "/none/m"], 1),
                (["invite", "a b"], 4), (["plan", "check", "/none"], 1),
                (["watch", "--timeout", "300ms"], 3),
                (["run", "--log", "x"], 4),
                (["run", "--listen", "tcp://192.0.2.1:1"], 2)]:
            done = checked(lead(*words, "--home", home, "--json"))
            done.exits(status)
            assert done.envelope()["status"] == ("error" if status else "ok")
            assert done.err == "" or words[0] == "run", done


def case_a_plan_for_more_devices_than_there_are_says_so():
    with folder() as home:
        lead("init", "--home", home + "/lead").exits(0)
        words = ["plan", "submit", PLAN, "--home", home + "/lead"]
        lead(*words).exits(0).says("waits for devices", "at least 3", "0 are")
        assert lead(*words, "--json").exits(0).err == ""


def case_every_simulator_command_prints_one_envelope():
    with folder() as here:
        plan = os.path.join(here, "small.yaml")
        for words, status in [
                (["new", "small"], 0), (["new", "small"], 1),
                (["run", plan, "--clients", "10", "-o", here + "/out"], 0),
                (["run", "/none"], 1), (["run", plan, "--clients", "1"], 4),
                (["run", plan, "--set", "rounds"], 4),
                (["run", plan, "--set", "round=1"], 1),
                (["sweep", plan, "--set", "sim.clients=10,12",
                  "--set", "cohort.size=8", "-o", here + "/sweep"], 0),
                (["sweep", plan, "--set", "rounds=0,1"], 1),
                (["sweep", plan, "--jobs", "0"], 4),
                (["compare", here + "/sweep", here + "/out"], 0),
                (["compare", here + "/none"], 1),
                (["compare", here, "--target", "x"], 4),
                (["patients", "harbour", "-n", "3"], 0),
                (["patients", "habour"], 1), (["report", here], 1),
                (["report", here + "/out"], 0),
                (["explain", "13"], 0)]:
            if words == ["run", plan, "--clients", "10", "-o", here + "/out"]:
                with open(plan, encoding="utf-8") as f:
                    text = f.read()
                write(plan, text.replace("rounds: 30", "rounds: 2")
                      .replace("dropout: 0.05", "dropout: 0"))
            done = checked(sim(*words, "--json", cwd=here)).exits(status)
            assert done.envelope()["status"] == ("error" if status else "ok")
            assert done.err == "", done
        write(here + "/rounds.json",
              lead("init", "--home", here + "/c", "--json").out and
              lead("rounds", "--home", here + "/c", "--json").out)
        done = checked(sim("report", here, "--json")).exits(0)
        assert done.data["file"].endswith("report.html"), done
        csv = sim("patients", "harbour", "-n", "3").exits(0)
        assert len(csv.out.splitlines()) == 4 and csv.err == "", csv


def case_exit_codes_2_3_and_130():
    with Federation() as f:
        f.start_coordinator()
        device = f.add_device("north")
        home = ["--home", device.home]
        done = checked(tacit("run", "--once", "--wait", "300ms", *home))
        done.exits(3).says("E0009")
        done = checked(tacit("run", "--once", "--wait", "300ms", "--json",
                             *home)).exits(3)
        assert done.code == "TACIT-E0009", done
        for how, status in ((signal.SIGINT, 130), (signal.SIGTERM, 0)):
            p = begin("tacit", "run", "--json", *home)
            cases.until(lambda: device.json("status")["running"], 10, "lock")
            cases.until(lambda: cases.catches(p.pid, how), 10, "a handler")
            done = checked(finish(p, how)).exits(status)
            assert done.envelope()["status"] == ("error" if status else "ok")
            p = begin("tacit-coordinator", "run", "--home",
                      f.coordinator.home + "2")
            checked(finish(p)).exits(1)
        p = begin("tacit", "run", "--until-finished", "--home", device.home)
        cases.until(lambda: device.json("status")["running"], 10, "lock")
        done = checked(tacit("run", *home)).exits(1)  # one daemon per home
        assert CODE.search(done.err), done
        done = checked(finish(p, signal.SIGINT))
        # With no plan at all there is nothing left to run.
        assert done.status in (0, 130), done
        p = begin("tacit-coordinator", "watch", "--home", f.coordinator.home)
        checked(finish(p)).exits(0)
        f.submit(open(PLAN, encoding="utf-8").read())
        p = begin("tacit-coordinator", "watch", "--home", f.coordinator.home)
        cases.until(lambda: cases.catches(p.pid, signal.SIGINT), 10, "handler")
        checked(finish(p, signal.SIGINT)).exits(130)
        p = begin("tacit-coordinator", "run", "--home", f.coordinator.home)
        checked(finish(p)).exits(1)  # the home is served already
        assert f.coordinator.process.stop(signal.SIGINT) == 130
        done = checked(tacit("run", "--once", "--wait", "200ms", *home))
        assert done.status in (2, 3), done
        checked(tacit("leave", *home)).exits(2).says("--force", "E0405")


def case_exit_code_6_when_nothing_answers():
    with folder() as home:
        small_site(home)
        for words in (["ask", "Who won the regatta in Cowes?"],
                      ["search", "zyzzyva"]):
            done = checked(tacit(*words, "--home", home)).exits(6)
            done.says("E0230")
            assert done.out == "", done
            done = checked(tacit(*words, "--home", home, "--json")).exits(6)
            assert done.code == "TACIT-E0230", done


def case_a_closed_pipe_is_an_error_not_a_crash():
    with folder() as home:
        small_site(home)
        with open("/dev/full", "wb") as full:
            for program, *words in (["tacit", "ls", "--home", home],
                                    # a hint flushes what it is about
                                    ["tacit", "ask", "--home", home,
                                     "When does the pharmacy open?"],
                                    ["tacit-sim", "patients", "harbour"]):
                argv = [os.path.join(os.path.abspath(cases.BIN), program),
                        *words]
                done = subprocess.run(argv, stdout=full, timeout=20,
                                      stderr=subprocess.PIPE, check=False)
                assert done.returncode == 1, (words, done)


def case_explain_knows_every_code_that_was_printed():
    listed = {}
    for program in PROGRAMS:
        known = call(program, "explain", "--json").exits(0).data
        listed = {c["code"]: c for c in known}
        assert len(listed) == len(known) >= 78
        assert seen_codes <= set(listed), seen_codes - set(listed)
        for c in known:
            assert c["title"] and c["help"] and 0 <= c["exit"] <= 130, c
    for i, code in enumerate(sorted(seen_codes)):
        spelling = (code, code[6:], code[6:].lower(), code[7:])[i % 4]
        tacit("explain", spelling).exits(0).prints(
            listed[code]["title"], f"Exit code {listed[code]['exit']}")
    tacit("explain", "E9999").exits(1).says("explain")
    print(f"  {len(seen_codes)} codes were seen")


if __name__ == "__main__":
    cases.run(globals())
