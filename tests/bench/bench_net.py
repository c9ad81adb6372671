#!/usr/bin/env python3
"""Whole networks of real shapes: prefill_vs_llamacpp, decode_vs_llamacpp,
decode_batch, embed_vs_llamacpp, embed_vs_torch, first_token_ms,
first_token_mib, contention, lora_vs_torch, lora_mem_vs_torch,
encoder_ft_vs_torch, encoder_ft_mem_vs_torch, engine_code_kib; engine: all of
them.

    bench_net.py [ID]

Weights are random, of the shapes of SmolLM2-135M, TinyLlama-1.1B and MiniLM-L6.
The peers run in the same call: llama.cpp's llama-bench on the same GGUF, where
TACIT_PEER_LLAMACPP names its folder with a `build`; PyTorch, where
TACIT_PEER_PYTHON (or this Python) has it. Files are kept in build/netbench.
TACIT_PEER_LLAMACPP_AVX2 names a folder with llama.cpp's libraries built without
AVX-512, for the cases that restrict both to AVX2. TACIT_NET_SMALL=1 leaves out
the shape of 1.1 billion.
"""
import json
import os
import resource
import subprocess
import sys
import time

BUILD = os.environ.get("TACIT_BUILD", "build/release")
OURS = f"{BUILD}/bench/engine_net"
FILES = "build/netbench"
TOKENS, ANSWER, SENTENCES = 256, 48, 16
PROMPT, STEPS = 16, 32
BATCHES = (1, 4, 8, 16)
SECONDS = 2
DECODERS = ["135m"] if os.environ.get("TACIT_NET_SMALL") else ["135m", "1b"]


def say(text):
    print("#", text, file=sys.stderr, flush=True)


def line(bench, case, value, unit, peer=None, peer_value=None, limit=None,
         less=False):
    """less: a smaller value is the better one."""
    ratio = None
    if peer_value:
        ratio = round(peer_value / value if less else value / peer_value, 3)
    print(json.dumps({
        "bench": bench, "case": case, "value": round(value, 3), "unit": unit,
        "peer": peer if peer_value else None, "peer_value": peer_value,
        "ratio": ratio, "limit": limit, "group": "engine",
        "load": round(os.getloadavg()[0], 1)}), flush=True)


def model(shape, kind, form="rows"):
    path = f"{FILES}/{shape}-{kind}-{form}.gguf"
    if not os.path.exists(path):
        os.makedirs(FILES, exist_ok=True)
        subprocess.run([OURS, "make", shape, kind, form, path], check=True)
    return path


def ours(work, path, count, threads, seconds=SECONDS, avx2=False):
    """By CPU time, by wall time, peak MiB."""
    done = subprocess.run([OURS, work, path, str(count), str(threads),
                           str(seconds)], stdout=subprocess.PIPE, text=True,
                          timeout=600, check=True,
                          env=dict(os.environ, TACIT_KERNELS="avx2")
                          if avx2 else None)
    return [float(v) for v in done.stdout.split()]


def llama_bench():
    where = os.environ.get("TACIT_PEER_LLAMACPP")
    if not where:
        return None
    where = where.rpartition(":")[2]
    for path in (f"{where}/build/bin/llama-bench", f"{where}/llama-bench"):
        if os.path.exists(path):
            return path
    return None


def children_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def llama(path, threads, turns, *options, libraries=None, limit_s=900):
    """One run of llama-bench: its tests, and the CPU time of all of it."""
    before = children_s()
    try:
        done = subprocess.run(
            [llama_bench(), "-m", path, "-t", str(threads), "-r", str(turns),
             "-o", "json", *options], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, timeout=limit_s, check=False,
            env=dict(os.environ, LD_LIBRARY_PATH=libraries)
            if libraries else None)
    except subprocess.TimeoutExpired:
        say(f"llama-bench takes over {limit_s} s for {path}")
        return None, 0
    if done.returncode:
        say(f"llama-bench cannot run {path}")
        return None, 0
    return json.loads(done.stdout), children_s() - before


def theirs(path, threads, work, count, libraries=None):
    """Tokens per second of llama-bench and its name. One thread: by CPU time,
    which others do not add to: what four more turns take. Two: the best turn by
    the wall clock."""
    if not llama_bench():
        return None, None
    options = ("-p", "0", "-n", str(count)) if work == "decode" else \
        ("-p", str(count), "-n", "0")
    if work == "embed":
        options += ("-embd", "1")
    tests, long = llama(path, threads, 6 if threads == 1 else 5, *options,
                        libraries=libraries)
    if not tests:
        return None, None
    name = "llama.cpp " + tests[0]["build_commit"]
    if threads > 1:
        return max(tests[0]["samples_ts"]), name
    _, short = llama(path, threads, 2, *options, libraries=libraries)
    return round(4 * count / (long - short), 3), name


def clock(threads):
    return "CPU second" if threads == 1 else "second"


def decoders(bench, work, count):
    for shape in DECODERS:
        for kind in ("Q8_0", "Q4_0"):
            path = model(shape, kind)
            for threads in (1, 2):
                value, name = theirs(path, threads, work, count)
                limit = 1
                if work == "prefill":
                    limit = 2 if kind == "Q8_0" else 1.6
                line(bench, f"{shape} {kind}, threads {threads}",
                     ours(work, path, count, threads)[threads - 1],
                     "tokens per " + clock(threads), name, value, limit)


def batch_of_theirs(path, count, steps):
    """CPU seconds of llama-batched-bench, one thread, or None."""
    program = os.path.join(os.path.dirname(llama_bench() or ""),
                           "llama-batched-bench")
    if not llama_bench() or not os.path.exists(program):
        return None
    before = children_s()
    done = subprocess.run(
        [program, "-m", path, "-c", str(count * 2 * (PROMPT + 4 * STEPS)),
         "-npp", str(PROMPT), "-ntg", str(steps), "-npl", str(count), "-t",
         "1", "-tb", "1"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, timeout=900, check=False)
    return children_s() - before if done.returncode == 0 else None


def decode_batch():
    """A token of each of several sequences in one pass; one thread."""
    path = model("135m", "Q8_0")
    for count in BATCHES:
        value = ours("decode_batch", path, count, 1)[0]
        theirs_s = None
        long = batch_of_theirs(path, count, 3 * STEPS)
        short = batch_of_theirs(path, count, STEPS) if long else None
        if short and long > short:
            theirs_s = round(2 * STEPS * count / (long - short), 3)
        line("decode_batch", f"135m Q8_0, {count} at once, threads 1", value,
             "tokens per CPU second", "llama.cpp", theirs_s, 1)


def prefill():
    decoders("prefill_vs_llamacpp", "prefill", TOKENS)
    libraries = os.environ.get("TACIT_PEER_LLAMACPP_AVX2")
    for kind in ("Q8_0", "Q4_0"):
        path = model("135m", kind)
        value, name = theirs(path, 1, "prefill", TOKENS, libraries) \
            if libraries else (None, None)
        line("prefill_vs_llamacpp", f"135m {kind}, threads 1, AVX2",
             ours("prefill", path, TOKENS, 1, avx2=True)[0],
             "tokens per " + clock(1), name and name + " AVX2", value, 1.3)


def embed():
    """The peer gets sentences of 128 tokens, or four of them in one sequence
    where that is faster."""
    for kind in ("Q8_0", "Q4_0", "F16"):
        path = model("minilm", kind)
        for threads in (1, 2):
            peers = [theirs(path, threads, "embed", n) for n in (128, 512)]
            value, name = max(peers, key=lambda p: p[0] or 0)
            line("embed_vs_llamacpp", f"minilm {kind}, threads {threads}",
                 ours("embed", path, SENTENCES, threads)[threads - 1],
                 "sentences per " + clock(threads), name,
                 value and round(value / 128, 3), 2.5)
    for threads in (1, 2):
        for lengths in ("even", "mixed"):
            work = "embed" if lengths == "even" else "embed_mixed"
            peers = {k: torch(work, k, SENTENCES, threads)
                     for k in ("f32", "bf16")}
            for kind in ("F16", "Q8_0"):
                value = ours(work, model("minilm", kind), SENTENCES,
                             threads)[threads - 1]
                for k, p in peers.items():
                    line("embed_vs_torch", f"minilm {kind}, {lengths} lengths, "
                         f"threads {threads}, beside {k}", value,
                         "sentences per " + clock(threads),
                         "transformers, mean pooled", p and p[threads - 1],
                         2.5)


def first_token():
    for form in ("tiles", "rows"):
        path = model("135m", "Q8_0", form)
        cpu, wall, peak = ours("first", path, 1, 1, 0.2)
        what = "as imported" if form == "tiles" else "plain GGUF"
        line("first_token_ms", f"135m Q8_0, {what}", wall * 1e3, "ms",
             limit=300)
        line("first_token_ms", f"135m Q8_0, {what}, CPU time", cpu * 1e3, "ms",
             limit=300)
        line("first_token_mib", f"135m Q8_0, {what}: peak less its weights",
             peak - os.path.getsize(path) / 2**20, "MiB", limit=64)


def contention():
    path = model("135m", "Q8_0")
    for work, count in (("prefill", TOKENS), ("decode", ANSWER)):
        def wall(threads):
            tests, _ = llama(path, threads, 3, "-p",
                             str(count if work == "prefill" else 0), "-n",
                             str(count if work == "decode" else 0),
                             limit_s=90) if llama_bench() else (None, 0)
            return (ours(work, path, count, threads)[1],
                    tests and max(tests[0]["samples_ts"]))
        quiet = {threads: wall(threads) for threads in (1, 2)}
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        time.sleep(0.2)
        try:
            held = wall(2)
        finally:
            busy.kill()
            busy.wait()
        for threads, limit in ((2, 0.5), (1, 1)):
            both = held[1] and quiet[threads][1]
            peer = round(held[1] / quiet[threads][1], 3) if both else None
            line("contention", f"135m Q8_0 {work}, over {threads} alone",
                 held[0] / quiet[threads][0], "share", "llama.cpp", peer, limit)


def torch(work, kind, count, threads):
    python = os.environ.get("TACIT_PEER_PYTHON", sys.executable)
    done = subprocess.run(
        [python, "tests/bench/peer_torch_net.py", work, kind, str(count),
         str(threads), str(SECONDS)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, timeout=600, check=False)
    if done.returncode:
        return None
    return [float(v) for v in done.stdout.split()]


def training(bench, work, shape, kind, count, unit, limits):
    """By CPU time on one thread: both programs tell it."""
    cpu, _, peak = ours(work, model(shape, kind, "tiles"), count, 1)
    exact, _, _ = ours(work + "_f32", model(shape, kind, "tiles"), count, 1)
    _, wall, _ = ours(work, model(shape, kind, "tiles"), count, 2)
    peer = {k: torch(work, k, count, 1) for k in ("f32", "bf16")}
    best = max((p for p in peer.values() if p), default=None)
    for k, p in peer.items():
        for what, value in (("bf16", cpu), ("f32", exact)):
            line(f"{bench}_vs_torch",
                 f"{shape} {kind}, {what} beside PyTorch {k}", value,
                 f"{unit} per CPU second", "PyTorch", p and p[0], limits[0])
    two = torch(work, "bf16" if best and best == peer["bf16"] else "f32",
                count, 2)
    line(f"{bench}_vs_torch", f"{shape} {kind}, 2 threads", wall,
         f"{unit} per second", "PyTorch", two and two[1], limits[0])
    line(f"{bench}_mem_vs_torch", f"{shape} {kind}", peak, "MiB", "PyTorch",
         best and min(p[2] for p in peer.values() if p), limits[1], less=True)


def code():
    """What a network needs: the code of tensor and model, without retrieval and
    without the weights of the built-in encoder and reader."""
    total = 0
    for folder in ("base", "tensor", "model"):
        done = subprocess.run(["size", "-t",
                               f"{BUILD}/libcommon_{folder}.a"],
                              stdout=subprocess.PIPE, text=True, check=True)
        total += int(done.stdout.split("\n")[-2].split()[0])
    for weights in ("encoder.gguf", "reader.safetensors"):
        total -= os.path.getsize(f"models/{weights}")
    line("engine_code_kib", "base, tensor and model", total / 1024, "KiB",
         limit=1024)


WORK = {
    "prefill_vs_llamacpp": prefill,
    "decode_vs_llamacpp":
        lambda: decoders("decode_vs_llamacpp", "decode", ANSWER),
    "decode_batch": decode_batch,
    "embed_vs_llamacpp": embed,
    "embed_vs_torch": embed,
    "first_token_ms": first_token,
    "first_token_mib": first_token,
    "contention": contention,
    "lora_vs_torch":
        lambda: training("lora", "lora", "135m", "Q8_0", 2, "tokens", (1, 5)),
    "encoder_ft_vs_torch":
        lambda: training("encoder_ft", "tune", "minilm", "F32", 8, "sentences",
                         (1.5, 3)),
    "engine_code_kib": code,
}


def main():
    wanted = sys.argv[1:]
    if not wanted or wanted == ["engine"]:
        wanted = list(WORK)
    done = []
    for name in wanted:
        work = WORK.get(name.replace("_mem_vs_", "_vs_"))
        if work and work not in done:
            work()
        done.append(work)


if __name__ == "__main__":
    main()
