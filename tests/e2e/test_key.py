#!/usr/bin/env python3
# variants: asan
"""The store's key: where it is kept, what happens without it, and that nothing
of the documents stands in the home's files in the open.
"""
import glob
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, folder, tacit, write  # noqa: E402

TEXT = ("# Quokkaberries\n\nThe Zyzzyvafluence of patient Xanthippos4711 is "
        "treated with quokkaberries every morning.\n")
# Whole words, parts of them, and what the word index makes of them.
CANARIES = (b"Quokkaberries", b"quokkaberri", b"kkaberri", b"Zyzzyva",
            b"zyzzyvaf", b"Xanthipp", b"xanthipp", b"CREATE TABLE", b"SQLite")
SECRET_TOOL = """#!/usr/bin/env python3
import json, os, sys
path = os.path.join(os.path.dirname(__file__), "keyring.json")
kept = json.load(open(path)) if os.path.exists(path) else {}
verb, name = sys.argv[1], " ".join(sys.argv[-4:])
if os.path.exists(path + ".hangs"):
    import time; time.sleep(1000)
if verb == "store":
    kept[name] = sys.stdin.read()
elif verb == "lookup":
    if name not in kept:
        sys.exit(1)
    print(kept[name], end="")
elif verb == "clear":
    kept.pop(name, None)
json.dump(kept, open(path, "w"))
"""


class Home:
    def __init__(self, at, key=None, **how):
        self.at, self.home = at, os.path.join(at, "home")
        self.doc = write(os.path.join(at, "docs/a.md"), TEXT)
        self.run("init", *(["--key", key] if key else []), **how).exits(0)

    def run(self, *words, **how):
        return tacit(*words, "--home", self.home, **how)

    def add(self, **how):
        self.run("add", os.path.dirname(self.doc), **how).exits(0)
        return self

    def finds(self, **how):
        self.run("search", "quokkaberry", **how).exits(0).prints("a.md")

    def shows(self):
        """Whether any file of the home holds one of the words."""
        found = []
        for path in glob.glob(self.home + "/**", recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as f:
                    data = f.read()
                found += [(path, c) for c in CANARIES if c in data]
        return found

    def file(self, name):
        return os.path.join(self.home, name)


def passphrase(at, text, name="passphrase"):
    path = write(os.path.join(at, name), text + "\n")
    os.chmod(path, 0o600)
    return path


def case_no_file_of_the_home_shows_a_word():
    with folder() as at:
        h = Home(at).add()
        h.finds()
        h.run("ask", "What is Zyzzyvafluence treated with?").exits(0)
        h.run("feedback", "1", "good").exits(0)
        h.finds()
        assert h.shows() == [], h.shows()
        # While a program is at work and its log is full.
        for i in range(1500):
            write(os.path.join(at, f"docs/b{i}.md"), TEXT * 40 + str(i))
        p = begin("tacit", "add", os.path.dirname(h.doc), "--home", h.home)
        cases.until(lambda: os.path.exists(h.file("tacit.db-wal")) and
                    os.path.getsize(h.file("tacit.db-wal")) > 100000 or
                    p.poll() is not None, 30, "a log")
        p.send_signal(signal.SIGSTOP)  # still at work, however fast it is
        assert h.shows() == [], h.shows()
        assert finish(p, signal.SIGKILL).status == -signal.SIGKILL
        assert os.path.getsize(h.file("tacit.db-wal")) > 0
        assert h.shows() == [], h.shows()
        h.add()
        assert h.shows() == [], h.shows()
        h.run("key").exits(0).prints("sealed; key file store.key")
        h.run("doctor").exits(0).prints("seal", "whoever copies the whole home")
        assert h.run("status", "--json").data["store_sealed"] is True
        for name in ("seal", "store.key", "tacit.db"):
            assert os.stat(h.file(name)).st_mode & 0o777 == 0o600, name


def case_only_who_says_so_has_a_plain_store():
    with folder() as at:
        h = Home(at, "none").add()
        h.finds()
        assert h.shows()
        assert not os.path.exists(h.file("seal"))
        h.run("key").exits(0).prints("not sealed")
        h.run("doctor").exits(0).prints("not sealed", "tacit key file")
    with folder() as at:
        h = Home(at, env={"TACIT_KEY": "none"}).add()
        assert h.shows()
    with folder() as at:
        tacit("init", "--home", at + "/h", "--key", "nowhere").exits(4) \
            .says("keyring", "passphrase", "E0013")
        assert not os.path.exists(at + "/h/keys")


def case_a_key_on_another_medium_is_needed_to_read():
    with folder() as at:
        os.makedirs(at + "/stick")
        h = Home(at, f"file:{at}/stick/key").add()
        assert not os.path.exists(h.file("store.key"))
        h.finds()
        os.rename(at + "/stick", at + "/pocket")
        for words in (["ls"], ["search", "x"], ["add", h.doc], ["status"],
                      ["run", "--once"], ["doctor"]):
            h.run(*words).exits(1).says("E0110", at + "/stick/key")
        os.rename(at + "/pocket", at + "/stick")
        h.finds()
        os.chmod(at + "/stick/key", 0o644)
        h.run("ls").exits(1).says("E0402", "chmod 600")
        os.chmod(at + "/stick/key", 0o600)
        # Another store's key is not this one's.
        other = Home(os.path.join(at, "2"))
        os.replace(other.file("store.key"), at + "/stick/key")
        h.run("ls").exits(1).says("E0109", at + "/stick/key")
        write(at + "/stick/key", "x" * 72)
        os.chmod(at + "/stick/key", 0o600)
        h.run("ls").exits(1).says("E0109", "not the key file")


def case_a_passphrase_opens_and_another_does_not():
    with folder() as at:
        right = passphrase(at, "four words and more")
        wrong = passphrase(at, "four words and less", "wrong")
        short = passphrase(at, "short", "short")
        tacit("init", "--home", at + "/s", "--key", "passphrase",
              "--passphrase", short).exits(1).says("at least 8")
        h = Home(at, "passphrase", env={"TACIT_PASSPHRASE_FILE": right})
        h.add(env={"TACIT_PASSPHRASE_FILE": right})
        h.finds(env={"TACIT_PASSPHRASE_FILE": right})
        h.run("ls", "--passphrase", "file:" + right).exits(0)
        h.run("ls", "--passphrase", "-",
              stdin=b"four words and more\n").exits(0)
        h.run("ls", "--passphrase", wrong).exits(1).says("E0109")
        h.run("ls", "--passphrase", "-", stdin=b"").exits(1).says("E0110")
        h.run("ls", preexec=os.setsid).exits(1).says("E0110", "--passphrase")
        os.chmod(right, 0o640)
        h.run("ls", "--passphrase", right).exits(1).says("E0402")
        assert h.shows() == [], h.shows()


def case_the_key_moves_and_the_store_stays():
    with folder() as at:
        h = Home(at).add()
        with open(h.file("tacit.db"), "rb") as f:
            before = f.read()
        a = passphrase(at, "the first of two")
        b = passphrase(at, "the other", "b")
        h.run("key", "passphrase", "--new-passphrase", a).exits(0)
        assert not os.path.exists(h.file("store.key"))
        h.run("key", "passphrase", "--passphrase", b, "--new-passphrase",
              a).exits(1).says("E0109")
        h.run("key", "passphrase", "--passphrase", a, "--new-passphrase",
              b).exits(0)
        h.finds(env={"TACIT_PASSPHRASE_FILE": b})
        h.run("ls", "--passphrase", a).exits(1)
        h.run("key", f"file:{at}/key", "--passphrase", b).exits(0)
        h.run("key", f"file:{at}/key").exits(1).says("already")
        h.finds()
        with open(h.file("tacit.db"), "rb") as f:
            assert f.read() == before, "the store was written"


def case_the_keyring_keeps_a_key():
    with folder() as at:
        h = Home(at).add()
        h.run("key", "keyring", env={"PATH": "/nowhere"}).exits(1) \
            .says("E0111", "libsecret-tools")
        h.finds()  # nothing has changed
        tool = write(os.path.join(at, "bin/secret-tool"), SECRET_TOOL)
        os.chmod(tool, 0o700)
        env = {"PATH": os.path.dirname(tool) + ":" + os.environ["PATH"]}
        h.run("key", "keyring", env=env).exits(0).prints("sealed; keyring")
        assert not os.path.exists(h.file("store.key"))
        h.finds(env=env)
        h.run("key", "keyring", env=env).exits(1).says("already")
        with open(os.path.join(at, "bin/keyring.json"), "r+",
                  encoding="ascii") as f:
            kept = f.read()
            f.truncate(0)
            f.seek(0)
            f.write("{}")
        h.run("ls", env=env).exits(1).says("E0110", "keyring")
        write(os.path.join(at, "bin/keyring.json"), kept)
        h.run("key", "file", env=env).exits(0)
        h.finds()
        with open(os.path.join(at, "bin/keyring.json"),
                  encoding="ascii") as f:
            assert f.read() == "{}", "the keyring still has the key"


def case_a_lost_or_damaged_slot_is_said():
    with folder() as at:
        h = Home(at).add()
        with open(h.file("seal"), "rb") as f:
            seal = f.read()
        for i in range(0, len(seal), 3):
            bad = bytearray(seal)
            bad[i] ^= 1
            with open(h.file("seal"), "wb") as f:
                f.write(bad)
            done = h.run("ls").exits(1)
            assert "E0108" in done.err, done
        os.unlink(h.file("seal"))
        h.run("ls").exits(1).says("E0110", "seal")
        with open(h.file("seal"), "wb") as f:
            f.write(seal)
        h.finds()


def case_a_plain_store_in_place_of_a_sealed_one_is_refused():
    with folder() as at:
        h = Home(at).add()
        other = Home(os.path.join(at, "2"), "none").add()
        os.replace(other.file("tacit.db"), h.file("tacit.db"))
        h.run("ls").exits(1).says("E0108", "not sealed")
        h.run("add", h.doc).exits(1).says("E0108")
        h.run("key", "file").exits(1).says("E0108")


def case_stores_are_sealed_and_unsealed_whatever_happens():
    """Killed at any moment of a change, the home opens and has its rows."""
    r = random.Random(5)
    with folder() as at:
        h = Home(at, "none")
        for i in range(30):
            write(os.path.join(at, f"docs/b{i}.md"), TEXT * 30 + str(i))
        h.add()
        n_documents = h.run("status", "--json").data["documents"]
        n_changed = n_killed = 0
        begun = time.monotonic()
        h.run("key", "file").exits(0)
        takes = time.monotonic() - begun
        while n_killed < 20 or n_changed < 4:
            was = h.run("key", "--json").exits(0).data["sealed"]
            p = begin("tacit", "key", "none" if was else "file", "--home",
                      h.home)
            time.sleep(r.uniform(0, 1.5 * takes))
            status = finish(p, signal.SIGKILL).status
            assert status in (0, -signal.SIGKILL), status
            n_killed += status != 0
            done = h.run("status", "--json").exits(0).data
            assert done["documents"] == n_documents
            n_changed += done["store_sealed"] != was
            h.finds()
        print(f"  {n_killed} kills, {n_changed} changes")
        h.run("doctor").exits(0)
        if not h.run("key", "--json").data["sealed"]:
            h.run("key", "file").exits(0)
        assert h.shows() == [], h.shows()
        h.run("key", "none").exits(0)
        assert h.shows()
        h.run("key", "none").exits(1).says("not sealed")
        for name in ("seal", "seal.new", "store.key", "tacit.db.new"):
            assert not os.path.exists(h.file(name)), name


def case_the_plain_copy_of_a_killed_change_goes_with_the_next_command():
    with folder() as at:
        h = Home(at).add()
        for name in ("tacit.db.new", "tacit.db.new-journal"):
            write(h.file(name), TEXT)
        assert h.shows()
        h.run("status").exits(0)
        assert h.shows() == [], h.shows()


def case_nobody_else_works_on_a_home_while_it_changes():
    with folder() as at:
        h = Home(at).add()
        write(os.path.join(at, "docs/long.md"), TEXT * 20000)
        p = begin("tacit", "add", os.path.dirname(h.doc), "--home", h.home)
        cases.until(lambda: os.path.exists(h.file("tacit.db-wal")) or
                    p.poll() is not None, 30, "an add at work")
        h.run("key", "none").exits(1).says("E0103", "another")
        finish(p, signal.SIGINT)
        h.run("key", "none").exits(0)
        h.finds()


def full_disk(at):
    home = os.path.join(at, "home")
    os.makedirs(home)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none",
                       home], check=False).returncode:
        print("no tmpfs may be mounted here")
        sys.exit(77)
    h = Home(at, "none")
    for i in range(8):
        write(os.path.join(at, f"docs/b{i}.md"),
              " ".join(f"word{i}x{k}" for k in range(4000)))
    h.add()
    v = os.statvfs(home)
    used = (v.f_blocks - v.f_bfree) * v.f_frsize
    assert used > 600_000
    subprocess.run(["mount", "-o", f"remount,size={used + 300_000}", home],
                   check=True)
    h.run("key", "file").exits(1).says("E0102")
    assert not os.path.exists(h.file("tacit.db.new"))
    h.finds()
    subprocess.run(["mount", "-o", "remount,size=60m", home], check=True)
    h.run("key", "file").exits(0)
    h.finds()
    assert h.shows() == [], h.shows()


def case_a_full_disk_leaves_the_store_as_it_was():
    cases.in_namespace(__file__, "full_disk")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        globals()[sys.argv[2]](sys.argv[3])
    else:
        cases.run(globals())
