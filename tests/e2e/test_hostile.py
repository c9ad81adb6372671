#!/usr/bin/env python3
"""Hostile peers at a real coordinator's port, and a hostile path between it and
a device.

    device ── proxy that repeats, drops, cuts, flips, delays ── coordinator
                              garbage, floods, replays, silence ──┘

Whatever they do: the coordinator stays up within a bound of memory, rounds of
three honest devices are committed meanwhile, members and ledgers are as they
should be. False coordinators are in test_false.py.

    TACIT_SEED=n python3 tests/e2e/test_hostile.py
"""
# variants: asan
import contextlib
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, tacit, until  # noqa: E402
from federation import Federation, Process  # noqa: E402

SEED = int(os.environ.get("TACIT_SEED", str(random.randrange(1 << 32))))
REQ = b"\0SP\0\0\x30\0\0"
REP = b"\0SP\0\0\x31\0\0"
FRAME_MAX = 4 * 4 + (256 << 10) + 4096 + 1024  # common/wire/limits.h, frame.h
SMALL = 4096  # what who has shown no key may send at once
HELLO, HELLO_OK, FINISH, FINISH_OK, DATA, RESET = range(1, 7)
MIB_MORE = 64  # what hostile peers may cost
PLAN = """name: {}
task: classify
model: {{kind: mlp, hidden: [64]}}
data:
  source: patients
  label: y
  columns: [{{name: a}}, {{name: b}}]
  standardise: none
rounds: {}
cohort: {{size: 3, min_reports: 2, over_select: 1.0}}
local: {{steps: 5, batch: 4}}
clip: 5
deadline: {{stage: 700ms, train: 2s}}
"""
ROWS = "a,b,y\n" + "".join(
    f"{i % 7 - 3},{i % 5 - 2},{int(i % 7 + i % 5 > 5)}\n" for i in range(40))


# ---- frames ---------------------------------------------------------------

def frame(packet, request=0x80000001):
    return struct.pack(">QI", 4 + len(packet), request) + packet


def read_exactly(s, n):
    got = b""
    while len(got) < n:
        more = s.recv(n - len(got))
        if not more:
            raise ConnectionError("closed")
        got += more
    return got


def read_frame(s):
    """Length, path and packet of one frame, as they came."""
    head = read_exactly(s, 8)
    n = struct.unpack(">Q", head)[0]
    if n > FRAME_MAX:
        raise ConnectionError("no frame")
    return head + read_exactly(s, n)


@contextlib.contextmanager
def dialled(f, greeting=REQ, timeout=3):
    s = socket.create_connection(("127.0.0.1", f.port), timeout)
    s.settimeout(timeout)
    try:
        s.sendall(greeting)
        yield s
    finally:
        s.close()


def reset_reason(reply):
    """The reason of a RESET, or None."""
    return reply[13] if len(reply) == 14 and reply[12] == RESET else None


# ---- the proxy ------------------------------------------------------------

class Proxy:
    """A path to the coordinator on which trick(way, frame, n) says what becomes
    of each frame: a list of byte strings to send on, or None to cut the
    connection. way is ">" towards the coordinator; n counts its frames."""

    def __init__(self, port, trick):
        self.port_there, self.trick = port, trick
        self.frames = []  # everything that went by: (way, bytes)
        self.n = {">": 0, "<": 0}
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.port_there))
            except OSError:
                return
            self.open += [near, far]
            for a, b, way in ((near, far, ">"), (far, near, "<")):
                threading.Thread(target=self.pump, args=(a, b, way),
                                 daemon=True).start()

    def pump(self, a, b, way):
        try:
            b.sendall(read_exactly(a, 8))
            while True:
                one = read_frame(a)
                with self.lock:
                    self.frames.append((way, one))
                    self.n[way] += 1
                    out = self.trick(way, one, self.n[way])
                for bytes_ in [] if out is None else out:
                    b.sendall(bytes_)
                if out is None:
                    break
        except OSError:
            pass
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def close(self):
        self.listener.close()
        for s in self.open:
            s.close()


# ---- the federation -------------------------------------------------------

def begin_federation(f, n=3):
    f.start_coordinator()
    for i in range(n):
        name = f"site{i}"
        csv = f.write(name + ".csv", ROWS)
        f.add_device(name, data=None, policy=(
            "tasks: [classify]\nmin_cohort: 2\nclip_max: 100\n"
            "budget: {updates: 100000, updates_per_day: 100000}\n"
            f"data:\n  - {{source: patients, file: {csv}}}\n"))


def through(f, name, trick):
    """Put a proxy between this device and the coordinator."""
    proxy = Proxy(f.port, trick)
    move(f.devices[name], proxy.port)
    return proxy


def move(device, port):
    with cases.store_to_change(device.home) as db:
        db.execute("UPDATE federation SET address = ?",
                   (f"tcp://127.0.0.1:{port}",))


def rss_mib(f):
    with open(f"/proc/{f.coordinator.process.popen.pid}/status",
              encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def members(f):
    return [(m["name"], m["state"], m["id"])
            for m in f.coordinator.json("members")["members"]]


def check_whole(f):
    """Up, the same members, every input paid for in a ledger."""
    assert f.coordinator.process.alive(), "the coordinator has ended"
    received = sum(r["n_inputs"] for r in f.rounds())
    spent = 0
    for device in f.devices.values():
        audit = device.json("audit")
        assert audit["chain_ok"], device.home
        spent += len(audit["releases"])
    assert spent >= received, (spent, received)
    for a, b in zip(f.committed(), f.committed()[1:]):
        assert a["plan"] != b["plan"] or b["parent_hash"] == a["model_hash"]


def log_bytes(node):
    return os.path.getsize(node.log)


# ---- cases ----------------------------------------------------------------

def rude_greetings(f, r):
    for greeting in (b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", REP, REQ[:7],
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                     b"\0SP\0\0\x30\0\1", r.randbytes(8), r.randbytes(5000)):
        with contextlib.suppress(OSError), dialled(f, greeting) as s:
            s.sendall(r.randbytes(64))


def impossible_lengths(f, r):
    for n in (0, 1, 3, SMALL + 1, FRAME_MAX, FRAME_MAX + 1, 1 << 31, 1 << 32,
              1 << 62, (1 << 64) - 1):
        with contextlib.suppress(OSError), dialled(f) as s:
            s.sendall(struct.pack(">Q", n) + r.randbytes(64))
            read_exactly(s, 8)
            read_exactly(s, 1)
            raise AssertionError(f"a frame of {n} bytes was answered")


def cut_frames(f, r):
    whole = frame(bytes([HELLO, 1, 0]) + bytes(8) + r.randbytes(48))
    for n in range(1, len(whole), 5):
        with contextlib.suppress(OSError), dialled(f) as s:
            s.sendall(whole[:n])


def wrong_packets(f, r):
    """Each is answered with a RESET, on one connection."""
    packets = [b"", b"\0", b"\xff" * 100, bytes([RESET, 1])]
    for kind in (HELLO, HELLO_OK, FINISH, FINISH_OK, DATA, RESET, 7, 255):
        for n in (0, 1, 16, 58, 59, 80, 81, 500, 4000):
            packets.append(bytes([kind]) + r.randbytes(n))
    packets.append(bytes([HELLO, 1, 0]) + bytes(8) + r.randbytes(48))
    packets.append(bytes([HELLO, 2, 0]) + bytes(8) + r.randbytes(48))
    packets.append(bytes([HELLO, 1, 1]) + r.randbytes(8) + r.randbytes(48))
    packets.append(bytes([DATA]) + r.randbytes(16) + b"\xff" * 8 +
                   struct.pack("<H", 17) + r.randbytes(17))
    with dialled(f) as s:
        assert read_exactly(s, 8) == REP
        for packet in packets:
            s.sendall(frame(packet))
            assert reset_reason(read_frame(s)) is not None, packet[:80]


def floods_of_hello(f, r):
    with contextlib.suppress(OSError), dialled(f) as s:
        for i in range(3000):
            s.sendall(frame(bytes([HELLO, 1, 0]) + bytes(8) + r.randbytes(48),
                            0x80000000 | i))
        # … and nothing is read: closed, not buffered without end.


def large_frames(f, r):
    """Many begin a large packet and never end it."""
    body = r.randbytes(8192)
    many = []
    with contextlib.suppress(OSError):
        for _ in range(100):
            s = socket.create_connection(("127.0.0.1", f.port), 3)
            many.append(s)
            s.sendall(REQ + struct.pack(">Q", FRAME_MAX) + body)
    time.sleep(0.3)
    for s in many:
        s.close()


HOSTILE = (rude_greetings, impossible_lengths, cut_frames, wrong_packets,
           floods_of_hello, large_frames)


def case_rounds_go_on_beside_hostile_peers():
    r = random.Random(SEED)
    with Federation() as f:
        begin_federation(f)
        before, who = rss_mib(f), members(f)
        idle = [socket.create_connection(("127.0.0.1", f.port), 3)
                for _ in range(300)]
        for s in idle[:100]:
            s.sendall(REQ)  # these greet, the others do not even that
        for device in f.devices.values():
            device.start()
        faults, stop = [], threading.Event()

        def attack(which, dice):
            while not stop.is_set():
                try:
                    which(f, dice)
                except Exception as fault:  # pylint: disable=broad-except
                    faults.append((which.__name__, fault))
                time.sleep(0.01)

        threads = [threading.Thread(target=attack,
                                    args=(h, random.Random(r.random())))
                   for h in HOSTILE]
        for t in threads:
            t.start()
        try:
            f.submit(PLAN.format("beside", 10))
            f.wait_committed(10, 30)
        finally:
            stop.set()
            for t in threads:
                t.join(20)
            for s in idle:
                s.close()
        assert not faults, faults[:3]
        assert members(f) == who
        check_whole(f)
        more = rss_mib(f) - before
        assert more < MIB_MORE, f"{more:.0f} MiB more"
        assert log_bytes(f.coordinator) < 1 << 20, "the log was flooded"
        f.submit(PLAN.format("after", 2), "after.yaml")
        f.wait_committed(12, 20)


def case_more_connections_than_descriptors():
    with Federation() as f:
        begin_federation(f)
        f.coordinator.process.stop()
        binary = os.path.join(cases.BIN, "tacit-coordinator")
        f.coordinator.process = Process(
            ["sh", "-c", "ulimit -n 96; exec \"$@\"", "sh", binary, "run",
             "--home", f.coordinator.home], f.coordinator.log)
        f.wait_listening()
        for device in f.devices.values():
            device.start()
        until(lambda: all("running" in d.tail() for d in f.devices.values()),
              10, "they run")
        time.sleep(0.3)
        many = [socket.create_connection(("127.0.0.1", f.port), 3)
                for _ in range(200)]
        # Who is connected goes on; who comes waits until they are gone.
        f.submit(PLAN.format("few", 2))
        f.wait_committed(2, 25)
        link = f.coordinator.json("invite", "x", "--approve")["invites"][0]
        home = f.path("late")
        tacit("init", "--home", home).exits(0)
        joining = begin("tacit", "join", link["link"], "--home", home)
        time.sleep(0.5)
        for s in many:
            s.close()
        finish(joining).exits(0)
        check_whole(f)


def tricks(r):
    """Each with whether the device still takes part in every round."""
    def twice(_way, one, _n):
        return [one, one]

    def late(_way, one, _n):
        time.sleep(r.uniform(0, 0.05))
        return [one]

    def crumbs(_way, one, _n):
        return [one[i:i + 100] for i in range(0, len(one), 100)]

    def cut(_way, one, n):
        return None if n % 9 == 0 else [one]

    def torn(_way, one, n):
        return [one[:len(one) // 2]] if n % 11 == 0 else [one]

    def flipped(_way, one, n):
        if n % 8:
            return [one]
        at = r.randrange(12, len(one))
        return [one[:at] + bytes([one[at] ^ 1 << r.randrange(8)]) +
                one[at + 1:]]

    def path_changed(_way, one, n):
        return [one[:8] + r.randbytes(4) + one[12:]] if n % 10 == 0 else [one]

    kept = []

    def out_of_order(way, one, n):
        # An older request travels again, in front of this one.
        if way == ">":
            kept.append(one)
            return [r.choice(kept), one] if n % 3 == 0 else [one]
        return [one]

    return {"twice": (twice, True), "late": (late, True),
            "crumbs": (crumbs, True), "cut": (cut, False),
            "flipped": (flipped, False), "path changed": (path_changed, False),
            "out of order": (out_of_order, True), "torn": (torn, False)}


def case_a_hostile_path_stops_no_round():
    """Two devices on a good path, the others behind one trick each."""
    r = random.Random(SEED)
    for lossless in (True, False):
        chosen = {k: t for k, (t, always) in tricks(r).items()
                  if always == lossless}
        n = len(chosen) + 2
        with Federation() as f, contextlib.ExitStack() as stack:
            begin_federation(f, n)
            for i, trick in enumerate(chosen.values()):
                stack.callback(through(f, f"site{i}", trick).close)
            for device in f.devices.values():
                device.start()
            # Late ones may still be shaking hands: the first round is theirs.
            time.sleep(0.5)
            f.submit(PLAN.format("path", 3).replace("size: 3", f"size: {n}"))
            f.wait_committed(3, 40)
            rounds = f.committed()
            assert all(x["n_inputs"] >= 2 for x in rounds), rounds
            if lossless:
                assert [x["n_inputs"] for x in rounds] == [n] * 3, rounds
                for device in f.devices.values():
                    assert len(device.json("audit")["releases"]) == 3
            for device in f.devices.values():
                assert device.process.alive(), device.tail()
            check_whole(f)


def case_a_session_played_back_changes_nothing():
    r = random.Random(SEED)
    with Federation() as f:
        begin_federation(f)
        proxy = through(f, "site0", lambda way, one, n: [one])
        for device in f.devices.values():
            device.start()
        f.submit(PLAN.format("first", 2))
        f.wait_committed(2, 20)
        spoken = [one for way, one in proxy.frames if way == ">"]
        rounds, who = f.rounds(), members(f)
        assert len(spoken) > 10, len(spoken)
        orders = [spoken, spoken[::-1], r.sample(spoken, len(spoken)),
                  [one for one in spoken for _ in range(2)]]
        for order in orders:
            with contextlib.suppress(OSError), dialled(f, timeout=0.3) as s:
                read_exactly(s, 8)
                for one in order:
                    s.sendall(one)
                    reply = read_frame(s)
                    # Of a handshake its first message is answered to anybody;
                    # nothing else is.
                    if one[12] == HELLO:
                        assert reply[12] in (HELLO_OK, RESET), reply[:40]
                    else:
                        assert reset_reason(reply), (one[12], reply[:40])
        assert f.rounds() == rounds and members(f) == who
        f.submit(PLAN.format("second", 2), "second.yaml")
        f.wait_committed(4, 20)
        assert {x["n_inputs"] for x in f.committed()} == {3}, f.rounds()
        check_whole(f)
        proxy.close()


if __name__ == "__main__":
    print(f"seed {SEED}", flush=True)
    cases.run(globals())
