#!/usr/bin/env python3
"""A false coordinator: what answers at the address sends garbage, or nothing.
`tacit join` ends in time with an error that says what is wrong, stores nothing
and spends nothing of the invite; a member's daemon goes on trying, with pauses,
and takes part again once the real coordinator is back.

    TACIT_SEED=n python3 tests/e2e/test_false.py
"""
# variants: asan
import base64
import contextlib
import hashlib
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, tacit  # noqa: E402
from federation import Federation  # noqa: E402
from test_hostile import (HELLO_OK, PLAN, REP, RESET, SEED,  # noqa: E402
                          begin_federation, check_whole, log_bytes, move,
                          read_exactly, read_frame)


class FalseCoordinator:
    """Answers every connection with answer(socket)."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answer, self.n = answer, 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.n += 1
            threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        s.settimeout(20)
        with contextlib.suppress(OSError), s:
            self.answer(s)

    def close(self):
        self.listener.close()


def answers(r):
    """What a false coordinator does, and the code that a person sees."""
    def greeted(then):
        def answer(s):
            s.sendall(REP)
            read_exactly(s, 8)
            then(s)
        return answer

    def after(packet):
        def then(s):
            while True:
                one = read_frame(s)
                s.sendall(struct.pack(">Q", 4 + len(packet)) + one[8:12] +
                          packet)
        return greeted(then)

    def silent(s):
        read_exactly(s, 1 << 20)

    def endless(s):
        while True:
            s.sendall(struct.pack(">QI", 4 + 64, 0x80000007) + r.randbytes(64))

    return {
        "no greeting": (silent, "E0405"),
        "http": (lambda s: s.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), "E0405"),
        "closes": (lambda s: None, "E0405"),
        "noise": (lambda s: s.sendall(r.randbytes(100000)), "E0405"),
        "greets, then nothing": (greeted(silent), "E0009"),
        "greets, then noise": (greeted(lambda s: s.sendall(
            r.randbytes(100000))), "E0006"),
        "huge": (greeted(lambda s: s.sendall(b"\x7f" + bytes(7))), "E0006"),
        "other replies": (greeted(endless), "E0006"),
        "garbage": (after(r.randbytes(200)), "E0006"),
        "empty": (after(b""), "E0006"),
        "hello ok": (after(bytes([HELLO_OK]) + r.randbytes(64)), "E0403"),
        "reset 3": (after(bytes([RESET, 3])), "E0403"),
        "reset 1": (after(bytes([RESET, 1])), "E0407"),
    }


def relink(link, port):
    """The same invite with another address, and a check that fits it."""
    code = base64.urlsafe_b64decode(link.split("#")[1])[:56]
    where = f"127.0.0.1:{port}"
    check = hashlib.blake2b(code + where.encode(), digest_size=32).digest()[:4]
    return (f"tacit:{where}#" +
            base64.urlsafe_b64encode(code + check).decode())


def case_a_false_coordinator_is_named_and_outlived():
    r = random.Random(SEED)
    with Federation() as f, contextlib.ExitStack() as stack:
        begin_federation(f)
        link = f.coordinator.json("invite", "x")["invites"][0]["link"]
        joining = {}
        for name, (answer, code) in answers(r).items():
            false = FalseCoordinator(answer)
            stack.callback(false.close)
            home = f.path(name.replace(" ", "-"))
            tacit("init", "--home", home).exits(0)
            p = begin("tacit", "join", relink(link, false.port), "--home",
                      home)
            joining[name] = (p, false, code, home)
        outlive(f, stack, r)
        for name, (p, false, code, home) in joining.items():
            done = finish(p, timeout=45)
            assert done.status in (2, 3), (name, str(done))
            assert code in done.err, (name, str(done))
            assert false.n < 40, (name, false.n)
            tacit("run", "--home", home).exits(1).says("E0411")
        # The real one still takes the invite: nothing of it was spent.
        home = f.path("honest")
        tacit("init", "--home", home).exits(0)
        tacit("join", link, "--home", home).exits(0)


def outlive(f, stack, r):
    """Members whose coordinator is replaced by noise go on afterwards."""
    names = ("noise", "garbage", "other replies")
    falses = []
    for device, name in zip(f.devices.values(), names):
        false = FalseCoordinator(answers(r)[name][0])
        stack.callback(false.close)
        falses.append(false)
        move(device, false.port)
        device.start()
    time.sleep(3)
    for device, false in zip(f.devices.values(), falses):
        assert device.process.alive(), device.tail()
        assert 0 < false.n < 40, "it dials without a pause"
        assert log_bytes(device) < 10000, device.tail()
        device.process.stop()
        move(device, f.port)
        device.start()
    f.submit(PLAN.format("home", 1))
    f.wait_committed(1, 20)
    check_whole(f)


if __name__ == "__main__":
    print(f"seed {SEED}", flush=True)
    cases.run(globals())
