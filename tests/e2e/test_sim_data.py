#!/usr/bin/env python3
"""tacit-sim run on every kind of data: made here, or a file of one's own, and
what it says of a file that will not do.
"""
import ast
import json
import math
import os
import resource
import struct
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, sim, write  # noqa: E402

PLAN = """name: trial
task: classify
model: {{kind: logistic}}
data: {{source: own, {data}}}
rounds: 2
cohort: {{size: 3, min_reports: 3, over_select: 1}}
local: {{steps: 5, batch: 8, learning_rate: 0.1}}
sim: {{clients: {clients}, rows: 30, {sim}}}
"""
RETRIEVER = """name: search
task: retriever
model: {kind: static}
data: {source: pairs}
rounds: 1
cohort: {size: 3}
local: {steps: 5, batch: 8, learning_rate: 0.01}
sim: {clients: 4}
"""
IMAGES = "format: images, height: 8, width: 9"
VECTORS = "format: vectors, width: 4"
TABLE = "label: sick, columns: [{name: age}], holdout: 0.2"


def plan(here, data, dealt, clients=4):
    return write(here + "/trial.yaml",
                 PLAN.format(data=data, sim=dealt, clients=clients))


def put(path, *parts):
    with open(path, "wb") as f:
        f.write(b"".join(parts))
    return path


def npy(path, descr, shape, values):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.encode().ljust(117) + b"\n"
    return put(path, b"\x93NUMPY\x01\0", struct.pack("<H", len(head)), head,
               values)


def clients(here, *more):
    done = sim("run", here + "/trial.yaml", "-o", here + "/o", "--json", *more)
    return done.exits(0).data["clients"]


def case_data_are_made_for_every_format():
    with folder() as here:
        for data, ways in ((IMAGES, ("iid", "sites", "dirichlet, alpha: 5",
                                     "labels, labels: 1", "shift")),
                           (VECTORS, ("iid", "sites", "labels, labels: 2")),
                           ("label: disease, columns: [{name: age}]",
                            ("iid", "sites", "shift, shift: 2"))):
            for way in ways:
                for sizes in ("equal", "power"):
                    plan(here, data, f"partition: {way}, sizes: {sizes}")
                    assert clients(here) == 4, (data, way)


def case_idx_images_are_dealt_out():
    with folder() as here:
        images = put(here + "/own-images-idx3-ubyte",
                     struct.pack(">IIII", 0x803, 40, 8, 9), bytes(40 * 72))
        put(here + "/own-labels-idx1-ubyte", struct.pack(">II", 0x801, 40),
            bytes(i % 2 for i in range(40)))
        plan(here, IMAGES, "partition: labels, labels: 1")
        assert clients(here, "-d", images) == 4
        put(images, struct.pack(">IIII", 0x803, 40, 8, 9), bytes(39 * 72))
        sim("run", here + "/trial.yaml", "-d", images, "-o",
            here + "/p").exits(1).says("ends early, in row 39 of the 40",
                                       "E0707")
        assert not os.path.exists(here + "/p")


def case_npy_vectors_are_dealt_out():
    with folder() as here:
        x = npy(here + "/x.npy", "<f4", "(40, 4)",
                struct.pack("<160f", *range(160)))
        npy(here + "/y.npy", "|u1", "(40,)", bytes(i % 2 for i in range(40)))
        plan(here, VECTORS, "partition: iid")
        assert clients(here, "-d", x) == 4
        plan(here, VECTORS, "partition: sites")
        sim("run", here + "/trial.yaml", "-d", x, "-o",
            here + "/p").exits(1).says("sim.partition: iid", "E0602")


def case_one_table_is_dealt_out_or_split_by_a_column():
    with folder() as here:
        rows = "".join(f"w{i % 5},{40 + i},{i % 2}\n" for i in range(100))
        table = write(here + "/all.csv", "ward,age,sick\n" + rows)
        plan(here, TABLE, "partition: column, column: ward")
        assert clients(here, "-d", table) == 5
        for way in ("iid", "dirichlet", "labels, labels: 1", "shift"):
            plan(here, TABLE, "partition: " + way)
            assert clients(here, "-d", table) == 4, way


def case_a_deal_that_leaves_too_few_is_refused():
    with folder() as here:
        plan(here, IMAGES, "partition: dirichlet, alpha: 0.001", clients=60)
        sim("run", here + "/trial.yaml", "-o", here + "/p").exits(1).says(
            "sim.alpha 0.001 leaves client", "raise sim.alpha", "E0602")
        table = write(here + "/all.csv", "age,sick\n1,0\n2,1\n3,0\n")
        plan(here, TABLE, "partition: iid")
        sim("run", here + "/trial.yaml", "-d", table, "-o",
            here + "/p").exits(1).says("3 rows for 4 clients", "E0602")
        assert not os.path.exists(here + "/p")


def array(path):
    """(descr, shape, values) of a NumPy file; values flat."""
    with open(path, "rb") as f:
        whole = f.read()
    assert whole[:8] == b"\x93NUMPY\x01\0", whole[:8]
    n = 10 + struct.unpack("<H", whole[8:10])[0]
    head = ast.literal_eval(whole[10:n].decode())
    assert n % 64 == 0 and not head["fortran_order"], head
    letter = {"<f4": "f", "<i8": "q", "|u1": "B"}[head["descr"]]
    values = [v for v, in struct.iter_unpack("<" + letter, whole[n:])]
    assert math.prod(head["shape"]) == len(values), (path, head)
    return head["descr"], head["shape"], values


def case_the_rows_of_a_run_are_written_as_arrays():
    with folder() as here:
        out = here + "/rows"
        n, size, rows = 30, 72, range(30)
        images = put(here + "/a-images-idx3-ubyte",
                     struct.pack(">IIII", 0x803, n, 8, 9),
                     bytes(r for r in rows for _ in range(size)))
        put(here + "/a-labels-idx1-ubyte", struct.pack(">II", 0x801, n),
            bytes(r % 2 for r in rows))
        plan(here, IMAGES + ", holdout: 0.3", "partition: iid")
        words = ["data", here + "/trial.yaml", "-d", images, "-o", out]
        done = sim(*words, "--json").exits(0)
        assert done.data == {"out": out, "clients": 4, "rows": n,
                             "inputs": size}, done
        assert sorted(os.listdir(out)) == ["client.npy", "test.npy", "x.npy",
                                           "y.npy"]
        (_, shape, x), (_, _, y) = array(out + "/x.npy"), array(out + "/y.npy")
        clients_of, tests = (array(f"{out}/{a}.npy")[2]
                             for a in ("client", "test"))
        assert shape == (n, size)
        # Every row once, with its own label, at one of the four clients or
        # held out for all.
        marks = [round(v * 255) for v in x[::size]]
        assert sorted(marks) == list(rows), marks
        assert all(v == m % 2 for v, m in zip(y, marks, strict=True))
        held = sum(tests)
        assert 0 < held < n and tests == [0] * (n - held) + [1] * held
        assert clients_of[n - held:] == [-1] * held, clients_of
        assert clients_of[:n - held] == sorted(clients_of[:n - held])
        assert set(clients_of) == {-1, 0, 1, 2, 3}, clients_of
        with open(out + "/x.npy", "rb") as f:
            first = f.read()
        sim(*words).exits(0).prints("30 rows of 4 clients")
        with open(out + "/x.npy", "rb") as f:
            assert f.read() == first, "another deal"
        # The arrays are data of a run in turn: the same rows, the same x.
        again = here + "/again"
        sim("data", here + "/trial.yaml", "-d", out + "/x.npy", "-o", again,
            "--set", "data.format=images").exits(0)
        twice = [round(v * 255) for v in array(again + "/x.npy")[2][::size]]
        assert sorted(twice) == list(rows), twice


def case_a_test_set_for_all_belongs_to_no_client():
    with folder() as here:
        for name, n in (("train", 40), ("t10k", 9)):
            put(f"{here}/{name}-images-idx3-ubyte",
                struct.pack(">IIII", 0x803, n, 8, 9), bytes(n * 72))
            put(f"{here}/{name}-labels-idx1-ubyte",
                struct.pack(">II", 0x801, n), bytes(i % 2 for i in range(n)))
        plan(here, IMAGES, "partition: iid")
        sim("data", here + "/trial.yaml", "-d",
            here + "/train-images-idx3-ubyte", "-o", here + "/o").exits(0)
        who, tests = (array(f"{here}/o/{a}.npy")[2]
                      for a in ("client", "test"))
        assert who[-9:] == [-1] * 9 and tests[-9:] == [1] * 9, (who, tests)
        assert -1 not in who[:-9] and len(who) == 49


def case_clients_with_images_may_hold_out_rows_of_their_own():
    with folder() as here:
        plan(here, IMAGES.replace("images", "images, holdout: 0.3"),
             "partition: labels, labels: 2, held_out: own", clients=8)
        run = ("run", here + "/trial.yaml", "-o", here + "/o", "-q", "--set",
               "model={kind: mlp, hidden: [8], classes: 10}", "--set",
               "strategy={kind: fedper}")
        said = sim(*run).exits(0).out
        assert "devices' own models: acc" in said, said
        assert "worst 10 % of clients" in said, said
        sim(*run, "--set", "sim.held_out=common").exits(0)
        with open(here + "/o/metrics.csv", encoding="utf-8") as f:
            names, *rows = [x.strip().split(",") for x in f]
        at = {name: i for i, name in enumerate(names)}
        for column in ("personal", "clients_worst"):
            assert all(r[at[column]] == "" for r in rows), rows


def case_rows_that_cannot_be_written_leave_no_array():
    with folder() as here:
        path = plan(here, IMAGES, "partition: iid")
        out = here + "/o"
        sim("data", path, "-o", out, "--set", "sim.rows=10000000", "--set",
            "sim.clients=90000").exits(1).says("needs about", "sim.clients",
                                               "E0610")
        sim("data", here + "/none.yaml", "-o", out).exits(1).says("none.yaml")
        write(here + "/file", "where the folder goes")
        sim("data", path, "-o", here + "/file").exits(1).says(here + "/file")
        done = sim("data", write(here + "/r.yaml", RETRIEVER), "-o", out,
                   "--json").exits(1)
        assert "documents" in done.envelope()["error"]["message"], done
        assert not os.path.exists(out)
        # A full disk: what was there before stays, and no part of the new.
        sim("data", path, "-o", out).exits(0)
        before = {a: os.stat(f"{out}/{a}").st_size for a in os.listdir(out)}
        done = sim("data", path, "-o", out, "--set", "sim.rows=300",
                   preexec=lambda: resource.setrlimit(
                       resource.RLIMIT_FSIZE, (40000, 40000)))
        assert done.status == 1 and "x.npy" in done.err, done
        assert before == {a: os.stat(f"{out}/{a}").st_size
                          for a in os.listdir(out)}


def case_every_error_has_an_explanation():
    for code in ("E0602", "E0706", "E0707", "E0708", "E0709"):
        assert json.loads(sim("explain", code, "--json").exits(0).out)


if __name__ == "__main__":
    cases.run(globals())
