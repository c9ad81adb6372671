#!/usr/bin/env python3
"""engine_products, engine_contention: products with packed weights.

    bench_engine.py [engine_products | engine_contention]

Shapes are those of SmolLM2-135M and TinyLlama-1.1B; rows 1 (decoding), 32 and
256 (prefill). The peer is ggml's mul_mat in its own best buffer, where
TACIT_PEER_LLAMACPP names a folder with llama.cpp's sources and its `build`
(or two, sources:libraries). TACIT_KERNELS=avx2 lowers our instruction set only.
TACIT_ENGINE_FULL=1 measures all shapes, not four.
"""
import json
import os
import subprocess
import sys
import time

BUILD = os.environ.get("TACIT_BUILD", "build/release")
OURS = f"{BUILD}/bench/engine_products"
SHAPES = [(1536, 576), (49152, 576), (5632, 2048), (2048, 5632)]
if os.environ.get("TACIT_ENGINE_FULL"):
    SHAPES += [(576, 576), (576, 1536), (2048, 2048)]
SECONDS = "0.25"


def build_peer():
    """The peer's program, or None."""
    where = os.environ.get("TACIT_PEER_LLAMACPP")
    if not where:
        return None
    source, _, libraries = where.partition(":")
    libraries = libraries or f"{source}/build/bin"
    out = f"{BUILD}/bench/peer_ggml"
    made = subprocess.run(
        ["gcc", "-O2", f"-I{source}/ggml/include", "tests/bench/peer_ggml.c",
         "-o", out, f"-L{libraries}",
         f"-Wl,-rpath,{os.path.abspath(libraries)}",
         "-lggml", "-lggml-cpu", "-lggml-base", "-lm"],
        stdout=sys.stderr, check=False)
    return out if made.returncode == 0 else None


def measure(program, *args):
    """Operations per second of CPU and wall time, there and back."""
    done = subprocess.run([program, *map(str, args), SECONDS],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, timeout=120, check=True)
    return [float(v) for v in done.stdout.split()]


def line(bench, case, value, unit, peer_value):
    known = peer_value is not None
    print(json.dumps({
        "bench": bench, "case": case, "value": value, "unit": unit,
        "peer": "ggml" if known else None,
        "peer_value": peer_value,
        "ratio": round(value / peer_value, 3) if known else None,
        "limit": None, "load": round(os.getloadavg()[0], 1)}), flush=True)


def products(peer):
    for kind in ("Q8_0", "Q4_0"):
        for n_out, n_in in SHAPES:
            for rows in (1, 32, 256):
                for threads in (1, 2):
                    args = (kind, n_out, n_in, rows, threads)
                    ours = measure(OURS, *args)
                    theirs = measure(peer, *args) if peer else None
                    case = f"{kind} {n_out}x{n_in} rows {rows}"
                    # One thread: CPU time, which others do not add to. Two:
                    # what a person waits for.
                    at = threads - 1
                    case += ", 2 threads" if at else ""
                    line("engine_products", case, ours[at],
                         "GOPS wall" if at else "GOPS per CPU second",
                         theirs[at] if theirs else None)
                    if rows == 256 and not at:
                        line("engine_products", case + ", back", ours[2],
                             "GOPS per CPU second", None)


def contention(peer):
    """Two threads beside a process that is always busy: wall time over that of
    two threads alone, and of one thread alone."""
    args = ("Q8_0", 1536, 576)
    for rows in (1, 256):
        quiet = {}
        for threads in (1, 2):
            quiet[threads] = [measure(p, *args, rows, threads)[1] if p else None
                              for p in (OURS, peer)]
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        time.sleep(0.2)
        try:
            held = [measure(p, *args, rows, 2)[1] if p else None
                    for p in (OURS, peer)]
        finally:
            busy.kill()
            busy.wait()
        for of in (2, 1):
            line("engine_contention", f"rows {rows}, beside a busy process",
                 round(held[0] / quiet[of][0], 3),
                 f"of {of} thread{'s' if of > 1 else ''} alone",
                 round(held[1] / quiet[of][1], 3) if peer else None)


def main():
    wanted = sys.argv[1:] or ["engine_products", "engine_contention"]
    peer = build_peer()
    if "engine_products" in wanted:
        products(peer)
    if "engine_contention" in wanted:
        contention(peer)


if __name__ == "__main__":
    main()
