#!/usr/bin/env python3
"""lm_spec: decoding with guesses from the prompt (n-gram look-up) over decoding
without, of answers to retrieval prompts.

The network has random weights of SmolLM2-135M's shape, and so does not answer:
the text of each answer is given, and a pass costs what it costs. The prompts
are the passages that `tacit ask` finds; the answers are

  quotes       what `tacit ask` quotes, with its citations: an answer that keeps
               close to the passages, held-out questions of the four sites in
               sims/clinic
  conclusions  what the authors conclude from their own abstract, in words of
               their own: PubMedQA

40 questions each, or TACIT_SPEC_CASES. Tokens are those of Phi-3's vocabulary.
Without the test data: skipped.
"""
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile

BUILD = os.environ.get("TACIT_BUILD", "build/release")
DATA = os.environ.get("TACIT_TEST_DATA", "../shared/data")
FILES = "build/netbench"
CASES = int(os.environ.get("TACIT_SPEC_CASES", "40"))


def say(text):
    print("#", text, file=sys.stderr, flush=True)


def model():
    path = f"{FILES}/135m-Q8_0-tiles.gguf"
    if not os.path.exists(path):
        os.makedirs(FILES, exist_ok=True)
        subprocess.run([f"{BUILD}/bench/engine_net", "make", "135m", "Q8_0",
                        "tiles", path], check=True)
    return path


def unpacked(name):
    with gzip.open(f"{DATA}/{name}.gz") as f:
        return f.read()


def prompt_of(passages, question):
    told = "\n\n".join(f"[{i + 1}] {p}" for i, p in enumerate(passages))
    return ("Answer from these passages, and cite each as [n].\n\n" + told +
            f"\n\nQuestion: {question}\nAnswer: ")


def tacit(home, *words):
    done = subprocess.run([f"{BUILD}/bin/tacit", *words, "--home", home],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    return done.returncode, done.stdout


def quotes():
    cases = []
    for site in ("harbour", "hillcrest", "lakeside", "northgate"):
        with tempfile.TemporaryDirectory() as home:
            tacit(home, "init", "--key", "none")
            tacit(home, "add", f"sims/clinic/{site}/documents")
            with open(f"sims/clinic/{site}/questions.csv",
                      encoding="utf-8") as f:
                rows = [r for r in csv.DictReader(f) if r["split"] == "test"]
            found = []
            for row in rows:
                status, out = tacit(home, "ask", "--json", "--extract",
                                    "--threshold", "0", row["question"])
                if status:
                    continue
                said = json.loads(out)["data"]
                told = [p["text"] for p in said["passages"][:5]]
                answer = " ".join(f"{s['text']} [{s['citation']}]"
                                  for s in said["sentences"])
                found.append((prompt_of(told, row["question"]), answer))
            cases += found[:CASES // 4]
    return cases


def conclusions():
    rows = json.loads(unpacked("pubmedqa/ori_pqal.json"))
    cases = []
    for key in sorted(rows)[:CASES]:
        row = rows[key]
        cases.append((prompt_of(row["CONTEXTS"], row["QUESTION"]),
                      row["LONG_ANSWER"]))
    return cases


def measure(name, cases, vocabulary, at):
    path = os.path.join(at, name)
    with open(path, "wb") as f:
        f.write(b"\x1e".join(p.encode() + b"\x1f" + a.encode()
                             for p, a in cases))
    figures = {}
    for guesses in (0, 3):
        done = subprocess.run(
            [f"{BUILD}/bench/engine_spec", model(), vocabulary, path,
             str(guesses), "1"], stdout=subprocess.PIPE, text=True,
            timeout=3600, check=True)
        figures[guesses] = [float(x) for x in done.stdout.split()]
    plain, guessed = figures[0][0], figures[3][0]
    _, _, tokens, passes, tried, right = figures[3]
    print(json.dumps({
        "bench": "lm_spec", "case": f"{name}, threads 1",
        "value": round(guessed, 2), "unit": "tokens per CPU second",
        "peer": "the same without guesses", "peer_value": round(plain, 2),
        "ratio": round(guessed / plain, 3),
        "limit": 1.3 if name == "quotes" else None,
        "tokens_per_pass": round(tokens / passes, 3),
        "guesses_right": round(right / max(tried, 1), 3),
        "load": round(os.getloadavg()[0], 1)}), flush=True)


def main():
    packed = f"{DATA}/tokenizers/ggml-vocab-phi-3.gguf.gz"
    if not os.path.exists(packed):
        say("lm_spec: the test data is not here")
        return
    with tempfile.TemporaryDirectory() as at:
        vocabulary = os.path.join(at, "vocabulary.gguf")
        with open(vocabulary, "wb") as f:
            f.write(unpacked("tokenizers/ggml-vocab-phi-3.gguf"))
        measure("quotes", quotes(), vocabulary, at)
        if os.path.exists(f"{DATA}/pubmedqa/ori_pqal.json.gz"):
            measure("conclusions", conclusions(), vocabulary, at)


if __name__ == "__main__":
    main()
