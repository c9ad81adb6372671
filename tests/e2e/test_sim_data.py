#!/usr/bin/env python3
"""tacit-sim run on every kind of data: made here, or a file of one's own, and
what it says of a file that will not do.
"""
import json
import os
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


def case_every_error_has_an_explanation():
    for code in ("E0602", "E0706", "E0707", "E0708", "E0709"):
        assert json.loads(sim("explain", code, "--json").exits(0).out)


if __name__ == "__main__":
    cases.run(globals())
