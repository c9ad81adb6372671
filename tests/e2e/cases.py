"""Named cases for an end-to-end test: run(globals()) runs every case_* function
in the order of the file, each with a line of its own, and exits with 1 when one
failed, 77 when every one was skipped.

    def case_a_missing_file_has_a_name(): …
    if __name__ == "__main__":
        cases.run(globals())

TACIT_CASE=word runs only the cases whose name holds the word.
"""
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(__file__))
from federation import BIN, patience  # noqa: E402

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


class Skip(Exception):
    """What this machine lacks, in one line."""


def run(names):
    only = os.environ.get("TACIT_CASE", "")
    failed = passed = 0
    for name, case in list(names.items()):
        if not name.startswith("case_") or only not in name:
            continue
        title, start = name[5:].replace("_", " "), time.monotonic()
        try:
            case()
        except Skip as why:
            print(f"SKIPPED  ] {title}: {why}", flush=True)
            continue
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED   {title}\n{traceback.format_exc()}", flush=True)
            continue
        passed += 1
        print(f"ok {time.monotonic() - start:6.2f} s  {title}", flush=True)
    sys.exit(1 if failed else 0 if passed else 77)


class Done:
    """What a command left behind."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def __str__(self):
        return (f"{' '.join(map(str, self.argv))}: exit {self.status}\n"
                f"--- stdout\n{self.out}--- stderr\n{self.err}")

    def exits(self, status):
        assert self.status == status, f"wanted exit {status}: {self}"
        return self

    def says(self, *words):
        """Each word stands on stderr."""
        for word in words:
            assert word in self.err, f"wanted {word!r} on stderr: {self}"
        return self

    def prints(self, *words):
        for word in words:
            assert word in self.out, f"wanted {word!r} on stdout: {self}"
        return self

    def envelope(self):
        """The one JSON envelope that stdout holds, and nothing else."""
        try:
            e = json.loads(self.out)
        except ValueError as fault:
            raise AssertionError(f"no envelope ({fault}): {self}") from None
        assert e["schema_version"] == 1, e
        assert e["status"] in ("ok", "error"), e
        body = {"ok": "data", "error": "error"}[e["status"]]
        assert set(e) == {"schema_version", "status", body}, e
        return e

    @property
    def data(self):
        e = self.envelope()
        assert e["status"] == "ok", self
        return e["data"]

    @property
    def code(self):
        e = self.envelope()
        assert e["status"] == "error", self
        assert set(e["error"]) == {"code", "message", "help"}, e
        return e["error"]["code"]


def call(program, *words, env=None, stdin=None, timeout=180, cwd=None,
         preexec=None):
    argv = [os.path.join(os.path.abspath(BIN), program), *map(str, words)]
    done = subprocess.run(argv, input=stdin, timeout=patience(timeout), cwd=cwd,
                          stdin=subprocess.DEVNULL if stdin is None else None,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=preexec, env={**os.environ, **(env or {})})
    return Done(argv, done.returncode, done.stdout.decode("utf-8"),
                done.stderr.decode("utf-8", "replace"))


def tacit(*words, **how):
    return call("tacit", *words, **how)


def lead(*words, **how):
    return call("tacit-coordinator", *words, **how)


def sim(*words, **how):
    return call("tacit-sim", *words, **how)


@contextlib.contextmanager
def store(home):
    """A connection to what a home's store holds now: to a copy that is not
    sealed. The home stays as it is, its log as well."""
    with tempfile.TemporaryDirectory() as at:
        for name in ("tacit.db", "tacit.db-wal", "seal", "store.key", "keys"):
            path = os.path.join(home, name)
            if os.path.exists(path):
                shutil.copy(path, at)
        if os.path.exists(os.path.join(at, "seal")):
            tacit("key", "none", "--home", at).exits(0)
        with contextlib.closing(
                sqlite3.connect(os.path.join(at, "tacit.db"))) as db:
            yield db


@contextlib.contextmanager
def store_to_change(home):
    """The same of the home itself, which nobody else may use."""
    tacit("key", "none", "--home", home).exits(0)
    with contextlib.closing(
            sqlite3.connect(os.path.join(home, "tacit.db"))) as db:
        yield db
        db.commit()
    tacit("key", "file", "--home", home).exits(0)


def begin(program, *words, env=None, log=None):
    """A program that goes on; finish() it."""
    argv = [os.path.join(os.path.abspath(BIN), program), *map(str, words)]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=log or
                            subprocess.PIPE, env={**os.environ, **(env or {})})


def finish(popen, how=None, timeout=60):
    """Its Done, after a signal where one is given."""
    if how is not None and popen.poll() is None:
        popen.send_signal(how)
    try:
        out, err = popen.communicate(timeout=patience(timeout))
    except subprocess.TimeoutExpired:
        popen.send_signal(signal.SIGKILL)
        popen.communicate(timeout=10)
        raise
    return Done(popen.args, popen.returncode, out.decode("utf-8"),
                (err or b"").decode("utf-8", "replace"))


def catches(pid, how):
    """Whether the process has a handler for this signal, or is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            masks = [line.split()[1] for line in f if line[:7] == "SigCgt:"]
    except OSError:
        return True
    return not masks or int(masks[0], 16) >> (how - 1) & 1 == 1


def in_namespace(file, case):
    """Run a function of a test where it may mount: as root of its own."""
    if shutil.which("unshare") is None or subprocess.run(
            ["unshare", "-rm", "true"], stderr=subprocess.DEVNULL,
            check=False).returncode != 0:
        raise Skip("unshare -rm does not work here")
    with folder() as at:
        done = subprocess.run(
            ["unshare", "-rm", sys.executable, file, "--inside", case, at],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=180, check=False)
        if done.returncode == 77:
            raise Skip(done.stdout.strip())
        assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def folder():
    """A temporary folder that is gone afterwards."""
    path = tempfile.mkdtemp(prefix="tacit-e2e-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    mode = {} if isinstance(text, bytes) else {"encoding": "utf-8"}
    with open(path, "wb" if isinstance(text, bytes) else "w", **mode) as f:
        f.write(text)
    return path


def until(what, seconds, why):
    """Wait for what() to be true, at most so long (patience())."""
    seconds = patience(seconds)
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s: {why}")
        time.sleep(0.02)
