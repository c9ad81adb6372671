#!/usr/bin/env python3
"""The vector index: how fast, how large, how right, and beside other indexes.

    ann_1m_ms, ann_1m_rss_mib, ann_1m_file_mb   easy and real-text sets
    ann_hard_ms                                 hard set
    ann_vs_hnswlib, ann_mem_vs_hnswlib          all three sets
    ann_vs_sqlite_vec, ann_delete_vs_sqlite_vec flat scan; its own indexes
    ann_inserts, ann_insert_commit_ms, ann_delete_us, ann_open_ms
    ann_vacuum_ratio, ann_recall_after_churn, ann_filter_recall, ann_kills
    ann_peers                                   usearch, faiss: information
    ann                                         all of them, and a table

Sets (ann_data.c; TACIT_ANN_ROWS sets the rows, else 1,000,000):

    easy    200 rows to a cluster (5,000 clusters at 1M)
    hard    10 rows to a cluster (100,000 clusters at 1M)
    real    50,000 LSA vectors of sentences, asked with questions; skipped where
            the data is missing

Every figure of a search is that of the least effort whose recall@10 over the
even ones of 1,000 queries is at least 0.954, on one thread, warm, in CPU time:
others on the machine count less. The recall that is told is of the odd ones,
which differs by up to some 0.004: what is chosen at 0.95 itself would as often
be told with less.
What takes long (sets, indexes of peers) is kept under build/ann. Indexes in
memory take long to build: they are compared on sets of TACIT_ANN_PEER_ROWS
rows, 200,000 if that is less, made in the same way. Peers come from PyPI into
build/peer-ann, or from the Python that TACIT_PEER_PYTHON names;
TACIT_PEER_SQLITE_VEC names another vec0.so than that of PyPI, which has no AVX
code for x86.
"""
import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import sys

BUILD = os.environ.get("TACIT_BUILD", "build/release")
HERE = os.path.dirname(os.path.abspath(__file__))
DATA = f"{BUILD}/bench/ann_data"
SQL = f"{BUILD}/bench/ann_sql"
OURS = f"{BUILD}/tacit_vec.so"
REAL = "../shared/data/lsa-ann"
ROWS = int(os.environ.get("TACIT_ANN_ROWS", "1000000"))
PEER_ROWS = int(os.environ.get("TACIT_ANN_PEER_ROWS", min(ROWS, 200000)))
HOME = os.path.abspath("build/ann")
RECALL = 0.95
CHOSEN = RECALL + 0.004
PRAGMAS = ("PRAGMA page_size=8192; PRAGMA journal_mode=WAL; "
           "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-{kib}; "
           "PRAGMA wal_autocheckpoint=4000;")
# Of who writes: a transaction's lists. Of who asks: rows are seldom asked for
# twice, and entries are kept by the table.
CACHE_KIB, ASK_KIB = 67584, 8192
CREATE = ("CREATE VIRTUAL TABLE v USING tacit_vec(embedding float[384] "
          "metric=cosine, dept int filter)")
INSERT = "INSERT INTO v(rowid, embedding, dept) VALUES (?1, ?2, ?3)"
INSERT_BARE = "INSERT INTO v(rowid, embedding) VALUES (?1, ?2)"
DELETE = "DELETE FROM v WHERE rowid = ?1"
ASK = "SELECT rowid FROM v WHERE embedding MATCH ?1 AND k = 10"
# Ours: what a search aims at. The aim is calibrated on rows of the table; a set
# of queries may get more, or less.
AIMS = [0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995,
        0.999]
EFFORTS = {"hnswlib": [10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 800],
           "usearch": [20, 50, 100, 200, 400, 800],
           "usearch-i8": [20, 50, 100, 200, 400, 800],
           "faiss-hnsw": [20, 50, 100, 200, 400, 800],
           "faiss-rabitq": [4, 8, 16, 32, 64, 128, 256, 512, 1024],
           "faiss-flat": [0]}
# Figures whose limit is the least; so is that of a ratio.
AT_LEAST = ("ann_inserts", "ann_recall_after_churn", "ann_filter_recall",
            "ann_kills")
MASKS = {"1 %": (1, 1), "10 %": (2, 10), "50 %": (3, 50)}


class Missing(Exception):
    """What a figure needs is not here; the text says what."""


def say(text):
    print(f"bench_ann: {text}", file=sys.stderr, flush=True)


def line(bench, case, value, unit, limit=None, peer=None, ratio=None,
         peer_value=None, **more):
    told = {"bench": bench, "case": case, "value": round(value, 4),
            "unit": unit, "peer": peer,
            "peer_value": peer_value and round(peer_value, 4),
            "ratio": ratio and round(ratio, 3), "limit": limit,
            "load": round(os.getloadavg()[0], 2), **more}
    LINES.append(told)
    print(json.dumps(told), flush=True)


def held(told):
    """Whether a line's limit is, in a word; "" where it has none."""
    if told["limit"] is None:
        return ""
    value = told["value"] if told["ratio"] is None else told["ratio"]
    least = told["ratio"] is not None or told["bench"] in AT_LEAST
    holds = value >= told["limit"] if least else value <= told["limit"]
    return "held" if holds else "SHORT"


def print_table():
    """All lines, for people, on stderr."""
    rows = [("figure", "case", "ours", "", "recall", "theirs", "recall",
             "ratio", "limit", "", "load")]
    for x in LINES:
        rows.append((x["bench"], x["case"], f'{x["value"]:.4g}', x["unit"],
                     x.get("recall"), x["peer_value"], x.get("peer_recall"),
                     x["ratio"], x["limit"], held(x), x["load"]))
    rows = [["" if cell is None else f"{cell:.4g}"
             if isinstance(cell, float) else str(cell) for cell in row]
            for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip(),
              file=sys.stderr)


def call(*words, seconds=7200):
    got = subprocess.run([str(w) for w in words], capture_output=True,
                         text=True, timeout=seconds, check=False)
    if got.returncode:
        raise RuntimeError(f"{words[0]}: status {got.returncode}: "
                           f"{got.stderr.strip()[-400:]}")
    return got.stdout


# ---- sets ------------------------------------------------------------------

def made(path, make):
    """path, made by make(path) unless a run before has."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        say(f"making {os.path.relpath(path)}")
        part = f"{path}.part"
        remove(part)
        make(part)
        os.rename(part, path)
    return path


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    for end in ("", "-wal", "-shm"):
        if os.path.isfile(path + end):
            os.remove(path + end)


def clustered(per_cluster, spread, rows):
    def make(folder):
        os.makedirs(folder)
        call(DATA, "make", folder, rows, max(1, rows // per_cluster), spread,
             0.5)
        call(DATA, "truth", folder)
    return make


def real(folder):
    if not os.path.exists(f"{REAL}/base.i8.xz"):
        raise Missing("no real-text vectors (../shared/data/lsa-ann)")
    os.makedirs(folder)
    for name, out in (("base.i8", "base.i8"), ("query.f32", "query.f32")):
        with lzma.open(f"{REAL}/{name}.xz") as a, \
                open(f"{folder}/{out}", "wb") as b:
            shutil.copyfileobj(a, b)
    call(DATA, "int8", folder, f"{folder}/base.i8")
    os.remove(f"{folder}/base.i8")
    call(DATA, "truth", folder)


def home(name, file):
    """Where a set's files are."""
    kind, _, beside = name.partition("-")
    rows = PEER_ROWS if beside else ROWS
    return f"{HOME}/{kind if kind == 'real' else f'{kind}-{rows}'}/{file}"


SETS = {"easy": clustered(200, 1.0, ROWS), "hard": clustered(10, 0.6, ROWS),
        "easy-peer": clustered(200, 1.0, PEER_ROWS),
        "hard-peer": clustered(10, 0.6, PEER_ROWS), "real": real}
PEER_SETS = ("easy-peer", "hard-peer", "real")


def the_set(name):
    return made(home(name, "set"), SETS[name])


def n_rows(name):
    return os.path.getsize(f"{the_set(name)}/base.f32") // (384 * 4)


def label(name):
    rows = n_rows(name)
    size = f"{rows // 1000000}M" if rows >= 1000000 else f"{rows // 1000}k"
    kind = name.partition("-")[0]
    return {"real": "real text"}.get(kind, kind) + f" {size}"


ALL, CHOICE, REPORT = 0, 1, 2  # queries: all, even, odd


def recall(name, ids, mask=0, part=ALL):
    return float(call(DATA, "score", the_set(name), mask, ids, part))


# ---- tables of SQLite ------------------------------------------------------

class Table:
    """A vector table in a file; each step is a process of its own."""

    def __init__(self, extension, path, cache_kib=CACHE_KIB, pragmas=""):
        self.extension, self.path = os.path.abspath(extension), path
        self.cache_kib = cache_kib
        self.pragmas = PRAGMAS.format(kib=cache_kib) + pragmas

    def step(self, *words):
        return json.loads(call(SQL, self.extension, self.path, self.pragmas,
                               *words))

    def write(self, name, sql, n, first=0, stride=1, batch=10000):
        return self.step("write", the_set(name), sql, first, n, stride, batch)

    def ask(self, name, where="", mask=0, rounds=2):
        ids = f"{HOME}/ids"
        table = Table(self.extension, self.path, min(self.cache_kib, ASK_KIB)) \
            if self.extension == os.path.abspath(OURS) else self
        told = table.step("query", the_set(name), ASK + where, rounds, ids)
        return {**told, "recall": recall(name, ids, mask, REPORT),
                "chosen": recall(name, ids, mask, CHOICE)}

    def settle(self):
        self.step("run", "PRAGMA wal_checkpoint(TRUNCATE)")
        return os.path.getsize(self.path) / 1e6


def ours_path(name):
    if not os.path.exists(OURS):
        raise Missing(f"no {OURS}: make")
    with open(OURS, "rb") as f:
        mark = hashlib.sha256(f.read()).hexdigest()[:12]
    return home(name, f"tacit-{mark}.db")


def write_ours(name, path, n=None):
    remove(path)
    table = Table(OURS, path)
    table.step("run", CREATE)
    told = table.write(name, INSERT, n or n_rows(name))
    told["file_mb"] = table.settle()
    with open(f"{path}.json", "w", encoding="utf-8") as f:
        json.dump(told, f)
    return table


def ours(name):
    """The table with the whole set, and what writing it said."""
    path = ours_path(name)
    if not os.path.exists(f"{path}.json"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        for old in os.listdir(os.path.dirname(path)):
            if old.startswith("tacit-"):
                os.remove(os.path.join(os.path.dirname(path), old))
        say(f"writing {label(name)}")
        write_ours(name, path)
    with open(f"{path}.json", encoding="utf-8") as f:
        return Table(OURS, path), json.load(f)


def copy_of(name):
    """A copy to change; the caller removes it."""
    table, _ = ours(name)
    path = home(name, "copy.db")
    remove(path)
    shutil.copyfile(table.path, path)
    return Table(OURS, path)


ASKED = {}
LINES = []


def ask_ours(name):
    """The search with the least effort that has the recall."""
    if name not in ASKED:
        table, _ = ours(name)
        for aim in AIMS:
            told = table.ask(name, f" AND recall = {aim}")
            say(f"{label(name)}: aim {aim}: {told}")
            if told["chosen"] >= CHOSEN:
                break
        else:
            raise RuntimeError(f"{label(name)}: recall {told['chosen']} only")
        ASKED[name] = {**told, "aim": aim}
    return ASKED[name]


# ---- peers -----------------------------------------------------------------

def peer_python():
    given = os.environ.get("TACIT_PEER_PYTHON")
    home = os.path.abspath("build/peer-ann")
    python = given or f"{home}/bin/python"
    try:
        if not given and not os.path.exists(f"{home}/ready"):
            say(f"installing hnswlib, usearch, faiss, sqlite-vec in {home}")
            pip = [python, "-m", "pip", "install", "-q"]
            for words in ([sys.executable, "-m", "venv", home],
                          [*pip, "numpy", "usearch", "faiss-cpu", "sqlite-vec",
                           "setuptools", "wheel", "pybind11"],
                          # Built here, so that it has this processor's
                          # instructions.
                          [*pip, "--no-binary", "hnswlib",
                           "--no-build-isolation", "hnswlib"],
                          [*pip, "--pre", "--no-deps", "--target",
                           f"{home}/alpha", "sqlite-vec"]):
                subprocess.run(words, check=True, stdout=sys.stderr,
                               timeout=900)
            with open(f"{home}/ready", "w", encoding="ascii"):
                pass
        return python
    except (OSError, subprocess.SubprocessError) as e:
        raise Missing(f"no peers: {e}") from e


def version(package):
    text = f"import importlib.metadata as m; print(m.version({package!r}))"
    return f"{package} {call(peer_python(), '-c', text).strip()}"


def peer(engine, name):
    """Figures of one engine at its least effort with the recall."""
    key = (engine, name)
    if key in ASKED:
        return ASKED[key]
    python = peer_python()
    script = f"{HERE}/peer_ann.py"
    folder = the_set(name)
    built = {}

    def build(path):
        built.update(json.loads(call(python, script, "build", engine, folder,
                                     path)))
    path = made(home(name, f"{engine}.index"), build)
    if built:
        with open(f"{path}.json", "w", encoding="utf-8") as f:
            json.dump(built, f)
    ids = f"{HOME}/ids-peer"
    for effort in EFFORTS[engine]:
        told = json.loads(call(python, script, "query", engine, folder, path,
                               ids, effort))
        told["recall"] = recall(name, f"{ids}.{effort}", part=REPORT)
        told["chosen"] = recall(name, f"{ids}.{effort}", part=CHOICE)
        os.remove(f"{ids}.{effort}")
        say(f"{label(name)}: {engine} {told}")
        if told["chosen"] >= CHOSEN:
            break
    told["file_mb"] = os.path.getsize(path) / 1e6
    ASKED[key] = told
    return told


def vec0(alpha=False):
    given = os.environ.get("TACIT_PEER_SQLITE_VEC")
    if given:
        return given
    python = peer_python()
    home = f"{os.path.dirname(os.path.dirname(python))}"
    if alpha:
        return f"{home}/alpha/sqlite_vec/vec0.so"
    return call(python, "-c", "import sqlite_vec; "
                "print(sqlite_vec.loadable_path())").strip() + ".so"


def vec0_version(table):
    return "sqlite-vec " + table.step("run", "SELECT vec_version()")["value"]


def vec0_table(name, kind, n):
    """A table of sqlite-vec with n rows, settings as its own documents have."""
    options = {"flat": "", "rescore":
               " INDEXED BY rescore(quantizer=bit, oversample=8)",
               "diskann": " INDEXED BY diskann(neighbor_quantizer=binary)"}
    table = Table(vec0(kind != "flat"), home(name, f"vec0-{kind}.db"), 65536)
    told = {}
    if not os.path.exists(f"{table.path}.json"):
        say(f"writing {label(name)} to sqlite-vec, {kind}")
        remove(table.path)
        table.step("run", "CREATE VIRTUAL TABLE v USING vec0(embedding "
                   f"float[384]{options[kind]})")
        told = table.write(name, INSERT_BARE, n)
        with open(f"{table.path}.json", "w", encoding="utf-8") as f:
            json.dump(told, f)
    with open(f"{table.path}.json", encoding="utf-8") as f:
        return table, json.load(f)


# ---- figures ---------------------------------------------------------------

def spread(told):
    """What a line says besides its value."""
    keep = {"cpu_median_ms": "median_cpu", "cpu_99_ms": "p99_cpu",
            "wall_median_ms": "median_wall", "recall": "recall", "aim": "aim",
            "effort": "effort"}
    return {to: told[of] for of, to in keep.items() if told.get(of) is not None}


def search_figures(bench, names, limit):
    for name in names:
        told = ask_ours(name)
        line(bench, label(name), told["cpu_mean_ms"], "ms", limit,
             **spread(told))


def ann_1m_ms():
    search_figures("ann_1m_ms", ("easy", "real"), 1.0)


def ann_hard_ms():
    search_figures("ann_hard_ms", ("hard",), 8.0)


def ann_1m_rss_mib():
    for name in ("easy", "real", "hard"):
        line("ann_1m_rss_mib", label(name), ask_ours(name)["hwm_mib"], "MiB",
             80, of_files=ask_ours(name)["rss_file_mib"])


def ann_1m_file_mb():
    for name in ("easy", "real", "hard"):
        line("ann_1m_file_mb", label(name), ours(name)[1]["file_mb"], "MB",
             560)


def ann_vs_hnswlib():
    for name in PEER_SETS:
        other, told = peer("hnswlib", name), ask_ours(name)
        line("ann_vs_hnswlib", label(name), told["cpu_mean_ms"], "ms", 0.5,
             version("hnswlib"), other["cpu_mean_ms"] / told["cpu_mean_ms"],
             other["cpu_mean_ms"], recall=told["recall"],
             peer_recall=other["recall"], peer_effort=other["effort"])


def ann_mem_vs_hnswlib():
    """Its memory is the same for each row, so that a smaller set tells what
    the whole takes."""
    for name in PEER_SETS:
        whole = name.partition("-")[0]
        rows = n_rows(whole)
        other, told = peer("hnswlib", name), ask_ours(whole)
        theirs = other["rss_mib"] * rows / n_rows(name)
        line("ann_mem_vs_hnswlib", label(whole), told["hwm_mib"], "MiB",
             15 if rows >= 1000000 else None, version("hnswlib"),
             theirs / told["hwm_mib"], theirs, peer_rows=n_rows(name))


def ann_peers():
    for name in PEER_SETS:
        for engine in ("usearch", "usearch-i8", "faiss-rabitq", "faiss-flat"):
            other, told = peer(engine, name), ask_ours(name)
            line("ann_peers", f"{label(name)}, {engine}", told["cpu_mean_ms"],
                 "ms", None,
                 version("usearch" if "usearch" in engine else "faiss-cpu"),
                 other["cpu_mean_ms"] / told["cpu_mean_ms"],
                 other["cpu_mean_ms"], peer_recall=other["recall"],
                 peer_effort=other["effort"], peer_rss_mib=other["rss_mib"])


def ann_vs_sqlite_vec():
    for name, kind, limit in (("easy", "flat", 500), ("easy", "rescore", 5),
                              ("real", "flat", None), ("real", "rescore", 5),
                              ("real", "diskann", 5)):
        table, wrote = vec0_table(name, kind, n_rows(name))
        other, told = table.ask(name, rounds=0), ask_ours(name)
        line("ann_vs_sqlite_vec", f"{label(name)}, {kind}",
             told["cpu_mean_ms"], "ms", limit,
             vec0_version(table),
             other["cpu_mean_ms"] / told["cpu_mean_ms"], other["cpu_mean_ms"],
             peer_recall=other["recall"], peer_file_mb=wrote["file_mb"],
             peer_hwm_mib=other["hwm_mib"],
             peer_inserts=wrote["rows"] / wrote["cpu_ms"] * 1e3)


def ann_delete_vs_sqlite_vec():
    name = "real"
    rows = n_rows(name)
    for kind, n, limit in (("diskann", 20, 1000), ("flat", 2000, None)):
        table = copy_of(name)
        told = table.write(name, DELETE, 2000, stride=rows // 2000, batch=2000)
        remove(table.path)
        source, _ = vec0_table(name, kind, rows)
        other = Table(source.extension, f"{source.path}.copy", 65536)
        remove(other.path)
        for end in ("", "-wal"):
            if os.path.exists(source.path + end):
                shutil.copyfile(source.path + end, other.path + end)
        theirs = other.write(name, DELETE, n, stride=rows // n, batch=n)
        remove(other.path)
        mine, his = (x["cpu_ms"] * 1e3 / x["rows"] for x in (told, theirs))
        line("ann_delete_vs_sqlite_vec", f"{label(name)}, {kind}", mine, "us",
             limit, vec0_version(source), his / mine, his)


def ann_inserts():
    for name in ("easy", "real", "hard"):
        told = ours(name)[1]
        line("ann_inserts", label(name), told["rows"] / told["cpu_ms"] * 1e3,
             "1/s", 20000, wall=told["rows"] / told["ms"] * 1e3)
    for name in ("easy", "hard"):
        table = Table(OURS, f"{HOME}/bulk.db")
        remove(table.path)
        table.step("run", CREATE)
        told = table.write(name, INSERT, n_rows(name), batch=100000)
        line("ann_inserts", f"{label(name)}, 100,000 to a transaction",
             told["rows"] / told["cpu_ms"] * 1e3, "1/s", 20000,
             wall=told["rows"] / told["ms"] * 1e3)
        remove(table.path)


def ann_insert_commit_ms():
    """2,000 rows of the set, deleted before, each in a transaction: one that
    waits for the disk, and one that a crash of the machine may undo. Beside
    them the same rows into a table without an index, which tells what the
    disk and SQLite take."""
    stride = n_rows("easy") // 2000
    for pragma in ("FULL", "NORMAL"):
        pragmas = f"PRAGMA synchronous={pragma}"
        plain = Table(OURS, f"{HOME}/plain.db", pragmas=pragmas)
        remove(plain.path)
        plain.step("run", "CREATE TABLE v(embedding BLOB, dept INTEGER)")
        other = plain.write("easy", INSERT, 2000, stride=stride, batch=1)
        remove(plain.path)
        table = Table(OURS, copy_of("easy").path, pragmas=pragmas)
        table.write("easy", DELETE, 2000, stride=stride)
        table.settle()
        told = table.write("easy", INSERT, 2000, stride=stride, batch=1)
        line("ann_insert_commit_ms", f"{label('easy')}, synchronous={pragma}",
             told["commit_ms"], "ms", 2, "SQLite, plain table", None,
             other["commit_ms"], p99=told["commit_99_ms"],
             most=told["commit_max_ms"], cpu=told["cpu_ms"] / told["rows"],
             peer_p99=other["commit_99_ms"])
        remove(table.path)


def ann_delete_us():
    """20,000 rows, 1,000 to a transaction: the statements alone, and with their
    share of commits and checkpoints. Beside them the same rows of a plain table
    with one index, which changes two pages for a row as well."""
    def deleted(table):
        return table.write("easy", DELETE, 20000, batch=1000,
                           stride=n_rows("easy") // 20000)
    plain = Table(OURS, f"{HOME}/plain.db")
    remove(plain.path)
    plain.step("run", "CREATE TABLE v(embedding BLOB, dept INTEGER);"
               "CREATE INDEX v_head ON v(substr(embedding, 1, 8))")
    plain.write("easy", INSERT, n_rows("easy"))
    plain.settle()
    other = deleted(plain)
    remove(plain.path)
    table = copy_of("easy")
    told = deleted(table)
    remove(table.path)
    for case, key in (("", "statement_cpu_ms"),
                      (", with its share of commits", "cpu_ms")):
        mine, theirs = (x[key] * 1e3 / x["rows"] for x in (told, other))
        line("ann_delete_us", label("easy") + case, mine, "us", 50,
             "SQLite, plain table with an index", None, theirs,
             **({} if case == "" else
                {"wall": told["ms"] * 1e3 / told["rows"]}))


def ann_open_ms():
    for name in ("easy", "hard"):
        table, _ = ours(name)
        got = [table.step("cold", the_set(name), ASK) for _ in range(5)]
        got.sort(key=lambda x: x["ms"])
        line("ann_open_ms", label(name), got[2]["ms"], "ms", 300,
             open=got[2]["open_ms"], first=got[2]["first_ms"],
             least=got[0]["ms"], most=got[4]["ms"],
             cpu=min(x["cpu_ms"] for x in got),
             waits=min(x["waits"] for x in got))


def ann_kills():
    """Kills at random points of inserts after which index and rows agree."""
    test = f"{BUILD}/tests/retrieval/test_vecindex_kill"
    if not os.path.exists(test):
        raise Missing(f"no {test}: make tests")
    told = subprocess.run([test], capture_output=True, text=True, timeout=1200,
                          check=False)
    kills = re.search(r"(\d+) kills, (\d+) behind", told.stdout + told.stderr)
    line("ann_kills", "24 numbers, SIGKILL",
         int(kills[1]) if kills and told.returncode == 0 else 0, "kills", 200,
         behind_a_commit=int(kills[2]) if kills else 0)


def ann_vacuum_ratio():
    table, rows = copy_of("easy"), n_rows("easy")
    for first in range(1, 5):
        table.write("easy", DELETE, rows // 5, first=first, stride=5)
    table.step("run", "VACUUM")
    size = table.settle()
    remove(table.path)
    fresh = Table(OURS, f"{HOME}/fresh.db")
    remove(fresh.path)
    fresh.step("run", CREATE)
    fresh.write("easy", INSERT, rows // 5, stride=5)
    fresh_size = fresh.settle()
    remove(fresh.path)
    line("ann_vacuum_ratio", f"{label('easy')}, 80 % deleted",
         size / fresh_size, "", 1.2, mb=size, fresh_mb=fresh_size)


def ann_recall_after_churn():
    for name in ("easy", "real", "hard"):
        table, rows = copy_of(name), n_rows(name)
        for sql in (DELETE, INSERT):
            for first in (1, 4, 7):
                table.write(name, sql, rows // 10, first=first, stride=10)
        told = table.ask(name)
        line("ann_recall_after_churn", label(name), told["recall"], "", 0.94,
             before=ours(name)[0].ask(name, rounds=1)["recall"],
             ms=told["cpu_mean_ms"], file_mb=table.settle(),
             fresh_mb=ours(name)[1]["file_mb"])
        remove(table.path)


def ann_filter_recall():
    for name in ("easy", "real"):
        table, _ = ours(name)
        for share, (mask, below) in MASKS.items():
            told = table.ask(name, f" AND dept < {below}", mask, 1)
            line("ann_filter_recall", f"{label(name)}, {share}",
                 told["recall"], "", 0.95, ms=told["cpu_mean_ms"],
                 p99=told["cpu_99_ms"])


FIGURES = [ann_inserts, ann_1m_ms, ann_1m_rss_mib, ann_1m_file_mb, ann_hard_ms,
           ann_open_ms, ann_filter_recall, ann_insert_commit_ms, ann_delete_us,
           ann_recall_after_churn, ann_vacuum_ratio, ann_kills,
           ann_vs_sqlite_vec,
           ann_delete_vs_sqlite_vec, ann_vs_hnswlib, ann_mem_vs_hnswlib,
           ann_peers]


def main():
    wanted = sys.argv[1:]
    status = 0
    os.makedirs(HOME, exist_ok=True)
    for figure in FIGURES:
        if wanted and figure.__name__ not in wanted and "ann" not in wanted:
            continue
        try:
            figure()
        except Missing as e:
            say(f"{figure.__name__}: skipped: {e}")
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            say(f"{figure.__name__}: {e}")
            status = 1
    if "ann" in wanted:
        print_table()
    return status


if __name__ == "__main__":
    sys.exit(main())
