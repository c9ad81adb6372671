#!/usr/bin/env python3
"""Documents as they are in real folders: damaged, vanishing, too large, in a
circle; a full disk, kill -9, Ctrl-C, two programs at once. Whatever happens,
the other files are added, text, words and vectors agree, and a later run
completes.
"""
# variants: asan
import contextlib
import glob
import hashlib
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import Skip, begin, finish, folder, tacit, write  # noqa: E402
from federation import Federation  # noqa: E402

LICENSES = "/usr/share/common-licenses"
NOBODY = 65534


class Site:
    """A device and a folder of documents, below one temporary folder."""

    def __init__(self, at, init=True, key="file"):
        self.at, self.home = at, os.path.join(at, "home")
        self.docs = os.path.join(at, "docs")
        os.makedirs(self.docs, exist_ok=True)
        if init:
            self.run("init", "--quiet", "--key", key).exits(0)

    def run(self, *words, **how):
        return tacit(*words, "--home", self.home, **how)

    def begin(self, *words):
        return begin("tacit", *words, "--home", self.home)

    def add(self, *paths, **how):
        return self.run("add", *(paths or [self.docs]), "--json", **how)

    def path(self, name):
        return os.path.join(self.docs, name)

    def write(self, name, text):
        return write(self.path(name), text)

    def listed(self):
        docs = self.run("ls", "--json").exits(0).data["documents"]
        return {os.path.basename(d["path"]) for d in docs}

    def finds(self, word):
        """Search meets this very word (near ones are found too)."""
        done = self.run("search", word, "--json")
        return done.status == 0 and any(
            word in h["text"].replace(".", " ").split()
            for h in done.data["hits"])

    def rows(self, sql, *values):
        with cases.store(self.home) as db:
            return db.execute(sql, values).fetchall()

    def indexed(self):
        return self.run("status", "--json").exits(0).data["documents"]

    def check(self):
        """The store is whole, and its three indexes hold the same."""
        rows = self.rows(
            "SELECT (SELECT sum(n_chunks) FROM document),"
            " (SELECT count(*) FROM chunk),"
            " (SELECT count(*) FROM chunk_fts_docsize),"
            " (SELECT count(*) FROM passage_vector_place),"
            " (SELECT count(*) FROM chunk JOIN passage_vector_place AS v"
            "  ON v.id = chunk.id"
            "  JOIN chunk_fts_docsize AS f ON f.id = chunk.id"
            "  JOIN document ON document.id = document_id)")[0]
        assert len({n or 0 for n in rows}) == 1, rows
        with cases.store(self.home) as db:
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        # The word index against the text of the passages: its tokenizer is
        # the program's.
        checks = {c["check"]: c for c in
                  self.run("doctor", "--json").data["checks"]}
        assert checks["indexes"]["ok"], checks


@contextlib.contextmanager
def site(**how):
    with folder() as at:
        yield Site(at, **how)


def prose(n, words=60):
    """Document n: it alone holds the word `namen`."""
    r = random.Random(n)
    some = ("ward nurse gloves dose pharmacy weekend order patient chart "
            "kitchen morning evening lamp report winter garden").split()
    text = " ".join(r.choice(some) for _ in range(words))
    return f"# Note {n}\n\nThe word of this note is name{n}. {text}.\n"


def pending(pid):
    """Whether a signal waits for the process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return any(line.startswith(("SigPnd", "ShdPnd")) and
                   int(line.split()[1], 16) for line in f)


def failures(done):
    """{file name: code} of `add --json`."""
    return {os.path.basename(f["path"]): f["code"] for f in done.data["failed"]}


BAD = {
    "binary.txt": (b"text\0more", "TACIT-E0206", "zero byte at byte 4"),
    "blank.md": (" \n\t\n", "TACIT-E0205", "blank"),
    "empty.txt": ("", "TACIT-E0205", "empty"),
    "huge.txt": (None, "TACIT-E0203", "32 MiB"),
    "shift_jis.txt": ("\u8868\n".encode("shift_jis"), "TACIT-E0207", "iconv"),
    "markup.html": ("<p><!-- --></p>", "TACIT-E0205", "only markup"),
    "broken.pdf": ("%PDF-1.4\nrubbish", "TACIT-E0211", "damaged"),
    "cut.docx": ("PK\3\4", "TACIT-E0211", "container"),
    "ragged.csv": ("a,b\n1\n", "TACIT-E0211", "line 2"),
}


def case_each_bad_file_has_its_error_and_the_others_are_added():
    with site() as s:
        s.write("a-good.md", prose(1))
        s.write("z-good.md", prose(2))
        for name, (content, _, _) in BAD.items():
            s.write(name, content or "")
        os.truncate(s.path("huge.txt"), 1 << 40)  # sparse
        done = s.add().exits(1)
        assert failures(done) == {n: b[1] for n, b in BAD.items()}, done
        assert s.listed() == {"a-good.md", "z-good.md"}
        for fault in done.data["failed"]:
            assert fault["path"] in fault["message"], fault
        for name, (_, code, word) in BAD.items():
            one = s.run("add", s.path(name)).exits(1)
            one.says(code, s.path(name), word, "nothing could be added")
            assert one.out == "", one
        assert s.add(s.path("empty.txt")).exits(1).code == "TACIT-E0205"
        done = s.run("add", s.path("empty.txt"), s.path("a-good.md")).exits(1)
        done.says("E0205").prints("1 unchanged", "1 could not be read")
        s.check()


def case_a_bad_row_is_listed_and_the_others_are_added():
    with site() as s:
        s.write("t.csv", "drug,dose\nHeparin,5\nAspirin\nWarfarin,\"2\n")
        s.write("t.jsonl", '{"drug": "Ibuprofen"}\n{"drug":\n')
        done = s.run("add", s.docs).exits(0)
        done.says("t.csv: 2 rows left out: line 3: 1 value",
                  "line 4: a quote is not closed", "t.jsonl: 1 row left out")
        assert s.finds("Heparin") and s.finds("Ibuprofen")
        s.write("t.csv", "drug,dose\nHeparin\nNaloxone,1\n")
        notes = s.add().exits(0).data["notes"]
        assert [n["note"] for n in notes] == [
            "1 row left out: line 2: 1 value; the header names 2"], notes
        s.check()


def case_a_bad_change_keeps_what_was_indexed_and_a_repair_replaces_it():
    with site() as s:
        path = s.write("a.md", prose(1))
        s.add().exits(0)
        write(path, b"\0")
        s.add().exits(1)
        assert s.listed() == {"a.md"}
        assert s.finds("name1")
        write(path, prose(2))
        assert s.add().exits(0).data["replaced"] == 1
        assert not s.finds("name1") and s.finds("name2")
        s.check()


def case_what_is_not_there_or_not_a_file():
    with site() as s:
        good = s.write("good.md", prose(1))
        os.mkfifo(s.path("fifo"))
        os.symlink("circle", s.path("circle"))
        os.symlink(s.docs, s.path("up"))
        os.symlink("nowhere.md", s.path("dangling.md"))
        os.symlink(good, s.path("link.md"))
        os.mkdir(s.path("v2.old"))
        for name, code in (("missing.md", "0201"), ("fifo", "0204"),
                           ("circle", "0202"), ("dangling.md", "0201"),
                           ("good.md/below", "0201")):
            done = s.run("add", s.path(name), timeout=20).exits(1)
            done.says(f"E{code}", name)
        done = s.add(s.path("missing.md"), good, s.path("fifo")).exits(1)
        assert failures(done) == {"missing.md": "TACIT-E0201",
                                  "fifo": "TACIT-E0204"}, done
        assert done.data["added"] == 1, done
        # The folder itself: the circle ends, and a link is its file.
        done = s.add(timeout=20).exits(0)
        assert done.data["failed"] == [] and done.data["added"] == 0, done
        assert done.data["unchanged"] == 2 and s.listed() == {"good.md"}, done
        s.run("rm", s.path("missing.md")).exits(1).says("tacit ls", "E0010")
        for command in ("add", "rm"):
            s.run(command, "", cwd=s.docs).exits(4).says("empty")
        assert s.listed() == {"good.md"}
        # A program without an ending is no broken document of this folder.
        program = s.write("program", b"\x7fELF\0\0")
        done = s.add().exits(0)
        assert done.data["failed"] == [] and done.data["skipped"] >= 1, done
        s.run("add", program).exits(1).says("E0206")
        s.check()


def case_a_link_out_of_a_folder_is_listed_and_not_followed():
    with site() as s:
        home = os.path.realpath(s.at)
        secret = write(os.path.join(home, "secret", "s.md"), prose(7))
        other = write(os.path.join(home, "other", "o.md"), prose(8))
        s.write("a.md", prose(1))
        hidden = s.write(".kept/h.md", prose(2))
        os.symlink(secret, s.path("out.md"))
        os.symlink("../secret/s.md", s.path("relative.md"))
        os.symlink(s.path("out.md"), s.path("twice.md"))
        os.symlink(os.path.dirname(secret), s.path("folder"))
        os.symlink(hidden, s.path("inside.md"))
        done = s.add().exits(0)
        assert done.data["links"] == 3 and done.data["added"] == 2, done
        assert s.listed() == {"a.md", "h.md"}
        assert {os.path.basename(n["path"]) for n in done.data["notes"]} == {
            "out.md", "relative.md", "twice.md"}, done
        done = s.run("add", s.docs).exits(0).prints("3 links out")
        done.says("out.md: not read", secret, "--follow")
        # Into another folder that is added it may lead; and a person may name
        # a link, to a file or to a folder.
        os.symlink(other, s.path("other.md"))
        s.add(s.docs, os.path.dirname(other)).exits(0)
        assert s.listed() == {"a.md", "h.md", "o.md"}
        s.add(s.path("out.md")).exits(0)
        assert s.listed() == {"a.md", "h.md", "o.md", "s.md"}
        s.run("rm", secret).exits(0)
        os.symlink(s.docs, os.path.join(s.at, "way"))
        assert s.add(os.path.join(s.at, "way")).exits(0).data["links"] == 3
        # All of them, until it is said otherwise.
        done = s.run("add", s.docs, "--follow", "--json").exits(0)
        assert done.data["links"] == 0 and done.data["added"] == 1, done
        write(secret, prose(9))
        s.add().exits(0)
        assert not s.finds("name9")
        s.check()


def case_a_document_that_became_a_link_is_not_read_again():
    with site() as s:
        path = s.write("a.md", prose(1))
        secret = write(os.path.join(s.at, "s.md"), prose(7))
        s.add().exits(0)
        os.remove(path)
        os.symlink(secret, path)
        with cases.store_to_change(s.home) as db:
            db.execute("UPDATE document SET made_by = 0")
        assert s.run("reindex", "--json").exits(0).data["links"] == 1
        assert s.listed() == {"a.md"} and not s.finds("name7")


def case_hostile_names_are_shown_harmless_and_do_not_stop_the_others():
    with site() as s:
        s.write("good.md", prose(1))
        bad = os.path.join(os.fsencode(s.docs), b"bad\xff.md")
        with open(bad, "w", encoding="utf-8") as f:
            f.write(prose(2))
        s.write("red\x1b[31m\nline.txt", b"\0")
        done = s.run("add", s.docs).exits(1).says("E0210", "E0206")
        assert "\x1b" not in done.err and "red" in done.err, done
        done = s.add().exits(1)
        assert sorted(f["code"] for f in done.data["failed"]) == [
            "TACIT-E0206", "TACIT-E0210"], done
        assert s.listed() == {"good.md"}
        blue = s.write("blue\x1b[34m\n.md", prose(3))
        s.run("add", blue).exits(0)
        for words in (("ls",), ("search", "name3"),
                      ("ask", "word of this note name3",
                       "--threshold", "0"),
                      ("open", "1")):
            done = s.run(*words).exits(0).prints("blue?[34m?.md")
            assert "\x1b" not in done.out + done.err, done


def drop_to_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def case_what_may_not_be_read_is_named():
    how = {}
    with site(init=False) as s:
        if os.getuid() == 0:
            os.chmod(s.at, 0o755)
            how["preexec"] = drop_to_nobody
            os.makedirs(s.home)
            os.chown(s.home, NOBODY, NOBODY)
            try:
                s.run("--version", **how)
            except (OSError, subprocess.SubprocessError) as why:
                raise Skip(f"cannot run as another user: {why}") from None
        s.run("init", **how).exits(0)
        s.write("good.md", prose(1))
        os.chmod(s.write("secret.md", prose(2)), 0)
        os.makedirs(s.path("shut.d"))
        os.chmod(s.path("shut.d"), 0)
        done = s.add(**how).exits(1)
        assert failures(done) == {"secret.md": "TACIT-E0202",
                                  "shut.d": "TACIT-E0202"}, done
        assert done.data["added"] == 1, done
        done = s.add(s.path("shut.d"), s.path("good.md"), **how).exits(1)
        assert failures(done) == {"shut.d": "TACIT-E0202"}, done
        assert done.data["unchanged"] == 1, done
        done = s.run("add", s.path("secret.md"), **how).exits(1)
        done.says("secret.md", "Permission denied", "E0202")
        os.chmod(s.path("secret.md"), 0o644)
        os.chmod(s.path("shut.d"), 0o755)
        assert s.add(**how).exits(0).data["added"] == 1


def lock_up(path):
    """Nothing below may be written from now on."""
    if subprocess.run(["mount", "--bind", path, path],
                      check=False).returncode or \
            subprocess.run(["mount", "-o", "remount,ro,bind", path],
                           check=False).returncode:
        print("nothing may be mounted read-only here")
        sys.exit(77)


ASKED = ["ask", "What is the word of this note?", "--threshold", "0"]


def read_only_home(at):
    for key in ("file", "none"):
        s = Site(os.path.join(at, key), key=key)
        s.write("a.md", prose(1))
        s.add().exits(0)
        s.run(*ASKED).exits(0)
        before = files_of(s.home)
        lock_up(s.home)
        s.run("search", "name1").exits(0).prints("a.md")
        done = s.run(*ASKED).exits(0).prints("a.md")
        done.says("no answer is noted")
        assert "feedback 1" not in done.err, done
        assert s.run(*ASKED, "--json").exits(0).data["answer"] == 0
        assert s.listed() == {"a.md"} and s.indexed() == 1
        s.run("open", "1", "--json").exits(0)  # of the answer before
        s.run("doctor").exits(0).prints("may only be read", "agree")
        for words in (["add", s.docs], ["rm", s.docs], ["reindex"], ["run"],
                      ["feedback", "1", "good"], ["key", "none"],
                      ["model", "use", "none"]):
            s.run(*words).exits(1).says("E0112", "may only be read")
        done = s.run("doctor", "--index").exits(0)
        done.prints("1 vector, in 1 list; recall@", "not compared word by word")
        assert files_of(s.home) == before
        copy = os.path.join(at, key + "-copy")  # as explain says
        subprocess.run(["cp", "-a", s.home, copy], check=True)
        cases.tacit("--home", copy, "rm", s.docs).exits(0)


    s = Site(os.path.join(at, "damaged"))
    s.write("a.md", prose(1))
    s.add().exits(0)
    with cases.store_to_change(s.home) as db:
        db.execute("DELETE FROM passage_vector_seg")
    lock_up(s.home)
    s.run("doctor", "--index").exits(1).prints("E0250", "copy the home")


def case_a_store_on_a_read_only_medium_is_read():
    cases.in_namespace(__file__, "read_only_home")


def read_only_log(at):
    """Copies of a store that a program has open: its log is not in it."""
    for key in ("file", "none"):
        s = Site(os.path.join(at, key), key=key)
        s.write("a.md", prose(1))
        with Watching(s):
            s.write("b.md", prose(2))
            cases.until(lambda: s.finds("name2"), 60, "b.md was not read")
            whole, cut = s.home + "-whole", s.home + "-cut"
            for copy in (whole, cut):
                subprocess.run(["cp", "-a", s.home, copy], check=True)
        assert os.path.getsize(os.path.join(whole, "tacit.db-wal")) > 0
        os.unlink(os.path.join(cut, "tacit.db-shm"))
        lock_up(whole)
        lock_up(cut)
        tacit("--home", whole, "search", "name2").exits(0).prints("b.md")
        tacit("--home", cut, "search", "name2").exits(1).says(
            "E0113", "tacit.db-wal")


def case_a_log_that_a_read_only_medium_hides_is_named():
    cases.in_namespace(__file__, "read_only_log")


def case_a_store_that_another_program_locks_is_named():
    with site(key="none") as s:
        s.write("a.md", prose(1))
        s.add().exits(0)
        with contextlib.closing(sqlite3.connect(
                os.path.join(s.home, "tacit.db"), isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")  # a writer: questions go on
            s.run("search", "name1").exits(0)
            s.run("add", s.write("b.md", prose(2))).exits(1) \
                .says("E0103", "another process holds it")
            db.execute("ROLLBACK")
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("BEGIN EXCLUSIVE")
            s.run("search", "name1").exits(1).says("E0103", "tacit.db")
        s.add().exits(0)
        assert s.listed() == {"a.md", "b.md"}
        s.check()


def case_a_folder_may_be_deep_but_not_without_end():
    with site() as s:
        s.write("a.md", prose(1))
        deep = s.docs + "/d" * 70
        os.makedirs(deep)
        write(deep + "/b.md", prose(2))
        done = s.add().exits(1)
        assert done.data["added"] == 1, done
        assert len(failures(done)) == 1 and "deep" in done.out, done
        assert s.add(deep).exits(0).data["added"] == 1
        s.check()


def case_a_file_that_vanishes_between_listing_and_reading():
    with site() as s:
        for i in range(2, 40):
            s.write(f"a{i}.md", prose(i, 1000))
        # It takes a while, and those before it are not kept waiting.
        s.write("b.md", prose(1, 400000))
        gone = s.write("c.md", prose(99))
        for words in ([s.docs], [s.docs, gone, s.path("a2.md")]):
            write(gone, prose(99))
            p = s.begin("add", "--json", *words)
            cases.until(lambda: s.indexed() >= 3 or p.poll() is not None, 30,
                        "the first documents")
            p.send_signal(signal.SIGSTOP)
            os.unlink(gone)
            p.send_signal(signal.SIGCONT)
            done = finish(p, timeout=60)
            if len(words) == 1:  # nothing is lost: it is not there
                assert done.status in (0, 1), done
            else:
                done.exits(1)
                assert failures(done) == {"c.md": "TACIT-E0201"}, done
            assert len(s.listed()) == 39, done
            s.check()
            s.run("rm", s.docs).exits(0)
            assert s.indexed() == 0


def case_unchanged_changed_and_removed():
    with site() as s:
        paths = [s.write(f"n{i}.md", prose(i)) for i in range(4)]
        assert s.add().exits(0).data["added"] == 4
        ids = s.rows("SELECT id, path, added_s FROM document ORDER BY id")
        for words in ([s.docs], [s.docs + "/"], paths,
                      [os.path.relpath(s.docs)]):
            done = s.add(*words).exits(0).data
            assert (done["unchanged"], done["added"]) == (4, 0), done
            assert ids == s.rows(
                "SELECT id, path, added_s FROM document ORDER BY id")
        write(paths[1], prose(10, 900))
        done = s.add().exits(0).data
        assert (done["replaced"], done["unchanged"]) == (1, 3), done
        assert not s.finds("name1") and s.finds("name10")
        s.check()
        os.unlink(paths[0])  # a removed file
        assert s.add().exits(0).data["removed"] == 1
        s.run("rm", paths[2]).exits(0)  # a removed document
        assert os.path.exists(paths[2])
        for word in ("name0", "name2"):
            assert not s.finds(word)
            assert s.rows("SELECT 1 FROM chunk WHERE text LIKE ?",
                          f"%{word}%") == []
        n = s.rows("SELECT (SELECT count(*) FROM passage_vector_place),"
                   " sum(n_chunks), count(*) FROM document")[0]
        assert n[0] == n[1] and n[2] == 2, n
        s.check()


def mount_disk(at, *how):
    os.makedirs(at, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", *how, "none", at],
                      check=False).returncode:
        print("no tmpfs may be mounted here")
        sys.exit(77)


def fill_disk(path):
    with contextlib.suppress(OSError), open(path, "ab", 0) as rest:
        while rest.write(bytes(4096)):
            pass


def full_disk(at):
    mount_disk(os.path.join(at, "home"), "-o", "size=1500k")
    s = Site(at)
    first = write(os.path.join(at, "first.md"), prose(1000))
    s.add(first).exits(0)
    for i in range(30):
        s.write(f"n{i:02}.md", prose(i, 4000))
    done = s.add().exits(1)
    assert done.code == "TACIT-E0102", done
    s.run("add", s.docs).exits(1).says("E0102", "tacit.db", "full")
    kept = s.indexed()
    assert 1 <= kept < 31, kept
    s.check()
    assert "first.md" in s.listed()
    s.run("search", "name1000").exits(0).prints("first.md")
    subprocess.run(["mount", "-o", "remount,size=60m",
                    os.path.join(at, "home")], check=True)
    done = s.add().exits(0).data
    assert done["unchanged"] == kept - 1, (done, kept)
    assert s.indexed() == 31
    s.check()
    # The log that somebody else has open cannot grow: no answer is noted.
    s.write("last.md", prose(31))
    with open(os.path.join(at, "log"), "w+b") as log:
        watch = begin("tacit", "add", s.docs, "--watch", "--home", s.home,
                      log=log)
        cases.until(lambda: s.indexed() == 32, 60, "a round")
        fill_disk(os.path.join(at, "home/rest"))
        done = s.run("ask", "what is the word of note 1000?",
                     "--in", "*first.md")
        done.exits(0).prints("name1000").says("disk is full", "not noted")
        finish(watch, signal.SIGINT).exits(0)


def case_a_full_disk_loses_nothing_and_a_later_run_completes():
    cases.in_namespace(__file__, "full_disk")


def disk_without_a_byte(at):
    """Not even the index of SQLite's log has room."""
    mount_disk(os.path.join(at, "home"), "-o", "size=1500k")
    s = Site(at)
    s.write("a.md", prose(1))
    s.add().exits(0)
    rest = os.path.join(at, "home/rest")
    fill_disk(rest)
    asked_without_a_byte(s)
    os.unlink(rest)
    # The same with a log that nobody has written back.
    watch = s.begin("add", s.docs, "--watch")
    s.write("c.md", prose(3))
    cases.until(lambda: "c.md" in s.listed(), 60, "a round")
    finish(watch, signal.SIGKILL)
    os.unlink(os.path.join(s.home, "tacit.db-shm"))
    assert os.path.getsize(os.path.join(s.home, "tacit.db-wal"))
    fill_disk(rest)
    asked_without_a_byte(s)
    assert s.finds("name3")
    s.write("b.md", prose(2))
    s.run("add", s.docs).exits(1).says("E0102")
    with open(os.path.join(at, "log"), "w+b") as log:
        watch = begin("tacit", "add", s.docs, "--watch", "--home", s.home,
                      log=log)

        def said():
            with open(log.name, "rb") as f:
                return f.read()
        cases.until(lambda: b"E0102" in said(), 60, "a full disk")
        os.unlink(rest)
        cases.until(lambda: s.listed() == {"a.md", "b.md", "c.md"}, 60,
                    "no going on")
        finish(watch, signal.SIGINT).exits(0)
    s.check()


def asked_without_a_byte(s):
    s.run(*ASKED).exits(0).prints("name1").says("disk is full", "not noted")
    assert s.indexed() and "a.md" in s.listed() and s.finds("name1")
    s.run("model", "ls").exits(0)
    for how in ((), ("--index",)):
        done = s.run("doctor", *how).exits(1).prints("tacit.db is whole")
        assert done.out.count("BAD") == 1, done  # the room


def case_a_disk_without_a_byte_is_asked_and_waited_for():
    cases.in_namespace(__file__, "disk_without_a_byte")


def case_a_limit_on_files_is_a_full_disk():
    with site() as s:
        for i in range(12):
            s.write(f"n{i:02}.md", prose(i, 4000))
        limit = 500_000
        done = s.add(preexec=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (limit, limit))).exits(1)
        assert done.code == "TACIT-E0102", done
        kept = s.indexed()
        assert kept < 12
        s.check()
        assert s.add().exits(0).data["unchanged"] == kept
        assert s.indexed() == 12
        s.check()


def files_of(home):
    found = {}
    for path in sorted(glob.glob(home + "/**", recursive=True)):
        if os.path.isfile(path) and not path.endswith("-shm"):
            with open(path, "rb") as f:
                found[path] = hashlib.sha256(f.read()).hexdigest()
    return found


READERS = (["ls"], ["search", "name1"], ["ask", "What is the word?"],
           ["rm", "/x"], ["status"], ["audit"], ["doctor"])


def case_a_store_of_a_newer_version_is_refused_untouched():
    with site(key="none") as s:
        s.write("a.md", prose(1))
        s.add().exits(0)
        store = os.path.join(s.home, "tacit.db")
        with contextlib.closing(sqlite3.connect(store)) as db:
            was = db.execute("PRAGMA user_version").fetchone()[0]
            db.execute("PRAGMA user_version=999")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = files_of(s.home)
        for words in [["add", s.docs], *READERS]:
            s.run(*words).exits(1).says("tacit.db", "newer", "999", "E0101")
            assert s.run(*words, "--json").exits(1).code == "TACIT-E0101"
        assert files_of(s.home) == before
        with contextlib.closing(sqlite3.connect(store)) as db:
            db.execute(f"PRAGMA user_version={was}")
        s.run("search", "name1").exits(0)


def case_a_damaged_store_is_said_once_and_clearly():
    damaged_store("file")


def case_so_is_one_that_is_not_sealed():
    damaged_store("none")


def case_a_store_that_was_cut_off_has_a_way_out():
    for key in ("file", "none"):
        with site(key=key) as s:
            s.write("a.md", prose(1))
            s.add().exits(0)
            store = os.path.join(s.home, "tacit.db")
            os.truncate(store, os.path.getsize(store) * 7 // 10 // 8192 * 8192)
            s.run("ask", "name1?").exits(1).says("E0108", "cannot open")
            for words in (["doctor"], ["doctor", "--index"]):
                s.run(*words).exits(1).says("E0108", "backup", "`tacit init`")
            os.rename(s.home, s.home + ".aside")
            s.run("init", "--key", key).exits(0)
            s.add().exits(0)
            assert s.listed() == {"a.md"}


def case_a_flipped_letter_of_the_tables_is_a_damaged_store():
    with site(key="none") as s:
        s.write("a.md", prose(1))
        s.add().exits(0)
        store = os.path.join(s.home, "tacit.db")
        whole = open(store, "rb").read()
        for name, command in (
                (b"dh BLOB", ("status",)),
                (b"adopted_s INTEGER", ("ask", "a?")),
                (b"document_id INTEGER", ("search", "name1")),
                (b"made_by INTEGER", ("add", s.docs)),
                (b"all_links INTEGER", ("add", s.docs))):
            assert name in whole, name
            write(store, whole.replace(name, bytes([name[0] ^ 1]) + name[1:]))
            s.run(*command).exits(1).says("E0108", "tacit.db", "damaged")
            assert s.run("doctor").status in (0, 1)


def damaged_store(key):
    def overwrite(first, n):
        def damage(path):
            with open(path, "r+b") as f:
                f.seek(first)
                f.write(random.Random(7).randbytes(n))
        return damage

    def shorten(path):
        os.truncate(path, os.path.getsize(path) // 2 // 4096 * 4096)

    with site(key=key) as s:
        for i in range(20):
            s.write(f"n{i:02}.md", prose(i, 500))
        s.add().exits(0)
        s.write("new.md", prose(100))
        s.write("new2.md", prose(101))
        store = os.path.join(s.home, "tacit.db")
        whole = open(store, "rb").read()
        assert not os.path.exists(store + "-wal")
        n = len(whole)
        for damage in (overwrite(0, 100), overwrite(4096, n - 4096), shorten,
                       lambda path: os.truncate(path, 0)):
            write(store, whole)
            damage(store)
            before = files_of(s.home)
            done = s.run("add", s.docs).exits(1).says("E0108", "tacit.db")
            assert done.err.count("(TACIT-E0108)") == 1, done
            assert s.run("ls", "--json").exits(1).code == "TACIT-E0108"
            s.run("search", "name1").exits(1).says("E0108")
            s.run("ask", "What is the word?").exits(1).says("E0108")
            assert s.run("doctor").exits(1).status == 1
            assert files_of(s.home) == before
        # Somewhere in the middle: an answer or an error, and doctor knows.
        for seed in range(3):
            write(store, whole)
            overwrite(4096 * random.Random(seed).randrange(8, n // 4096),
                      4096)(store)
            for words in ([["ls"], ["search", "name1"], ["add", s.docs]]):
                done = s.run(*words)
                assert done.status in (0, 1, 6), done
        write(store, whole)
        for side in glob.glob(store + "-*"):
            os.unlink(side)
        s.add().exits(0)
        assert s.indexed() == 22
        s.check()


def case_an_index_with_unreadable_pages_is_made_anew():
    for key in ("file", "none"):
        unreadable_index(key)


def unreadable_index(key):
    """The first page of each table that is made of the passages, in turn: the
    store is whole again afterwards, whatever of it could not be dropped."""
    with site(key=key) as s:
        for i in range(20):
            s.write(f"n{i:02}.md", prose(i, 500))
        s.add().exits(0)
        if key == "file":  # A copy then has the same pages.
            with cases.store_to_change(s.home):
                pass
        roots = dict(s.rows("SELECT name, rootpage FROM sqlite_schema"
                            " WHERE name LIKE 'chunk_fts_%'"
                            " OR name LIKE 'passage_vector_%'"))
        store = os.path.join(s.home, "tacit.db")
        whole = open(store, "rb").read()
        size = 8192
        head = len(whole) % size  # of a sealed store
        for name in ("chunk_fts_data", "chunk_fts_docsize",
                     "passage_vector_seg", "passage_vector_place"):
            write(store, whole)
            with open(store, "r+b") as f:
                f.seek(head + (roots[name] - 1) * size)
                f.write(random.Random(1).randbytes(size))
            s.run("doctor").exits(1).prints("doctor --index")
            s.run("search", "name1")
            s.run("doctor", "--index").exits(0).prints("made anew")
            s.run("doctor").exits(0)
            assert s.finds("name1"), name
            assert s.indexed() == 20
            s.check()


LONG = 6


def many(s, n=60, n_long=LONG):
    """Short documents, then some that keep a quick machine busy too."""
    for i in range(n):
        s.write(f"n{i:03}.md", prose(i, 4000))
    for i in range(n_long):
        s.write(f"z{i}.md", prose(n + i, 200000))
    return n + n_long


def interrupted_after(s, n, how):
    """`add` stopped by a signal when at least n documents are indexed."""
    p = s.begin("add", s.docs, "--json")
    cases.until(lambda: s.indexed() >= n or p.poll() is not None, 30,
                f"{n} documents")
    return finish(p, how)


def case_kill_9_during_add_then_add_again():
    with site() as s:
        n = many(s)
        seen = 0
        for k in range(4):
            enough = min(seen + 1 + 4 * k, n - LONG + 1)
            done = interrupted_after(s, enough, signal.SIGKILL)
            assert done.status == -signal.SIGKILL, done
            s.check()
            now = s.indexed()
            assert seen <= now < n, (seen, now)  # nothing kept is lost
            seen = now
        done = s.add().exits(0).data
        assert done["unchanged"] == seen, (done, seen)
        assert s.indexed() == n
        s.check()


def case_ctrl_c_during_add_keeps_what_is_finished():
    with site() as s:
        n = many(s)
        before = 0
        for how in (signal.SIGINT, signal.SIGTERM):
            enough = min(before + 5, n - LONG)
            done = interrupted_after(s, enough, how).exits(130)
            assert done.code == "TACIT-E0014", done
            kept = s.indexed()
            assert max(5, before) <= kept < n, (before, kept)
            s.check()
            told = int(re.search(r"after (\d+) documents?", done.out)[1])
            # The second goes through what the first has kept, first.
            assert told == kept or before and told <= before == kept, done
            before = kept
        assert s.add().exits(0).data["unchanged"] == kept
        assert s.indexed() == n


def case_a_second_ctrl_c_does_not_wait_for_a_long_document():
    with site() as s:
        s.write("a.md", prose(1))
        s.write("b.md", prose(2, 4000000))
        p = s.begin("add", s.docs)
        cases.until(lambda: s.indexed() == 1 or p.poll() is not None, 30,
                    "the first document")
        p.send_signal(signal.SIGINT)
        # Two at once would count as one.
        cases.until(lambda: not pending(p.pid), 30, "the first signal")
        done = finish(p, signal.SIGINT)
        # 130 where the first one came before b.md was begun.
        assert done.status in (-signal.SIGINT, 130), done
        assert s.listed() == {"a.md"}
        s.check()


def case_two_adds_at_once():
    with site() as s:
        n = many(s, 50, 0)
        more = [write(os.path.join(s.at, f"more/m{i:03}.md"),
                      prose(1000 + i, 300)) for i in range(30)]
        running = [s.begin("add", s.docs, "--json"),
                   s.begin("add", s.docs, "--json"),
                   s.begin("add", os.path.dirname(more[0]), "--json")]
        reads = 0
        while any(p.poll() is None for p in running):
            assert s.run("ls").status == 0
            reads += 1
        for p in running:
            finish(p).exits(0)
        assert reads and s.indexed() == n + len(more)
        s.check()


def case_the_licences_answer_and_refuse():
    if not os.path.exists(LICENSES + "/GPL-3"):
        raise Skip(f"{LICENSES} is not here")
    with site() as s:
        s.add(LICENSES).exits(0)
        s.check()
        start = time.monotonic()
        done = s.run("ask", "may I use the contributors' patents?", "--json")
        cited = {os.path.basename(c["path"])
                 for c in done.exits(0).data["citations"]}
        print(f"  {time.monotonic() - start:.2f} s, {sorted(cited)}")
        assert cited & {"GPL-3", "Apache-2.0", "MPL-1.1", "MPL-2.0"}, done
        for sentence in done.data["sentences"]:
            assert "patent" in sentence["text"].lower(), done
        for c in done.data["citations"]:
            with open(c["path"], "rb") as f:
                text = f.read()[c["bytes"][0]:c["bytes"][1]]
            assert b"atent" in text, (c, text)
        for absent in ("How do I bake sourdough bread?",
                       "What is the capital of Mongolia?"):
            s.run("ask", absent).exits(6).says("E0230")


class Watching:
    """`tacit add --watch` on the site's documents."""

    def __init__(self, s):
        self.s, self.done = s, None
        self.process = s.begin("add", s.docs, "--watch", "--json")

    def __enter__(self):
        cases.until(self.s.listed, 10, "the first round")
        return self

    def __exit__(self, *_):
        self.done = finish(self.process, signal.SIGINT)

    def shows(self, *names):
        cases.until(lambda: self.s.listed() == set(names), 15,
                    f"wanted {names}")


def case_a_watched_folder_is_followed():
    with site() as s:
        s.write("a.md", prose(1))
        os.symlink(s.docs, s.path("circle"))
        with Watching(s) as w:
            s.write("b.md", prose(2))
            s.write("new/deep/c.md", prose(3))
            s.write("note.xyz", "another kind")
            w.shows("a.md", "b.md", "c.md")
            os.rename(s.path("new"), s.path("moved"))
            os.remove(s.path("b.md"))
            s.write("a.md", prose(4))
            s.write("moved/deep/d.md", prose(5))
            w.shows("a.md", "c.md", "d.md")
            cases.until(lambda: s.finds("name4"), 10, "the changed file")
            assert s.rows("SELECT path FROM document WHERE path LIKE ?",
                          "%/new/%") == []
            shutil.rmtree(s.path("moved"))
            w.shows("a.md")
        w.done.exits(0)
        assert w.done.data["failed"] == [], w.done
        s.check()


def case_a_link_that_comes_into_a_watched_folder_is_not_followed():
    with site() as s:
        secret = write(os.path.join(s.at, "secret", "s.md"), prose(7))
        s.write("a.md", prose(1))
        with Watching(s) as w:
            os.symlink(os.path.dirname(secret), s.path("folder"))
            os.symlink(secret, s.path("out.md"))
            os.symlink(s.path("a.md"), s.path("inside.md"))
            s.write("b.md", prose(2))
            w.shows("a.md", "b.md")
        assert w.done.exits(0).data["links"] == 1, w.done
        s.check()


def case_a_full_disk_is_waited_for_while_a_folder_is_watched():
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    small = (500_000, whole[1])
    for at_first in (True, False):
        with site() as s, open(os.path.join(s.at, "log"), "w+b") as log:
            s.write("a.md", prose(0))
            s.add().exits(0)
            def write_all(s=s):
                for i in range(12):
                    s.write(f"n{i:02}.md", prose(i, 4000))

            if at_first:
                write_all()
                resource.setrlimit(resource.RLIMIT_FSIZE, small)
            try:
                watch = begin("tacit", "add", s.docs, "--watch", "--home",
                              s.home, log=log)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, whole)

            def said(text, log=log):
                with open(log.name, "rb") as f:
                    return text in f.read()

            if not at_first:
                cases.until(lambda said=said: said(b"watching"), 60, "a round")
                resource.prlimit(watch.pid, resource.RLIMIT_FSIZE, small)
                write_all()
            cases.until(lambda said=said: said(b"E0102"), 60, "a full disk")
            kept = s.listed()
            assert "a.md" in kept and len(kept) < 13, kept
            resource.prlimit(watch.pid, resource.RLIMIT_FSIZE, whole)
            cases.until(lambda s=s: s.indexed() == 13, 120, "no going on")
            cases.until(lambda said=said: said(b"room again"), 60, "no word")
            finish(watch, signal.SIGINT).exits(0)
            with open(log.name, "rb") as f:
                assert f.read().count(b"E0102") == 2  # and its explanation
            s.check()


def case_a_watched_folder_that_is_unplugged_keeps_its_documents():
    with site() as s:
        s.write("a.md", prose(1))
        with Watching(s) as w:
            os.rename(s.docs, s.docs + ".gone")
            time.sleep(1.5)
            assert s.listed() == {"a.md"}
            os.rename(s.docs + ".gone", s.docs)
            s.write("b.md", prose(2))
            w.shows("a.md", "b.md")
            s.write("a.md", prose(3))  # noted, and not looked at yet
            os.rename(s.docs, s.docs + ".gone")
            time.sleep(3)
            assert s.listed() == {"a.md", "b.md"}
            os.remove(s.docs + ".gone/b.md")
            os.rename(s.docs + ".gone", s.docs)
            w.shows("a.md")
            cases.until(lambda: s.finds("name3"), 10, "the changed file")
        w.done.exits(0)
        assert [n["note"].split(",")[0] for n in w.done.data["notes"]] == \
            ["away", "back"] * 2, w.done


def unmounted_folder(at):
    s = Site(at)

    def plug_in():
        mount_disk(s.docs)

    def unplug():
        subprocess.run(["umount", s.docs], check=True)
    plug_in()
    s.write("a.md", prose(1))
    s.add().exits(0)
    unplug()
    done = s.run("add", s.docs).exits(0).says("away", "are kept")
    done.prints("0 removed")
    assert s.listed() == {"a.md"}
    done = s.run("ls", "--folders").exits(0).says("away", "are kept")
    assert done.out.splitlines() == [os.path.realpath(s.docs)], done
    with Watching(s) as w:  # away at its beginning, and its place is empty
        plug_in()
        s.write("b.md", prose(2))
        w.shows("b.md")
        s.write("b.md", prose(3))
        unplug()
        time.sleep(3)
        assert s.listed() == {"b.md"}
        plug_in()
        s.write("c.md", prose(4))
        w.shows("c.md")
    w.done.exits(0)
    os.remove(s.path("c.md"))  # emptied where it was read: no disk is missing
    assert s.add().exits(0).data["removed"] == 1


def case_a_folder_whose_disk_is_unmounted_keeps_its_documents():
    cases.in_namespace(__file__, "unmounted_folder")


def disk_inside(at):
    s = Site(at)
    place = s.path("disk")

    def plug_in():
        mount_disk(place)
    os.makedirs(place)
    s.write("a.md", prose(1))
    plug_in()
    s.write("disk/b.md", prose(2))
    os.makedirs(os.path.join(place, "deep"))
    s.write("disk/deep/c.md", prose(3))
    s.add().exits(0)
    subprocess.run(["umount", place], check=True)
    done = s.run("add", s.docs).exits(0).says("away", "are kept")
    done.prints("0 removed")
    assert len(s.rows("SELECT 1 FROM document")) == 3
    os.remove(s.path("a.md"))  # what lies on the folder's own disk still goes
    assert s.add().exits(0).data["removed"] == 1
    plug_in()
    s.write("disk/b.md", prose(2))  # there again, and a file of it deleted
    assert s.add().exits(0).data["removed"] == 1
    s.run("rm", s.docs).exits(0)
    assert s.rows("SELECT 1 FROM document UNION ALL SELECT 1 FROM folder") == []


def case_a_disk_inside_a_folder_keeps_its_documents_when_it_is_unmounted():
    cases.in_namespace(__file__, "disk_inside")


def case_a_system_that_lets_few_folders_be_watched_is_named():
    if subprocess.run(["unshare", "-r", "sh", "-c",
                       "echo 2 >/proc/sys/user/max_inotify_watches"],
                      stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skip("the system's limit cannot be set here")
    with site() as s:
        for n in range(4):
            s.write(f"{n}/a.md", prose(n))
        p = subprocess.Popen(
            ["unshare", "-r", "sh", "-c",
             "echo 2 >/proc/sys/user/max_inotify_watches; exec \"$@\"", "-",
             os.path.join(os.path.abspath(cases.BIN), "tacit"), "add",
             "--watch", s.docs, "--home", s.home],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL)
        cases.until(lambda: len(s.rows("SELECT 1 FROM document")) == 4, 10,
                    "the first round")
        done = finish(p, signal.SIGINT).exits(0)
        done.says("E0216", "fs.inotify.max_user_watches", "2 are watched")


def docx(path, n):
    """A document of n paragraphs, which takes a while to read."""
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = "".join(f"<w:p><w:r><w:t>ward {i % 97}</w:t></w:r></w:p>"
                   for i in range(n))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("word/document.xml", f'<w:document xmlns:w="{space}">'
                   f"<w:body>{body}</w:body></w:document>")


def case_a_file_that_is_being_written_is_tried_again():
    with site() as s:
        docx(s.path("busy.docx"), 60000)

        def add(seconds):
            p = s.begin("add", s.docs, "--json")
            end = time.monotonic() + seconds
            while time.monotonic() < end and p.poll() is None:
                os.utime(s.path("busy.docx"))
                time.sleep(0.005)
            return finish(p)
        done = add(30).exits(1)
        assert done.code == "TACIT-E0215", done
        done = add(1).exits(0)
        assert done.data["added"] == 1, done


def case_folders_are_remembered_and_forgotten():
    with site() as s:
        path = s.write("a.md", prose(1))
        s.run("add", path, "--watch").exits(4).says("only folders")
        s.add(path).exits(0)
        assert s.run("ls", "--folders", "--json").data["folders"] == []
        s.add().exits(0)
        s.add().exits(0)
        assert s.run("ls", "--folders", "--json").data["folders"] == \
            [os.path.realpath(s.docs)]
        done = s.run("rm", s.docs, "--json").exits(0)
        assert done.data == {"removed": 1, "folders": 1}, done
        assert s.run("ls", "--folders", "--json").data["folders"] == []


def case_what_another_version_made_is_read_again():
    with site() as s:
        for n in range(3):
            s.write(f"{n}.md", prose(n))
        s.add().exits(0)
        with cases.store_to_change(s.home) as db:
            db.execute("UPDATE document SET made_by = 0 WHERE path NOT LIKE ?",
                       ["%/2.md"])
        done = s.run("doctor").exits(1)
        assert "2 documents" in done.out and "reindex" in done.out, done
        os.remove(s.path("1.md"))
        done = s.run("reindex", "--json").exits(1)
        assert done.data["replaced"] == 1, done
        assert failures(done) == {"1.md": "TACIT-E0201"}, done
        s.run("rm", s.path("1.md")).exits(0)
        assert s.run("reindex", "--json").exits(0).data["replaced"] == 0
        s.check()


def case_one_of_a_kind_is_said_as_one():
    with site() as s:
        s.write("0.md", prose(0))
        with cases.folder() as empty:
            s.run("add", empty).exits(0).prints("; 0 passages\n")
        s.run("add", s.docs).exits(0).prints("1 added, ", "; 1 passage\n")
        s.run("status").exits(0).prints("documents    1 (1 passage)\n",
                                        "0 masked updates")
        s.run("search", "name0", "--explain").exits(0).prints(
            "1 passage holds one; 1 candidate, fused")
        with cases.store_to_change(s.home) as db:
            db.execute("UPDATE document SET made_by = 0")
        s.run("doctor").exits(1).prints(
            "1 document was indexed by another version: `tacit reindex` reads "
            "it again")
        s.run("reindex").exits(0)
        for n in (1, 2):
            s.write(f"{n}.md", f"The word of this note is name{n}.\n")
        s.run("add", s.docs).exits(0).prints("; 3 passages\n")
        s.run("status").exits(0).prints("documents    3 (3 passages)\n")
        rows = write(os.path.join(s.at, "asked.csv"),
                     "question,document\nname1,1.md\n")
        s.run("eval", "answers", rows).exits(0).prints(
            "1 question, 1 answerable")


def case_vectors_of_another_encoder_are_made_again_and_that_can_go_on():
    with site() as s:
        for n in range(60):
            s.write(f"{n:02}.md", prose(n, 600))
        s.add().exits(0)
        with cases.store_to_change(s.home) as db:
            db.execute("UPDATE document SET enc_version = 'another'")
        # Meanwhile words find, and doctor offers the way on.
        found = s.run("search", "name7", "--json").exits(0).data
        assert found["hits"][0]["path"].endswith("/07.md"), found
        assert found["hits"][0]["rank_vectors"] == 0, found
        done = s.run("doctor").exits(1)
        assert "60 documents" in done.out and "reindex" in done.out, done

        def old():
            return s.rows("SELECT count(*) FROM document"
                          " WHERE enc_version = 'another'")[0][0]
        p = s.begin("reindex", "--json")
        cases.until(lambda: old() < 60 or p.poll() is not None, 20,
                    "the first documents")
        finish(p, signal.SIGKILL)
        left = old()
        done = s.run("reindex", "--json").exits(0)
        assert done.data["replaced"] == left, (done, left)
        assert old() == 0
        found = s.run("search", "name7", "--json").exits(0).data
        assert found["hits"][0]["rank_vectors"] > 0, found
        assert s.run("reindex", "--json").exits(0).data["replaced"] == 0
        s.check()


def case_equal_passages_are_one_hit_until_the_shown_one_is_gone():
    with site() as s:
        text = "# Warfarin\n\nStart with 5 mg in the evening.\n"
        s.write("a.md", text)
        s.write("b.md", text.replace("with 5", "with\n5"))
        s.write("c.md", text.replace("5 mg", "50 mg"))
        s.write("d.md", text.replace("Warfarin", "Heparin"))
        s.add().exits(0)

        def hits(*more):
            found = s.run("search", "start in the evening", "--json", *more)
            return {os.path.basename(h["path"]):
                    [os.path.basename(p) for p in h["also_in"]]
                    for h in found.exits(0).data["hits"]}
        assert hits() == {"a.md": ["b.md"], "c.md": [], "d.md": []}, hits()
        assert hits("--in", "*b.md") == {"b.md": []}
        s.run("rm", s.path("a.md")).exits(0)
        assert hits() == {"b.md": [], "c.md": [], "d.md": []}, hits()


def case_questions_are_answered_while_documents_are_added():
    with site() as s:
        for n in range(400):
            s.write(f"{n:03}.md", prose(n, 2000))
        p = s.begin("add", s.docs, "--json")
        cases.until(s.listed, 20, "the first documents")
        n_during = 0
        while p.poll() is None:
            seen = len(s.listed())
            done = s.run("search", "name0", "--json").exits(0)
            assert done.data["hits"][0]["path"].endswith("/000.md"), done
            s.run("ask", "What is the word of note name0?",
                  "--json").exits(0)
            n_during += seen < 400
        done = finish(p).exits(0)
        assert done.data["added"] == 400, done
        assert n_during, "the addition was over before a question"
        s.check()


def case_the_daemon_keeps_remembered_folders_up_to_date():
    with Federation() as f:
        f.start_coordinator()
        device = f.add_device("one")
        docs = f.path("docs")

        def listed():
            documents = device.json("ls")["documents"]
            return {os.path.basename(d["path"]) for d in documents}
        write(os.path.join(docs, "a.md"), prose(1))
        device.run("add", docs)
        write(os.path.join(docs, "b.md"), prose(2))
        device.start()
        cases.until(lambda: listed() == {"a.md", "b.md"}, 15, "the start")
        write(os.path.join(docs, "deep", "c.md"), prose(3))
        write(os.path.join(docs, "bad.md"), b"text\0more")
        os.remove(os.path.join(docs, "a.md"))
        cases.until(lambda: listed() == {"b.md", "c.md"}, 15, "the change")
        cases.until(lambda: "E0206" in device.tail(), 15, "the bad file")
        other = f.path("other")
        write(os.path.join(other, "d.md"), prose(4))
        secret = write(f.path("secret.md"), prose(8))
        os.symlink(secret, os.path.join(docs, "out.md"))
        cases.until(lambda: "link_not_followed" in device.tail(), 15, "a link")
        os.symlink(secret, os.path.join(other, "all.md"))
        device.run("add", other, "--follow")
        assert "secret.md" in listed(), listed()
        device.run("rm", secret)
        os.utime(os.path.join(other, "all.md"), follow_symlinks=False)
        write(os.path.join(other, "e.md"), prose(5))
        cases.until(lambda: "secret.md" in listed(), 20, "a link that is read")
        cases.until(lambda: "e.md" in listed(), 20, "the second folder")
        device.run("rm", docs)
        time.sleep(6)  # until the daemon has looked at its folders again
        write(os.path.join(docs, "f.md"), prose(6))
        write(os.path.join(other, "g.md"), prose(7))
        cases.until(lambda: "g.md" in listed(), 15, "the folder that is left")
        assert listed() == {"d.md", "e.md", "g.md", "secret.md"}, listed()
        write(os.path.join(other, "g.md"), prose(9))
        os.rename(other, other + ".gone")
        cases.until(lambda: "folder_away" in device.tail(), 15, "a disk away")
        time.sleep(3)
        assert listed() == {"d.md", "e.md", "g.md", "secret.md"}, listed()
        os.rename(other + ".gone", other)
        cases.until(lambda: "folder_back" in device.tail(), 15, "a disk back")
        write(os.path.join(other, "h.md"), prose(10))
        cases.until(lambda: "h.md" in listed(), 15, "going on")
        device.process.stop(signal.SIGTERM)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        globals()[sys.argv[2]](sys.argv[3])
    else:
        cases.run(globals())
