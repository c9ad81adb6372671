#!/usr/bin/env python3
# variants: asan
"""tacit model distill: a small encoder is made from an imported one, searches,
goes out and comes in again; a decoder learns from another one; work that was
interrupted goes on.

The teacher is test_encoder's BERT of random numbers: what is learnt from it
means nothing, but it is learnt. The decoders are those of scripted.py.
"""
import os
import random
import signal
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, folder, until, write  # noqa: E402
from scripted import script  # noqa: E402
from test_encoder import Home, NOTES, WORDS  # noqa: E402

SMALL = ("--dim", "32", "--words", "64", "--ngrams", "64", "--epochs", "4",
         "--rate", "0.01")


def texts(at, n=400):
    """Lines of the notes' words, in two files, and a file that is none."""
    draw = random.Random(3)
    words = [w for w in WORDS if w.isalpha() and len(w) > 1]
    lines = [" ".join(draw.choices(words, k=draw.randint(3, 9)))
             for _ in range(n)]
    write(os.path.join(at, "a.txt"), "\n".join(lines[:n // 2]))
    write(os.path.join(at, "more", "b.txt"), "\n\n".join(lines[n // 2:]))
    write(os.path.join(at, "notes.md"), "This is not read.\n")
    return at


def distil(home, at, name, *more):
    return home.data("model", "distill", "--teacher", "tiny", "--texts", at,
                     "-o", name, *SMALL, *more)


# ---- cases ------------------------------------------------------------------

def case_a_student_is_made_searches_and_is_the_same_again():
    with folder() as at:
        home = Home(at)
        home.take_in()
        lines = texts(os.path.join(at, "texts"))
        home.run("add", home.notes).exits(0)
        made = distil(home, lines, "small", "--seed", "5", "--licence", "MIT")
        assert made["texts"] == 400 and made["family"] == "words", made
        assert 0 < made["words"] <= 64 and made["licence"] == "MIT", made
        shown = home.data("model", "show", "small")
        assert shown["family"] == "words" and shown["type"] == "Q4_0", shown
        # The same seed, whatever is kept of the teacher and however many
        # threads: the same file.
        again = os.path.join(at, "again")
        os.mkdir(again)
        other = Home(again)
        other.take_in()
        same = distil(other, lines, "small", "--seed", "5", "--licence", "MIT")
        assert same["hash"] == made["hash"], (same, made)
        differs = distil(home, lines, "other", "--seed", "6")
        assert differs["hash"] != made["hash"]
        # It searches.
        used = home.data("model", "use", "small")
        assert used["numbers"] == 32 and used["stale_documents"] == len(NOTES)
        assert home.data("reindex")["replaced"] == len(NOTES)
        assert home.found("vectors")
        home.run("doctor", "--index").exits(0)
        home.run("model", "rm", "small").exits(1).says("model use built-in")
        # Out, and in elsewhere.
        out = os.path.join(at, "small.gguf")
        home.run("model", "export", "small", out).exits(0)
        came = other.data("model", "import", out, "--name", "came")
        assert came["licence"] == "MIT" and came["family"] == "words", came
        other.run("add", other.notes).exits(0)
        other.run("model", "use", "came").exits(0)
        other.run("reindex").exits(0)
        assert other.found("vectors") == [
            (p.replace(home.notes, other.notes), *rest)
            for p, *rest in home.found("vectors")]


def case_interrupted_work_goes_on_from_what_the_teacher_said():
    with folder() as at:
        home = Home(at)
        home.take_in()
        lines = texts(os.path.join(at, "texts"), 20000)
        kept = os.path.join(at, "vectors")
        words = ("model", "distill", "--teacher", "tiny", "--texts", lines,
                 "-o", "small", "--cache", kept, *SMALL)
        p = begin("tacit", *words, "--home", home.home)
        until(lambda: os.path.exists(kept) and os.path.getsize(kept) > 64,
              60, "the teacher says something")
        done = finish(p, signal.SIGINT, timeout=60)
        if done.status != 0:  # a machine that fast would be done
            done.exits(130).says(kept)
        size = os.path.getsize(kept)
        assert size > 64
        assert not [m for m in home.data("model", "ls")["models"]
                    if m["name"] == "small"] or done.status == 0
        home.run("model", "rm", "small")
        home.run(*words, timeout=300).exits(0).prints("small")
        assert os.path.getsize(kept) >= size
        # A file of another teacher is not mixed in.
        home.take_in("wide", width=128)
        home.run("model", "distill", "--teacher", "wide", "--texts", lines,
                 "-o", "x", "--cache", kept, *SMALL).exits(1).says(
                     "another teacher")


def case_what_cannot_be_learnt_is_said():
    with folder() as at:
        home = Home(at)
        home.take_in()
        lines = texts(os.path.join(at, "texts"))
        empty = os.path.join(at, "empty")
        os.mkdir(empty)
        run = lambda *w: home.run("model", "distill", *w)  # noqa: E731
        run("--teacher", "tiny").exits(4).says("--texts")
        run("--teacher", "none", "--texts", lines, "-o", "x").exits(1).says(
            "model ls")
        run("--teacher", "tiny", "--texts", empty, "-o", "x").exits(4).says(
            ".txt")
        run("--teacher", "tiny", "--texts", lines, "-o", "x").exits(1).says(
            "96")
        run("--teacher", "tiny", "--texts", lines, "-o", "x", "--type",
            "q2_k", "--dim", "32").exits(4).says("q4_0")
        run("--teacher", "tiny", "--texts", lines, "-o", "No name", "--dim",
            "32", "--epochs", "0").exits(4).says("name")
        # Before the teacher is asked, not after hours of learning.
        for name in os.listdir(home.home):
            if name.startswith("teacher-"):
                os.remove(os.path.join(home.home, name))
        run("--teacher", "tiny", "--texts", lines, "-o", "tiny", "--dim",
            "32").exits(1).says("named tiny")
        assert not [n for n in os.listdir(home.home)
                    if n.startswith("teacher-")]
        assert len(home.data("model", "ls")["models"]) == 1


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def decoders(home, at):
    """Two with one vocabulary: behind "c" the one goes on, the other ends."""
    steps = ["a", "b", "c"]
    for name, loops in (("writer", True), ("pupil", False)):
        path = write(os.path.join(at, name + ".gguf"),
                     script(steps, loops=loops))
        home.run("model", "import", path, "--name", name).exits(0)
    path = write(os.path.join(at, "other.gguf"), script(steps + ["d"]))
    home.run("model", "import", path, "--name", "other").exits(0)
    return write(os.path.join(at, "texts", "a.txt"), "abc\n" * 400)


def student(lines, *more, teacher="writer", name="made"):
    return ("model", "distill", "--teacher", teacher, "--student", "pupil",
            "--texts", lines, "-o", name, "--row", "16", "--batch", "2",
            *more)


def case_a_decoder_learns_what_another_one_would_say():
    with folder() as at:
        home = Home(at)
        lines = decoders(home, at)
        made = home.data(*student(lines, "--share", "1", "--rate", "0.01",
                                  "--epochs", "3", "--licence", "MIT"))
        assert made["family"] == "llama" and made["licence"] == "MIT", made
        assert made["agreement"] > made["agreement_before"] + .1, made
        assert home.data("model", "show", "made")["type"] == "F32"
        home.run("model", "use", "made").exits(0).prints("writes")
        small = home.data(*student(lines, "--type", "f16", name="small"))
        assert small["bytes"] < made["bytes"], (small, made)


def case_an_interrupted_student_keeps_what_it_learnt():
    with folder() as at:
        home = Home(at)
        lines = decoders(home, at)
        # So many epochs that no machine ends before it is asked to.
        said = os.path.join(at, "said")
        with open(said, "w", encoding="utf-8") as log:
            p = begin("tacit", *student(lines, "--epochs", "1000",
                                        name="half"),
                      "--home", home.home, log=log)
            until(lambda: "tokens" in read(said), 60, "it learns")
            assert finish(p, signal.SIGINT, timeout=60).status == 130
        assert "kept as half" in read(said), read(said)
        assert home.data("model", "show", "half")["family"] == "llama"


def case_a_student_and_a_teacher_that_do_not_fit_are_refused():
    with folder() as at:
        home = Home(at)
        home.take_in()
        lines = decoders(home, at)
        home.run(*student(lines, name="pupil")).exits(1).says("named pupil")
        home.run(*student(lines, teacher="tiny")).exits(4).says("bert")
        home.run(*student(lines, teacher="other")).exits(4).says(
            "different vocabularies")
        home.run(*student(lines, "--dim", "32")).exits(4).says("--dim")
        home.run(*student(lines, "--row", "8000")).exits(1).says("--row")
        home.run(*student(lines, "--share", "2")).exits(4).says("0 to 1")
        home.run(*student(lines, "--memory", "1")).exits(1).says("1 MiB")


if __name__ == "__main__":
    cases.run(globals())
