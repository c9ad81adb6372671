#!/usr/bin/env python3
# variants: asan
"""A cross-encoder reads the best hits again: imported as a folder of Hugging
Face's and as GGUF, chosen, asked, measured and turned off, over a sealed store.

It is a BertForSequenceClassification of random numbers (seed 3), made here and
worked out here a second time, word by word, so that scores and order have a
reference.
"""
import json
import math
import os
import random
import re
import struct
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, tacit, write  # noqa: E402

D, FEED, HEADS, PLACES = 16, 24, 4, 96
NOTES = {
    "night": "Start warfarin with 5 mg at night.",
    "elderly": "Give 2 mg of warfarin to the elderly at night.",
    "inr": "Measure the warfarin level after three nights.",
    "wound": "Clean the wound with saline at night.",
    "pump": "The pump of warfarin stops at night.",
}
QUESTION = "how much warfarin at night"
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def words_of(text):
    return re.findall(r"\w+|[^\w\s]", text.lower())


WORDS = list(dict.fromkeys(MARKS + [
    w for t in list(NOTES.values()) + list(NOTES) + [QUESTION]
    for w in words_of(t)] + ["txt", "_", "-"]))


def shapes(outputs):
    yield "bert.embeddings.word_embeddings.weight", (len(WORDS), D)
    yield "bert.embeddings.position_embeddings.weight", (PLACES, D)
    yield "bert.embeddings.token_type_embeddings.weight", (2, D)
    yield "bert.embeddings.LayerNorm.weight", (D,)
    yield "bert.embeddings.LayerNorm.bias", (D,)
    at = "bert.encoder.layer.0."
    for name, shape in (("attention.self.query", (D, D)),
                        ("attention.self.key", (D, D)),
                        ("attention.self.value", (D, D)),
                        ("attention.output.dense", (D, D)),
                        ("intermediate.dense", (FEED, D)),
                        ("output.dense", (D, FEED))):
        yield at + name + ".weight", shape
        yield at + name + ".bias", shape[:1]
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        yield at + name + ".weight", (D,)
        yield at + name + ".bias", (D,)
    for name, rows in (("bert.pooler.dense", D), ("classifier", outputs)):
        yield name + ".weight", (rows, D)
        yield name + ".bias", (rows,)


class Network:
    """The files at `path`, and what they mean."""

    def __init__(self, path, outputs=1):
        draw = random.Random(3)
        self.path, self.v = path, {}
        header, data = {}, b""
        for name, shape in shapes(outputs):
            n = shape[0] * (shape[1] if len(shape) == 2 else 1)
            middle = 1 if "Norm.weight" in name else 0
            raw = struct.pack(f"<{n}f", *(middle + draw.gauss(0, .5)
                                          for _ in range(n)))
            flat = struct.unpack(f"<{n}f", raw)
            self.v[name] = (flat if len(shape) == 1 else
                            [flat[i * shape[1]:(i + 1) * shape[1]]
                             for i in range(shape[0])])
            header[name] = {"dtype": "F32", "shape": list(shape),
                            "data_offsets": [len(data), len(data) + 4 * n]}
            data += raw
        raw = json.dumps(header).encode()
        config = {"model_type": "bert", "num_hidden_layers": 1,
                  "architectures": ["BertForSequenceClassification"],
                  "id2label": {"0": "relevant"} if outputs == 1 else
                  {"0": "LABEL_0", "1": "LABEL_1"},
                  "hidden_size": D, "intermediate_size": FEED,
                  "num_attention_heads": HEADS, "vocab_size": len(WORDS),
                  "max_position_embeddings": PLACES, "hidden_act": "gelu",
                  "layer_norm_eps": 1e-12}
        write(os.path.join(path, "model.safetensors"),
              struct.pack("<Q", len(raw)) + raw + data)
        write(os.path.join(path, "config.json"), json.dumps(config))
        write(os.path.join(path, "vocab.txt"), "\n".join(WORDS) + "\n")

    def by(self, name, rows):
        w, b = self.v[name + ".weight"], self.v[name + ".bias"]
        return [[sum(x * y for x, y in zip(r, u)) + c for u, c in zip(w, b)]
                for r in rows]

    def norm(self, name, rows):
        gain, bias = self.v[name + ".weight"], self.v[name + ".bias"]
        out = []
        for r in rows:
            mean = sum(r) / D
            sd = math.sqrt(sum((x - mean)**2 for x in r) / D + 1e-12)
            out.append([(x - mean) / sd * g + b
                        for x, g, b in zip(r, gain, bias)])
        return out

    def attend(self, rows, at):
        q, k, v = (self.by(at + "attention.self." + n, rows)
                   for n in ("query", "key", "value"))
        wide, out = D // HEADS, [[0.] * D for _ in rows]
        for h in range(0, D, wide):
            for i, row in enumerate(q):
                z = [sum(row[h + t] * other[h + t] for t in range(wide)) /
                     math.sqrt(wide) for other in k]
                e = [math.exp(x - max(z)) for x in z]
                for t in range(wide):
                    out[i][h + t] = sum(x * r[h + t] for x, r in
                                        zip(e, v)) / sum(e)
        return self.by(at + "attention.output.dense", out)

    def score(self, question, passage):
        first = ["[CLS]"] + words_of(question) + ["[SEP]"]
        second = words_of(passage) + ["[SEP]"]
        e = "bert.embeddings."
        h = []
        for i, word in enumerate(first + second):
            rows = (self.v[e + "word_embeddings.weight"][WORDS.index(word)],
                    self.v[e + "position_embeddings.weight"][i],
                    self.v[e + "token_type_embeddings.weight"]
                    [int(i >= len(first))])
            h.append([sum(x) for x in zip(*rows)])
        h = self.norm(e + "LayerNorm", h)
        at = "bert.encoder.layer.0."
        add = [[x + y for x, y in zip(a, b)] for a, b in
               zip(h, self.attend(h, at))]
        h = self.norm(at + "attention.output.LayerNorm", add)
        wide = [[x * .5 * (1 + math.erf(x / math.sqrt(2))) for x in r]
                for r in self.by(at + "intermediate.dense", h)]
        add = [[x + y for x, y in zip(a, b)] for a, b in
               zip(h, self.by(at + "output.dense", wide))]
        h = self.norm(at + "output.LayerNorm", add)
        pooled = [[math.tanh(x) for x in r]
                  for r in self.by("bert.pooler.dense", h[:1])]
        return self.by("classifier", pooled)[0][0]


class Home:
    def __init__(self, at):
        self.at, self.home = at, os.path.join(at, "home")
        self.run("init").exits(0)
        for name, text in NOTES.items():
            write(os.path.join(at, "notes", name + ".txt"), text + "\n")
        self.run("add", os.path.join(at, "notes")).exits(0)
        self.network = Network(os.path.join(at, "judge"))
        self.run("model", "import", self.network.path).exits(0)

    def run(self, *words, **how):
        return tacit(*words, "--home", self.home, **how)

    def data(self, *words):
        return self.run(*words, "--json").exits(0).data

    def search(self, *words):
        return self.data("search", "--mode", "words", *words, QUESTION)


def names(found):
    return [os.path.basename(h["path"]) for h in found["hits"]]


# ---- cases ------------------------------------------------------------------

def case_hits_stand_in_the_order_of_the_reference():
    with folder() as at:
        home = Home(at)
        before = home.search()
        assert before["search"]["reranked"] == 0, before["search"]
        assert "rerank_score" not in before["hits"][0]
        shown = home.run("model", "use", "judge").exits(0)
        shown.prints("judge reads the best 20 hits again")
        after = home.search()
        hits = after["hits"]
        assert len(hits) == len(NOTES) == after["search"]["reranked"], after
        assert after["timings"]["reranker_ms"] > 0
        want = []
        for h in hits:
            passage = " ".join(x for x in (h["title"], h["heading"], h["text"])
                               if x)
            score = home.network.score(QUESTION, passage)
            assert abs(h["rerank_score"] - score) < 1e-4, (h, score)
            assert names(before)[h["rank_before_rerank"] - 1] == \
                os.path.basename(h["path"])
            want.append(score)
        assert want == sorted(want, reverse=True), want
        assert names(after) != names(before), names(after)
        # Two are read, the others stay behind them.
        two = home.search("--rerank", "2")
        assert sorted(names(two)[:2]) == sorted(names(before)[:2])
        assert names(two)[2:] == names(before)[2:]
        assert names(home.search("--rerank", "0")) == names(before)
        # Of the five that are read, the best one alone is asked for.
        assert names(home.search("-n", "1")) == names(after)[:1]
        home.run("search", QUESTION, "--explain").exits(0).prints(
            "read again by the reranker", "reranker ", "before it #")


def case_an_answer_is_refused_as_without_it():
    with folder() as at:
        home = Home(at)
        asked = ("What is the dose of warfarin for the elderly?",
                 "Who paints the chapel?")
        before = [home.run("ask", q, "--json") for q in asked]
        home.run("model", "use", "judge").exits(0)
        after = [home.run("ask", q, "--json") for q in asked]
        # With the same confidence in the refusal's message.
        assert after[1].exits(6).out == before[1].exits(6).out
        a, b = before[0].exits(0).data, after[0].exits(0).data
        assert a["threshold"] == b["threshold"]
        scores = {p["path"]: p["confidence"] for p in a["passages"]}
        assert scores == {p["path"]: p["confidence"] for p in b["passages"]}
        good = [p["rerank_score"] for p in b["passages"]
                if p["confidence"] >= b["threshold"]]
        assert good and good == sorted(good, reverse=True), b["passages"]
        assert all("rerank_score" in p for p in b["passages"])


def case_it_is_chosen_kept_and_turned_off():
    with folder() as at:
        home = Home(at)
        assert home.data("model", "use", "judge", "--rerank", "3") == {
            "reranks": "judge", "passages": 3}
        assert home.search()["search"]["reranked"] == 3
        home.run("model", "ls").exits(0).prints("  rerank ")
        assert home.data("model", "ls")["reranks"] == "judge"
        assert home.data("model", "show", "judge")["use"] == "rerank"
        home.run("model", "rm", "judge").exits(1).says(
            "model use none --as rerank")
        home.run("model", "use", "none", "--as", "rerank").exits(0)
        assert home.search()["search"]["reranked"] == 0
        home.run("search", "--rerank", "5", QUESTION).exits(1).says("E0737")
        home.run("model", "rm", "judge").exits(0)


def case_what_cannot_be_asked_of_it_is_said():
    with folder() as at:
        home = Home(at)
        for words in (["--rerank", "101"], ["--rerank", "-1"],
                      ["--rerank", "x"]):
            home.run("search", QUESTION, *words).exits(4)
        home.run("model", "use", "judge", "--as", "poet").exits(4)
        home.run("model", "use", "judge", "--rerank", "0").exits(4)
        home.run("model", "use", "judge", "--query-prefix", "q").exits(4)
        home.run("model", "use", "built-in", "--as", "rerank").exits(4)
        home.run("model", "use", "judge", "--as", "search", "--rerank",
                 "4").exits(4)
        Network(os.path.join(at, "classes"), outputs=2)
        home.run("model", "import", os.path.join(at, "classes")).exits(0)
        home.run("model", "use", "classes", "--as", "rerank").exits(1).says(
            "E0736", "2 outputs")
        home.run("model", "use", "classes").exits(1).says(
            "2 classes", "--as search")
        home.run("model", "use", "classes", "--as", "search").exits(0)


def case_as_gguf_it_is_the_same_one():
    with folder() as at:
        home = Home(at)
        home.run("model", "use", "judge").exits(0)
        want = home.search()
        out = os.path.join(at, "judge.gguf")
        home.run("model", "export", "judge", out).exits(0)
        with open(out, "rb") as f:
            raw = f.read()
        for name in (b"cls.weight", b"cls.bias", b"cls.output.weight",
                     b"cls.output.bias", b"bert.classifier.output_labels",
                     b"relevant"):
            assert name in raw, name
        home.run("model", "import", out, "--name", "again").exits(0)
        home.run("model", "use", "again").exits(0)
        got = home.search()
        assert [h["rerank_score"] for h in got["hits"]] == \
            [h["rerank_score"] for h in want["hits"]]
        home.run("model", "quantize", "judge", "f16").exits(0)
        home.run("model", "use", "judge-f16").exits(0)
        for a, b in zip(home.search()["hits"], want["hits"]):
            assert abs(a["rerank_score"] - b["rerank_score"]) < 2e-2


def case_a_collection_is_measured_with_it():
    with folder() as at:
        home = Home(at)
        beir = os.path.join(at, "beir")
        write(os.path.join(beir, "corpus.jsonl"), "".join(
            json.dumps({"_id": n, "title": "", "text": t}) + "\n"
            for n, t in NOTES.items()))
        write(os.path.join(beir, "queries.jsonl"),
              json.dumps({"_id": "q", "text": QUESTION}) + "\n")
        best = max(NOTES, key=lambda n: home.network.score(QUESTION, NOTES[n]))
        write(os.path.join(beir, "qrels", "test.tsv"),
              f"query-id\tcorpus-id\tscore\nq\t{best}\t1\n")
        words = ("eval", "retrieval", beir, "--mode", "words")
        plain = home.data(*words)
        assert "reranker" not in plain
        got = home.data(*words, "--reranker", "judge", "--rerank", "5")
        assert got["reranker"] == {"name": "judge", "passages": 5}, got
        assert got["modes"][0]["mrr"] == 1, (best, got)
        assert got["modes"][0]["rerank_ms"] > 0
        home.run(*words, "--rerank", "5").exits(1).says("E0737")
        home.run(*words, "--reranker", "judge").exits(0).prints(
            "read again by judge")


def case_answers_are_measured_with_it():
    with folder() as at:
        home = Home(at)
        csv = write(os.path.join(at, "asked.csv"),
                    f'question,answer\n"{QUESTION}",valve\n')
        words = ("eval", "answers", csv)
        assert "reranker" not in home.data(*words)
        home.run(*words, "--rerank", "5").exits(1).says("E0737")
        got = home.data(*words, "--reranker", "judge", "--rerank", "5")
        assert got["reranker"] == {"name": "judge", "passages": 5}, got
        home.data("model", "use", "judge", "--rerank", "3")
        assert home.data(*words)["reranker"]["passages"] == 3
        assert "reranker" not in home.data(*words, "--rerank", "0")
        home.run(*words).exits(0).prints("read again by judge")


def case_a_damaged_one_is_not_chosen():
    with folder() as at:
        home = Home(at)
        path = home.data("model", "show", "judge")["path"]
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) // 2)
        home.run("model", "use", "judge").exits(1)
        assert home.data("model", "ls")["reranks"] == "none"


if __name__ == "__main__":
    cases.run(globals())
