#!/usr/bin/env python3
# variants: asan
"""tacit ask --questions FILE: many questions in one run, several written at
once, each with the answer that it has alone."""
import json
import os
import random
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, write  # noqa: E402
from test_generate import (BOTH, CITES, INVENTS, QUESTION, TEXT,  # noqa: E402
                           Home)

QUESTIONS = [
    QUESTION,
    "Who won the regatta in Cowes?",
    "Which dose of warfarin do the elderly get?",
    "When is the INR measured after warfarin?",
    "How often is the dressing of a wound changed?",
    "?",
    "What is a wound cleaned with?",
]


def told(answer):
    """What an envelope says, without times and numbers of answers."""
    if answer["status"] == "error":
        return answer["error"]["code"]
    data = answer["data"]
    return (data.get("question"), data.get("text"), data["sentences"],
            [c["path"] for c in data["citations"]])


def alone(home, question, *how):
    return told(json.loads(
        home.run("ask", question, "--json", *how).out))


def together(home, path, *how, **given):
    done = home.run("ask", "--questions", path, "--json", *how,
                    **given).exits(0)
    return [told(json.loads(line)) for line in done.out.splitlines()]


def file_of(home, questions=QUESTIONS):
    return write(os.path.join(home.at, "questions.txt"),
                 "\n" + "\r\n\n".join(questions))


def case_each_of_many_has_the_answer_that_it_has_alone():
    with folder() as at:
        home = Home(at)
        home.use(BOTH, noise=random.Random(3))
        path = file_of(home)
        for how in ((), ("--temperature", "3", "--seed", "5", "--max-tokens",
                         "40", "--guesses", "0")):
            want = [alone(home, q, *how) for q in QUESTIONS]
            assert want[1] == "TACIT-E0230" and want[5][:7] == "TACIT-E", want
            for n in ("1", "3", "64"):
                got = together(home, path, "--at-once", n, *how)
                assert got == want, (n, got, want)
        got = together(home, "-", stdin="\n".join(QUESTIONS).encode())
        assert got == [alone(home, q) for q in QUESTIONS], got


def case_answers_are_in_the_order_of_their_questions():
    with folder() as at:
        home = Home(at)
        home.use(CITES)
        done = home.run("ask", "--questions", file_of(home)).exits(0).says(
            "MiB for 4 answers at once", "7 questions", "E0230")
        places = [done.out.index(f"{i + 1}. {q}\n")
                  for i, q in enumerate(QUESTIONS)]
        assert places == sorted(places), done.out
        first = done.out[places[0]:places[1]]
        assert TEXT + "\n" in first and "dose.md" in first, first
        # More than wait for their turn: none is lost, and memory bounds them.
        path = file_of(home, [QUESTION] * 30)
        got = together(home, path, "--at-once", "2")
        assert len(got) == 30 and all(g == got[0] for g in got), got
        assert got[0][1] == TEXT, got[0]
        one = home.run("ask", QUESTION, "--explain", "--memory", "4096")
        one.exits(0)
        home.run("ask", "--questions", path, "--memory", "1").exits(1).says(
            "E0721")


def case_written_answers_are_judged_as_quoted_ones_are():
    with folder() as at:
        home = Home(at)
        judged = write(os.path.join(at, "judged.csv"),
                       "question,answer,document\n"
                       f"{QUESTION},give 2 mg to the elderly,dose.md\n"
                       "What dose for the elderly?,2 mg,dose.md\n"
                       "Who won the regatta in Cowes?,,\n")
        words = ("eval", "answers", judged, "--per-question")
        assert home.data(*words)["writer"] is None
        home.run(*words, "--generate").exits(1).says("E0722")
        home.use(CITES)
        assert home.data(*words)["writer"] is None
        seen = []
        for n in ("1", "2", "8"):
            data = home.data(*words, "--generate", "--at-once", n)
            assert data["writer"] == "writer", data
            one, two, three = data["per_question"]
            assert one["answer"].startswith("Give 2 mg to the elderly"), one
            assert "[1]" not in one["answer"], one
            assert one["exact"] == 1 and one["f1"] == 1, one
            assert two["exact"] == 0 and 0.3 < two["f1"] < 0.7, two
            assert three["answer"] == "" or three["f1"] == 0, three
            assert data["operating_point"]["citation_precision"] > 0, data
            seen.append(data)
        assert seen[0] == seen[1] == seen[2], seen
        home.run(*words, "--generate").exits(0).prints("writer: writer").says(
            "at once")
        home.use(INVENTS, "inventor")
        data = home.data(*words, "--generate")
        assert all(q["answer"] == "" for q in data["per_question"]), data
        home.run(*words, "--generate", "--at-once", "0").exits(4)


def case_many_are_quoted_where_nothing_writes():
    with folder() as at:
        home = Home(at)
        want = [alone(home, q) for q in QUESTIONS]
        assert together(home, file_of(home)) == want
        home.run("ask", "--questions", file_of(home)).exits(0).prints(
            "1. " + QUESTION, "2 mg of warfarin").says("answered")


def case_what_cannot_be_asked_is_refused():
    with folder() as at:
        home = Home(at)
        home.run("ask").exits(4)
        home.run("ask", QUESTION, "--questions", file_of(home)).exits(4)
        home.run("ask", "--questions", file_of(home, ["", " "])).exits(4).says(
            "asks nothing")
        home.run("ask", "--questions", os.path.join(at, "no.txt")).exits(
            1).says("no.txt")
        home.use(CITES)
        home.run("ask", "--questions", file_of(home), "--at-once",
                 "65").exits(4).says("at-once")
        home.run("chat", "--questions", file_of(home)).exits(4)


def case_an_interrupt_ends_all():
    with folder() as at:
        home = Home(at)
        words = ["▁word%d" % i for i in range(40)]
        home.use(words, "endless", loops=True, context=40000)
        argv = [os.path.join(os.path.abspath(cases.BIN), "tacit"), "ask",
                "--questions", file_of(home, [QUESTION] * 8), "--max-tokens",
                "16384", "--home", home.home]
        with subprocess.Popen(argv, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as many:
            try:
                while b"at once" not in many.stderr.readline():
                    assert many.poll() is None, "it ended by itself"
                many.send_signal(signal.SIGINT)
                _, err = many.communicate(timeout=60)
            finally:
                many.kill()
        assert many.returncode == 130, (many.returncode, err)


if __name__ == "__main__":
    cases.run(globals())
