"""A whole federation on loopback, for end-to-end tests and benchmarks.

Real processes, real sockets: a coordinator and any number of devices, each
with its own home below one temporary folder. Everything is bounded in time and
ends with the `with` block; only processes started here are ended, by their id.

    with Federation() as f:
        f.start_coordinator()
        site = f.add_device("north", rows=CSV_TEXT)
        f.submit(PLAN_TEXT)
        site.start()
        f.wait_finished(60)
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BIN = os.environ.get("TACIT_BIN") or os.path.join(
    os.environ.get("TACIT_BUILD", "build/release"), "bin")


class CommandFailed(Exception):
    def __init__(self, argv, status, out, err):
        super().__init__(f"{' '.join(argv)}: exit {status}\n{out}{err}")
        self.status, self.out, self.err = status, out, err


def patience(seconds=0):
    """How long what may hang is waited for: on a busy machine all takes longer.
    What a test is about never depends on it."""
    return max(seconds, 180)


def command(argv, timeout=60, check=True):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL,
                          timeout=patience(timeout), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if check and done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stdout, done.stderr)
    return done


def free_port():
    """Below those that Linux gives to who dials: nobody takes it by chance
    before the coordinator does."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Process:
    """A program of ours that runs beside the test."""

    def __init__(self, argv, log):
        self.log = open(log, "ab")
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                      stdout=self.log, stderr=self.log)

    def alive(self):
        return self.popen.poll() is None

    def stop(self, how=signal.SIGTERM, timeout=20):
        if self.alive():
            self.popen.send_signal(how)
        try:
            status = self.popen.wait(patience(timeout))
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)
            raise
        self.log.close()
        return status


class Node:
    """What a device and the coordinator share: a home and a process."""
    program = ""

    def __init__(self, home):
        self.home, self.process = home, None
        self.log = home + ".log"

    def run(self, *words, check=True, timeout=60):
        argv = [os.path.join(BIN, self.program), *words, "--home", self.home]
        return command(argv, timeout=timeout, check=check)

    def json(self, *words, timeout=60):
        out = self.run(*words, "--json", timeout=timeout).stdout
        return json.loads(out)["data"]

    def start(self, *words):
        argv = [os.path.join(BIN, self.program), "run", *words, "--home",
                self.home]
        self.process = Process(argv, self.log)
        return self.process

    def kill(self):
        """kill -9, as a power cut would."""
        self.process.stop(signal.SIGKILL)

    def tail(self, n=30):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-n:])
        except OSError:
            return ""


class Device(Node):
    program = "tacit"


class Coordinator(Node):
    program = "tacit-coordinator"


class Federation:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tacit-e2e-")
        self.port = free_port()
        self.coordinator = Coordinator(os.path.join(self.folder, "coordinator"))
        self.devices = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for node in [self.coordinator, *self.devices.values()]:
                print(f"--- {node.log}\n{node.tail()}", flush=True)
        for node in [*self.devices.values(), self.coordinator]:
            if node.process and node.process.alive():
                node.process.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def init_coordinator(self):
        self.coordinator.run("init", "--name", "trial",
                             "--listen", f"tcp://127.0.0.1:{self.port}",
                             "--address", f"127.0.0.1:{self.port}")

    def start_coordinator(self):
        if not os.path.exists(self.coordinator.home):
            self.init_coordinator()
        self.coordinator.start()
        self.wait_listening()

    def wait_listening(self):
        end = time.monotonic() + patience()
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise TimeoutError("the coordinator does not listen")

    def add_device(self, name, policy="", data=None):
        """A device that has joined and is approved. data: {source: path}."""
        device = Device(self.path(name))
        device.run("init")
        lines = "".join(f"  - {{source: {k}, file: {v}}}\n"
                        for k, v in (data or {}).items())
        with open(os.path.join(device.home, "policy.yaml"), "w",
                  encoding="utf-8") as f:
            f.write(policy or "tasks: [classify, regress, retriever]\n"
                    "min_cohort: 2\nclip_max: 100\n"
                    "budget: {updates: 100000, updates_per_day: 100000}\n"
                    + (f"data:\n{lines}" if lines else ""))
        invite = self.coordinator.json("invite", name, "--approve")
        device.run("join", invite["invites"][0]["link"])
        self.devices[name] = device
        return device

    def submit(self, plan_text, name="plan.yaml"):
        path = self.write(name, plan_text)
        self.coordinator.run("plan", "submit", path)
        return path

    def rounds(self):
        return self.coordinator.json("rounds")["rounds"]

    def committed(self):
        return [r for r in self.rounds() if r["state"] == "committed"]

    def wait_committed(self, n, timeout):
        timeout = patience(timeout)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if len(self.committed()) >= n:
                return
            time.sleep(0.05)
        raise TimeoutError(
            f"{len(self.committed())} of {n} rounds after {timeout} s")
