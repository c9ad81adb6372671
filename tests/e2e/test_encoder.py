#!/usr/bin/env python3
# variants: asan
"""tacit model use: an imported encoder searches this device's documents, and
the built-in one again; nothing that is damaged or removed is searched with.

The encoder is a BERT of random numbers (seed 7), made here: its vectors mean
nothing, but they are vectors like any other's.
"""
import json
import os
import random
import struct
import sys

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import folder, tacit, write  # noqa: E402

WIDTH, FEED, PLACES = 96, 64, 64
NOTES = {
    "dose.md": "# Warfarin\n\n## Dose\n\nStart warfarin with 5 mg at night. "
               "Give 2 mg to the elderly.\n\n## Review\n\nMeasure the INR "
               "after three days and after one week.\n",
    "wound.md": "# Wounds\n\nClean the wound with saline. Change the dressing "
                "every second day unless it is wet.\n",
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [
    w for n in NOTES.values() for w in sorted(set(
        "".join(c if c.isalnum() else " " for c in n.lower()).split()))] + [
    chr(c) for c in range(33, 127)] + [
    "##" + chr(c) for c in range(97, 123)]
WORDS = list(dict.fromkeys(WORDS))


def bert(width, layers=2):
    """(name, shape) of every tensor."""
    yield "embeddings.word_embeddings.weight", (len(WORDS), width)
    yield "embeddings.position_embeddings.weight", (PLACES, width)
    yield "embeddings.token_type_embeddings.weight", (2, width)
    yield "embeddings.LayerNorm.weight", (width,)
    yield "embeddings.LayerNorm.bias", (width,)
    for i in range(layers):
        at = f"encoder.layer.{i}."
        for name, shape in (("attention.self.query", (width, width)),
                            ("attention.self.key", (width, width)),
                            ("attention.self.value", (width, width)),
                            ("attention.output.dense", (width, width)),
                            ("intermediate.dense", (FEED, width)),
                            ("output.dense", (width, FEED))):
            yield at + name + ".weight", shape
            yield at + name + ".bias", shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            yield at + name + ".weight", (width,)
            yield at + name + ".bias", (width,)


def checkpoint(at, width=WIDTH, prompts=None):
    """A folder as transformers writes it; its path."""
    draw = random.Random(7)
    header, data = {}, b""
    for name, shape in bert(width):
        n = shape[0] * (shape[1] if len(shape) == 2 else 1)
        middle = 1 if "Norm.weight" in name else 0
        header[name] = {"dtype": "F32", "shape": list(shape),
                        "data_offsets": [len(data), len(data) + 4 * n]}
        data += struct.pack(f"<{n}f",
                            *(middle + draw.gauss(0, .2) for _ in range(n)))
    raw = json.dumps(header).encode()
    config = {"model_type": "bert", "num_hidden_layers": 2,
              "hidden_size": width, "intermediate_size": FEED,
              "num_attention_heads": 4, "vocab_size": len(WORDS),
              "max_position_embeddings": PLACES, "hidden_act": "gelu",
              "layer_norm_eps": 1e-12}
    write(os.path.join(at, "model.safetensors"),
          struct.pack("<Q", len(raw)) + raw + data)
    write(os.path.join(at, "config.json"), json.dumps(config))
    write(os.path.join(at, "vocab.txt"), "\n".join(WORDS) + "\n")
    if prompts:
        write(os.path.join(at, "config_sentence_transformers.json"),
              json.dumps({"prompts": prompts}))
    return at


class Home:
    def __init__(self, at):
        self.at, self.home = at, os.path.join(at, "home")
        self.notes = os.path.join(at, "notes")
        self.run("init").exits(0)
        for name, note in NOTES.items():
            write(os.path.join(self.notes, name), note)

    def run(self, *words, **how):
        return tacit(*words, "--home", self.home, **how)

    def data(self, *words):
        return self.run(*words, "--json").exits(0).data

    def take_in(self, name="tiny", **how):
        path = checkpoint(os.path.join(self.at, name), **how)
        return self.data("model", "import", path, "--name", name)

    def found(self, mode):
        hits = self.data("search", "--mode", mode, "dose of warfarin")
        return [(h["path"], h["lines"], h["cosine"]) for h in hits["hits"]]


# ---- cases ------------------------------------------------------------------

def case_an_imported_encoder_searches_and_the_built_in_one_again():
    with folder() as at:
        home = Home(at)
        home.run("add", home.notes).exits(0)
        before = home.found("vectors")
        built_in = home.data("status")["encoder"]
        assert built_in.pop("built_in_version").startswith("static-")
        assert built_in == {"name": "built-in", "numbers": 256,
                            "adapter_set_aside": False}, built_in
        home.take_in()
        used = home.data("model", "use", "tiny")
        assert used["numbers"] == WIDTH and used["stale_documents"] == 2, used
        # Until then words alone find them.
        home.run("search", "--mode", "vectors", "warfarin").exits(6)
        assert home.found("words")
        assert home.data("reindex")["replaced"] == 2
        assert home.data("reindex")["replaced"] == 0
        vectors = home.found("vectors")
        assert vectors and vectors != before, vectors
        home.run("doctor").exits(0)
        home.run("doctor", "--index").exits(0)
        assert home.found("vectors") == vectors
        answer = home.run("ask", "What is the dose of warfarin?")
        answer.exits(0).prints("5 mg", "dose.md")
        home.run("status").exits(0).prints("tiny, 96 numbers")
        home.run("model", "ls").exits(0).prints("USE", "  search ")
        assert home.data("model", "ls")["searches"] == "tiny"
        # A document that comes now gets its vector from it.
        write(os.path.join(home.notes, "new.md"), "Warfarin, the dose of.\n")
        home.run("add", home.notes).exits(0)
        assert len(home.found("vectors")) == len(vectors) + 1
        os.remove(os.path.join(home.notes, "new.md"))
        home.run("add", home.notes).exits(0)
        home.run("model", "use", "built-in").exits(0).prints("reindex")
        assert home.data("reindex")["replaced"] == 2
        assert home.found("vectors") == before
        home.run("doctor").exits(0)


def case_what_searches_is_not_removed():
    with folder() as at:
        home = Home(at)
        home.take_in()
        home.run("model", "use", "tiny").exits(0)
        home.run("model", "rm", "tiny").exits(1).says("model use built-in")
        home.run("model", "use", "built-in").exits(0)
        home.run("model", "rm", "tiny").exits(0)
        home.run("model", "use", "tiny").exits(1).says("model ls")


def case_a_damaged_encoder_says_the_ways_out():
    with folder() as at:
        home = Home(at)
        home.run("add", home.notes).exits(0)
        m = home.take_in()
        home.run("model", "use", "tiny").exits(0)
        home.run("reindex").exits(0)
        blob = os.path.join(home.home, "blobs", m["hash"])
        with open(blob, "rb") as f:
            whole = f.read()
        nan = whole[:-4096] + b"\xff" * 4096
        for bad in (whole[:len(whole) // 2], b"", nan):
            write(blob, bad)
            done = home.run("search", "dose of warfarin")
            done.exits(1).says("tiny", "model use built-in")
            done = home.run("reindex")
            assert done.status in (0, 1), done
            write(os.path.join(home.notes, "wound.md"), "Other. " * 9)
            home.run("add", home.notes).exits(1).says("model use built-in")
        os.remove(blob)
        home.run("ask", "dose of warfarin").exits(1).says("imported again")
        # The words are there, and the way out leads out.
        assert home.found("words")
        home.run("model", "use", "built-in").exits(0)
        home.run("reindex").exits(0)
        assert home.found("vectors")
        home.run("model", "rm", "tiny").exits(0)
        assert home.take_in()["hash"] == m["hash"]
        home.run("model", "use", "tiny").exits(0)
        home.run("reindex").exits(0)
        assert home.found("vectors")


def case_a_damaged_encoder_is_not_chosen():
    with folder() as at:
        home = Home(at)
        m = home.take_in()
        blob = os.path.join(home.home, "blobs", m["hash"])
        with open(blob, "rb") as f:
            whole = f.read()
        write(blob, whole[:-4096] + b"\xff" * 4096)
        home.run("model", "use", "tiny").exits(1).says("tiny")
        assert home.data("status")["encoder"]["name"] == "built-in"


def case_prefixes_are_those_of_the_person_the_files_or_the_name():
    with folder() as at:
        home = Home(at)
        home.run("add", home.notes).exits(0)
        home.take_in()
        home.take_in("e5-tiny")
        home.take_in("tiny-e50")
        home.take_in("said", prompts={"query": "ask: ", "document": "doc: "})

        def prefixes(*words):
            u = home.data("model", "use", *words)
            return u["question_prefix"], u["passage_prefix"]

        assert prefixes("tiny") == ("", "")
        assert prefixes("tiny-e50") == ("", "")
        assert prefixes("e5-tiny") == ("query: ", "passage: ")
        assert prefixes("said") == ("ask: ", "doc: ")
        home.run("reindex").exits(0)
        # The same choice leaves the vectors as they are; other prefixes do not.
        assert home.data("model", "use", "said")["stale_documents"] == 0
        said = home.data("model", "use", "said", "--passage-prefix", "x ")
        assert said["stale_documents"] == 2, said
        home.run("model", "use", "built-in", "--query-prefix", "x").exits(4)
        home.run("model", "use", "tiny", "--query-prefix",
                 "x" * 300).exits(4).says("255")


def case_a_choice_that_was_left_half_way_leaves_no_vectors_behind():
    with folder() as at:
        home = Home(at)
        home.run("add", home.notes).exits(0)
        home.take_in()
        home.take_in("wide", width=128)
        home.run("model", "use", "tiny").exits(0)
        home.run("reindex").exits(0)
        vectors = home.found("vectors")
        home.run("model", "use", "wide").exits(0)
        # Back without a reindex between: the vectors of "tiny" are gone.
        again = home.data("model", "use", "tiny")
        assert again["stale_documents"] == 2, again
        home.run("reindex").exits(0)
        assert home.found("vectors") == vectors


def case_what_is_not_there_is_not_chosen():
    with folder() as at:
        home = Home(at)
        done = home.run("model", "use", "absent")
        done.exits(1).says("model ls")
        assert home.data("status")["encoder"]["name"] == "built-in"


def case_a_collection_is_measured_with_it():
    with folder() as at:
        home = Home(at)
        home.take_in()
        write(os.path.join(at, "beir/corpus.jsonl"), "".join(
            json.dumps({"_id": name, "title": "", "text": text}) + "\n"
            for name, text in NOTES.items()))
        write(os.path.join(at, "beir/queries.jsonl"),
              json.dumps({"_id": "q", "text": "dose of warfarin"}) + "\n")
        write(os.path.join(at, "beir/qrels/test.tsv"),
              "query-id\tcorpus-id\tscore\nq\tdose.md\t1\n")
        beir = os.path.join(at, "beir")
        both = [home.data("eval", "retrieval", beir, "--mode", "vectors",
                          *more)["modes"][0]["recall"]
                for more in ((), ("--model", "tiny"))]
        assert both == [1, 1], both
        home.run("eval", "retrieval", beir, "--model", "none").exits(1)


if __name__ == "__main__":
    cases.run(globals())
