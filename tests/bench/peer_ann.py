#!/usr/bin/env python3
"""Indexes in memory, for bench_ann.py: build one, or ask one.

    peer_ann.py build ENGINE DIR FILE     all threads; the index goes to FILE
    peer_ann.py query ENGINE DIR FILE IDS EFFORT...

Prints JSON lines. A query process holds the index alone, as a program that uses
it would, and asks on one thread: first all queries in one call, which spares a
call of Python for each, then one by one for the spread. `rss_mib` is what
loading and asking added. EFFORT: ef of a graph, probed lists of an IVF.
"""
import json
import os
import resource
import sys
import time

import numpy as np

DIM = 384
BEST = 10
M, EF_BUILD = 16, 200


def rss_mib():
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize() / 2**20


def rows(path):
    return np.memmap(path, dtype=np.float32, mode="r").reshape(-1, DIM)


class Hnswlib:
    """Vectors have unit length: the product orders as the cosine does, and
    has the fewest operations."""

    def __init__(self):
        import hnswlib
        self.index = hnswlib.Index("ip", DIM)

    def build(self, base, path):
        self.index.init_index(len(base), M=M, ef_construction=EF_BUILD)
        for i in range(0, len(base), 50000):
            part = base[i:i + 50000]
            self.index.add_items(part, np.arange(i, i + len(part)))
        self.index.save_index(path)

    def load(self, path):
        self.index.load_index(path)

    def ask(self, queries, effort):
        self.index.set_ef(effort)
        return self.index.knn_query(queries, k=BEST, num_threads=1)[0]


class Usearch:
    def __init__(self, dtype):
        from usearch.index import Index
        self.index = Index(ndim=DIM, metric="cos", dtype=dtype,
                           connectivity=M, expansion_add=EF_BUILD)

    def build(self, base, path):
        for i in range(0, len(base), 50000):
            part = np.array(base[i:i + 50000])
            self.index.add(np.arange(i, i + len(part)), part)
        self.index.save(path)

    def load(self, path):
        self.index.load(path)

    def ask(self, queries, effort):
        self.index.expansion_search = effort
        return self.index.search(queries, BEST, threads=1).keys.reshape(
            -1, BEST)


class Faiss:
    def __init__(self, factory):
        import faiss
        self.faiss, self.factory = faiss, factory
        self.index = None

    def build(self, base, path):
        lists = 4096 if len(base) > 300000 else 1024
        index = self.faiss.index_factory(
            DIM, self.factory.format(lists=lists),
            self.faiss.METRIC_INNER_PRODUCT)
        step = max(1, len(base) // (40 * lists))
        if "IVF" in self.factory:
            ivf = self.faiss.extract_index_ivf(index)
            ivf.cp.max_points_per_centroid = 40
        index.train(np.array(base[::step]))
        for i in range(0, len(base), 50000):
            index.add(np.array(base[i:i + 50000]))
        self.faiss.write_index(index, path)

    def load(self, path):
        self.index = self.faiss.read_index(path)
        self.faiss.omp_set_num_threads(1)

    def ask(self, queries, effort):
        space = self.faiss.ParameterSpace()
        if "IVF" in self.factory:
            space.set_index_parameter(self.index, "nprobe", effort)
        if "Refine" in self.factory:
            self.index.k_factor = 10
        if "HNSW" in self.factory:
            space.set_index_parameter(self.index, "efSearch", effort)
        return self.index.search(queries, BEST)[1]


ENGINES = {
    "hnswlib": Hnswlib,
    "usearch": lambda: Usearch("f32"),
    "usearch-i8": lambda: Usearch("i8"),
    "faiss-flat": lambda: Faiss("Flat"),
    "faiss-hnsw": lambda: Faiss("HNSW16"),
    "faiss-rabitq": lambda: Faiss("IVF{lists},RaBitQ,Refine(SQ8)"),
}


def timed(index, queries, effort, ids):
    index.ask(queries, effort)
    begin = time.process_time()
    found = index.ask(queries, effort)
    batch = (time.process_time() - begin) * 1e3 / len(queries)
    each = []
    for i in range(len(queries)):
        begin = time.perf_counter()
        index.ask(queries[i:i + 1], effort)
        each.append((time.perf_counter() - begin) * 1e3)
    np.ascontiguousarray(found, dtype=np.int64).tofile(ids)
    return {"cpu_mean_ms": batch, "wall_median_ms": float(np.median(each)),
            "wall_99_ms": float(np.quantile(each, 0.99))}


def main():
    step, engine, folder, path = sys.argv[1:5]
    index = ENGINES[engine]()
    if step == "build":
        begin, cpu = time.perf_counter(), time.process_time()
        index.build(rows(f"{folder}/base.f32"), path)
        print(json.dumps({"s": time.perf_counter() - begin,
                          "cpu_s": time.process_time() - cpu,
                          "file_mb": os.path.getsize(path) / 1e6}))
        return
    queries = np.array(rows(f"{folder}/query.f32"))
    ids, efforts = sys.argv[5], sys.argv[6:]
    before = rss_mib()
    index.load(path)
    if engine == "faiss-flat":
        queries = queries[:50]
    for effort in efforts:
        told = timed(index, queries, int(effort), f"{ids}.{effort}")
        print(json.dumps({"effort": int(effort), **told,
                          "rss_mib": rss_mib() - before}), flush=True)


if __name__ == "__main__":
    main()
