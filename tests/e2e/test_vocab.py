#!/usr/bin/env python3
"""Tokens and the text that a stream prints of them, beside the libraries that
own the formats, on 10,000 lines: Mistral's three models beside sentencepiece,
MiniLM's tokenizer.json beside tokenizers; then vocabularies that these
libraries train here (unigram, normalisers, byte-level BPE with the patterns of
Llama 3, Qwen 2 and SmolLM), on the same lines and on lines of random
characters.

    pip install sentencepiece tokenizers

in the Python that runs this, or in the one that TACIT_PEER_PYTHON names.
"""
import glob
import gzip
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.environ.get("TACIT_TEST_DATA",
                      os.path.join(HERE, "../../../shared/data"))
BUILD = os.path.dirname(os.environ.get("TACIT_BIN", "build/release/bin"))
OURS = os.path.join(BUILD, "tests/model/test_vocab")
N_LINES = 10000
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
          r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def skip(why):
    print(why)
    sys.exit(77)


def paragraphs():
    """Text of three languages, of medicine and of Shakespeare."""
    for language in ("de", "es", "en"):
        with gzip.open(f"{DATA}/squad/xquad.{language}.json.gz") as f:
            for article in json.load(f)["data"]:
                for p in article["paragraphs"]:
                    yield p["context"]
                    yield p["qas"][0]["question"]
    with gzip.open(f"{DATA}/medquad/medquad.jsonl.gz", "rt") as f:
        for i, line in enumerate(f):
            if i > 500:
                break
            for value in json.loads(line).values():
                if isinstance(value, str):
                    yield from value.split("\n")
    with gzip.open(f"{DATA}/tinyshakespeare/input.txt.gz", "rt") as f:
        for i, line in enumerate(f):
            if i > 2000:
                break
            yield line
    with gzip.open(f"{DATA}/scifact/corpus.jsonl.gz", "rt") as f:
        for line in f:
            row = json.loads(line)
            yield row["title"]
            yield from row["text"] if isinstance(row["text"], list) \
                else [row["text"]]


def real_lines():
    lines = []
    for p in paragraphs():
        p = " ".join(p.replace("\r", " ").split("\n"))
        if p.strip():
            lines.append(p)
        if len(lines) == N_LINES:
            break
    return lines


def odd_lines(words, n, newest):
    """Words and random characters up to a Unicode code point."""
    rnd = random.Random(7)
    blanks = " \t\u00a0\u3000\u2003\u200b\u200d\u2028\v\f\x85\0\ufeff\ufffd" \
             "\u2581"

    def character():
        while True:
            kind = rnd.random()
            if kind < .3:
                return chr(rnd.randrange(32, 127))
            if kind < .45:
                return rnd.choice(blanks)
            if kind < .7:
                return chr(rnd.randrange(0xa0, 0x600))
            c = rnd.randrange(0x600, newest)
            if not 0xd800 <= c < 0xe000:
                return chr(c)

    for _ in range(n):
        parts = []
        for _ in range(rnd.randrange(1, 12)):
            parts.append(rnd.choice(["", " ", "  "]))
            if rnd.random() < .5:
                parts.append(rnd.choice(words))
            else:
                parts.append("".join(character()
                                     for _ in range(rnd.randrange(1, 6))))
        yield "".join(parts).replace("\n", " ").replace("\r", " ")


# ---- the other Python ------------------------------------------------------

PEER = r"""
import sys, time
kind, path, text, out = sys.argv[1:5]
lines = open(text, encoding="utf-8", newline="\n").read().split("\n")[:-1]
start = time.process_time()
if kind == "spm":
    import sentencepiece
    p = sentencepiece.SentencePieceProcessor(model_file=path)
    ids = [p.EncodeAsIds(x) for x in lines]
    spent = time.process_time() - start
    text = [p.DecodeIds(x) for x in ids]
else:
    import tokenizers
    p = tokenizers.Tokenizer.from_file(path)
    p.no_truncation()
    p.no_padding()
    ids = [p.encode(x, add_special_tokens=False).ids for x in lines]
    spent = time.process_time() - start
    text = [p.decode(x) for x in ids]
with open(out, "w", encoding="utf-8", newline="\n") as f:
    for i, t in zip(ids, text):
        f.write(" ".join(map(str, i)) + "\t" + t + "\n")
n = sum(len(x.encode()) + 1 for x in lines)
print("%.1f" % (n / 1e6 / max(spent, 1e-9)))
"""

TRAIN = r"""
import sys
import sentencepiece
from tokenizers import (Regex, Tokenizer, models, normalizers, pre_tokenizers,
                        decoders, trainers)
text, folder, pattern = sys.argv[1:4]
for kind in ("unigram", "bpe"):
    for rule, more in (
            ("nmt_nfkc", {}),
            ("nfkc_cf", {"user_defined_symbols": ["<tool>", "XY"]}),
            ("identity", {"remove_extra_whitespaces": False,
                          "byte_fallback": True})):
        sentencepiece.SentencePieceTrainer.train(
            input=text, model_prefix=f"{folder}/{kind}-{rule}",
            vocab_size=1200, model_type=kind, normalization_rule_name=rule,
            minloglevel=2, num_threads=1, **more)
def split(p):
    return [pre_tokenizers.Split(Regex(p), "isolated", False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
level = pre_tokenizers.ByteLevel(add_prefix_space=False)
for name, steps, norm in (
        ("llama3", split(pattern), None),
        ("qwen2", split(pattern.replace("{1,3}", "")), normalizers.NFC()),
        ("gpt2", [level], None),
        ("smollm", [pre_tokenizers.Digits(individual_digits=True), level],
         None)):
    t = Tokenizer(models.BPE(ignore_merges=name == "llama3"))
    t.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if norm:
        t.normalizer = norm
    t.decoder = decoders.ByteLevel()
    t.train([text], trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    t.save(f"{folder}/{name}.json")
"""


def parts(line):
    """Numbers and text; a stream keeps the blank before the first word."""
    numbers, _, text = line.partition(b"\t")
    return numbers, text.lstrip(b" ")


def compare(python, kind, path, text, name):
    want = text + ".want"
    peer = subprocess.run([python, "-c", PEER, kind, path, text, want],
                          check=True, capture_output=True, text=True)
    ours = subprocess.run([OURS, kind, path, text], check=True,
                          capture_output=True)
    with open(want, "rb") as f:
        wanted = f.read().split(b"\n")
    got = ours.stdout.split(b"\n")
    bad = [i for i, (a, b) in enumerate(zip(got, wanted))
           if parts(a) != parts(b)]
    print(f"{name}: {len(wanted) - 1} lines, {len(bad)} differ; MB/s of CPU: "
          f"library {peer.stdout.strip()}, here "
          f"{ours.stderr.decode().strip()}")
    if bad or len(got) != len(wanted):
        print("  first:", bad[:1], got[bad[0]][:200] if bad else "",
              wanted[bad[0]][:200] if bad else "")
        return 1
    return 0


def peer_python():
    named = os.environ.get("TACIT_PEER_PYTHON")
    if named:
        return named
    for module in ("sentencepiece", "tokenizers"):
        if importlib.util.find_spec(module) is None:
            skip(f"Python's {module} is not here: pip install sentencepiece "
                 "tokenizers, or name a Python in TACIT_PEER_PYTHON")
    return sys.executable


def unpack(path, folder):
    out = os.path.join(folder, os.path.basename(path)[:-3])
    with gzip.open(path) as f, open(out, "wb") as g:
        g.write(f.read())
    return out


def main():
    if not os.path.isdir(f"{DATA}/tokenizers"):
        skip("test data tokenizers is not here")
    python = peer_python()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        lines = real_lines()
        assert len(lines) == N_LINES
        real, odd, few = (os.path.join(folder, n)
                          for n in ("real", "odd", "few"))
        words = " ".join(lines[::7]).split()
        # What the tokenizers library takes for punctuation, marks and
        # unassigned is of an older Unicode: odd lines stop before Arabic there.
        for path, text in ((real, lines), (few, lines[::5]),
                           (odd, odd_lines(words, 2000, 0x110000)),
                           (odd + "-old", odd_lines(words, 2000, 0x61c))):
            with open(path, "w", encoding="utf-8", newline="\n") as f:
                f.writelines(x + "\n" for x in text)
        for path in sorted(glob.glob(f"{DATA}/tokenizers/mistral*.gz")):
            failed += compare(python, "spm", unpack(path, folder), real,
                              os.path.basename(path))
        path = unpack(f"{DATA}/tokenizers/all-MiniLM-L6-v2-tokenizer.json.gz",
                      folder)
        failed += compare(python, "json", path, real, "MiniLM")
        failed += compare(python, "json", path, odd + "-old", "MiniLM, odd")
        subprocess.run([python, "-c", TRAIN, few, folder, LLAMA3], check=True,
                       capture_output=True)
        for path in sorted(glob.glob(f"{folder}/*")):
            kind = {".model": "spm", ".json": "json"}.get(
                os.path.splitext(path)[1])
            if not kind or "instruct" in path or "tokenizer" in path:
                continue
            name = os.path.basename(path)
            failed += compare(python, kind, path, few, name)
            failed += compare(python, kind, path, odd, name + ", odd")
    print("failed" if failed else "ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
