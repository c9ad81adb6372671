#!/usr/bin/env python3
"""The texts from which the built-in encoder was distilled, a text on each line.

    python3 models/texts.py DATA WORDNET OUT

DATA     a folder with medquad, pubmedqa and stsb as tests have them
WORDNET  /usr/share/wordnet of Debian's wordnet-base (WordNet 3.0)
OUT      a folder; its .txt files are written anew

Which texts are taken hangs on one seed alone. Left out are all questions of
MedQuAD and the official test half of PubMedQA, and the development and test
parts of STS-B; no text of SciFact, Cranfield, MEDLARS or SQuAD is read.
"""
import csv
import gzip
import json
import os
import random
import re
import sys

SEED = 7
SENTENCES, PASSAGES, GLOSSES = 38000, 3500, 92000
PASSAGE_WORDS, ANSWER_WORDS = 120, 480
END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])|\n+")


def clean(text):
    return re.sub(r"\s+", " ", text).strip(" -")


def put(folder, name, texts):
    """Texts worth a line, each once, in their order."""
    texts = dict.fromkeys(t for t in map(clean, texts) if len(t) >= 12)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.writelines(t + "\n" for t in texts)
    print(f"{name}: {len(texts)} texts, "
          f"{sum(len(t.split()) for t in texts)} words")


def draw(texts, n):
    """n of them, in their own order."""
    texts = list(dict.fromkeys(texts))
    mixed = texts[:]
    random.shuffle(mixed)
    chosen = set(mixed[:n])
    return [t for t in texts if t in chosen]


def medquad(data):
    """Sentences and passages of the answers."""
    sentences, passages = [], []
    with gzip.open(os.path.join(data, "medquad/medquad.jsonl.gz"), "rt",
                   encoding="utf-8") as f:
        for line in f:
            answer = json.loads(line)["answer"]
            sentences += [s for s in map(clean, END.split(answer))
                          if 25 < len(s) < 400]
            words = clean(answer).split()
            passages += [" ".join(words[i:i + PASSAGE_WORDS])
                         for i in range(0, min(len(words), ANSWER_WORDS),
                                        PASSAGE_WORDS)
                         if len(words) - i > PASSAGE_WORDS // 2]
    return draw(sentences, SENTENCES), draw(passages, PASSAGES)


def pubmedqa(data):
    """Questions, conclusions and abstracts of the half that is not tested."""
    with gzip.open(os.path.join(data, "pubmedqa/ori_pqal.json.gz"), "rt",
                   encoding="utf-8") as f:
        papers = json.load(f)
    with open(os.path.join(data, "pubmedqa/test_ground_truth.json"),
              encoding="utf-8") as f:
        tested = set(json.load(f))
    sentences, abstracts = [], []
    for key, paper in papers.items():
        if key in tested:
            continue
        sentences += [paper["QUESTION"], *END.split(paper["LONG_ANSWER"])]
        for context in paper["CONTEXTS"]:
            sentences += END.split(context)
            abstracts.append(" ".join(context.split()[:130]))
    return [s for s in sentences if 20 < len(s) < 500] + abstracts


def stsb(data):
    with gzip.open(os.path.join(data, "stsb/stsb-en-train.csv.gz"), "rt",
                   encoding="utf-8") as f:
        return [s for row in csv.reader(f) for s in row[:2]]


def wordnet(folder):
    """Each sense as "word: its definition", and its examples."""
    texts = []
    for part in ("noun", "verb", "adj", "adv"):
        with open(os.path.join(folder, "data." + part), encoding="utf-8",
                  errors="replace") as f:
            for line in f:
                if line.startswith("  "):  # the licence
                    continue
                head, gloss = line.split(" | ", 1)
                word = re.sub(r"\(.*\)", "", head.split()[4])
                gloss = gloss.strip()
                definition = gloss.split('; "')[0]
                texts.append(f"{word.replace('_', ' ')}: {definition}")
                texts += re.findall(r'"([^"]{20,})"', gloss)
    return draw(texts, GLOSSES)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    data, words, out = sys.argv[1:]
    random.seed(SEED)
    os.makedirs(out, exist_ok=True)
    sentences, passages = medquad(data)
    put(out, "medquad-sentences.txt", sentences)
    put(out, "medquad-passages.txt", passages)
    put(out, "pubmedqa.txt", pubmedqa(data))
    put(out, "stsb-train.txt", stsb(data))
    put(out, "wordnet.txt", wordnet(words))


if __name__ == "__main__":
    main()
