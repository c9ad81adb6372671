#!/usr/bin/env python3
"""Search, answers and their evaluation, from the command line: conditions,
reasons, sources that open, refusals, questions that nobody should ask.
"""
# variants: asan
import contextlib
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import cases  # noqa: E402
from cases import begin, finish, folder, tacit, write  # noqa: E402

PUMP = """# Pumps

## Cleaning

The infusion pump is cleaned with soap and warm water every evening. The nurse
on call signs the list.

## Alarm

When the pump gives an alarm, the line is checked for air first.
"""
KITCHEN = "The kitchen closes at nine in the evening on Sundays.\n"
GERMAN = "Die Pumpen werden im Keller gereinigt und dann ist alles gut.\n"


@contextlib.contextmanager
def site():
    with folder() as at:
        home = os.path.join(at, "home")
        docs = os.path.join(at, "docs")
        write(os.path.join(docs, "pumps.md"), PUMP)
        write(os.path.join(docs, "kitchen.txt"), KITCHEN)
        write(os.path.join(docs, "keller.txt"), GERMAN)

        def run(*words, **how):
            return tacit("--home", home, *words, **how)
        run("init", "-q").exits(0)
        run("add", docs, "-q").exits(0)
        yield at, docs, run


def names(done):
    return [os.path.basename(h["path"]) for h in done.data["hits"]]


def case_conditions_narrow_what_is_found():
    with site() as (_, docs, run):
        def found(*words):
            done = run("search", "pump pumpen evening", "--json", *words)
            return set(names(done)) if done.status == 0 else done.status
        assert found() == {"pumps.md", "kitchen.txt", "keller.txt"}
        assert found("--in", "*.md") == {"pumps.md"}
        assert found("--type", "text") == {"kitchen.txt", "keller.txt"}
        assert found("--where", "lang=de") == {"keller.txt"}
        assert found("--where", "title=P*", "--where", "heading=*lean*") == \
            {"pumps.md"}
        assert found("--since", "2020-01-01") == found()
        assert found("--until", "2020-01-01") == 6
        write(os.path.join(docs, "by.md"), "---\nauthor: Mara Lindt\n---\n"
              "# Pump\n\nA pump is heavy in the evening.\n")
        write(os.path.join(docs, "wards.csv"), "pump,ward\nblue,4B\n")
        run("add", docs, "-q").exits(0)
        assert found("--where", "author=mara*") == {"by.md"}
        assert found("--where", "ward=4b") == {"wards.csv"}
        assert found("--where", "ward=9") == 6
        for words in (["--where", "autor=x"], ["--where", "x"],
                      ["--since", "yesterday"], ["--until", "2026-02-30"],
                      ["--type", "words"], ["--where", "kind=words"]):
            done = run("search", "x", "--json", *words).exits(4)
            assert done.code == "TACIT-E0222", done
        for words in (["--mode", "x"], ["--diversity", "2"],
                      ["--diversity", "x"], ["--by-confidence", "-n", "50"]):
            run("search", "x", *words).exits(4)
        for mode in ("words", "vectors", "hybrid"):
            run("search", "pump", "--mode", mode).exits(0).prints("pumps.md")
        run("search", "pump", "--by-confidence", "--diversity", "0.5").exits(0)


def case_an_answer_says_why_and_how_long():
    with site() as (_, docs, run):
        done = run("ask", "how is the infusion pump cleaned", "--json")
        data = done.exits(0).data
        assert "soap" in data["sentences"][0]["text"], data
        cited = data["citations"][0]
        assert cited["heading"] == "Cleaning" and cited["pages"] == [0, 0], data
        assert cited["snippet"].startswith("The infusion pump"), data
        best = data["passages"][0]
        assert best["citation"] == 1 and best["rank_words"] == 1, data
        assert best["bm25"] > 0 and best["confidence"] == data["confidence"]
        assert set(best["evidence"]) == {"sentence", "passage", "cosine",
                                         "gain", "about", "answers"}, best
        assert abs(best["confidence"] - best["evidence"]["about"] *
                   best["evidence"]["answers"]) < 1e-9, best
        assert data["search"]["terms"] == ["infusion", "pump", "cleaned"], data
        assert data["search"]["languages"] == ["en", "de"], data
        assert data["search"]["fused_by"] == "scores", data
        for name in ("embed_ms", "words_ms", "vectors_ms", "search_ms",
                     "rerank_ms", "write_ms"):
            assert data["timings"][name] >= 0, data
        run("ask", "how is the infusion pump cleaned", "--explain").exits(0) \
            .prints("words #1 (BM25", "cosine", "confidence", "fused by scores",
                    "stemmed as en de")
        run("search", "pump", "--explain").exits(0).prints("BM25", "candidates")


def case_sources_of_the_last_answer_open():
    with site() as (_, docs, run):
        done = run("open", "1", "--json").exits(1)
        assert done.code == "TACIT-E0242", done
        run("ask", "how is the infusion pump cleaned").exits(0)
        path = os.path.join(docs, "pumps.md")
        quiet = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
        done = run("open", "1", env=quiet).exits(0)
        assert done.out == f"{path}:5\n", done
        assert run("open", "1", "--json").exits(0).data == {
            "number": 1, "path": path, "page": 0, "line": 5}
        run("open", "7", env=quiet).exits(1)
        for word in ("0", "-1", "x", "1x", ""):
            run("open", "--", word).exits(4)
        os.unlink(path)
        done = run("open", "1", "--json").exits(1)
        assert done.code == "TACIT-E0201", done


def case_a_passage_is_shown_where_the_words_stand():
    with site() as (_, docs, run):
        rest = "The corridor is quiet and the lamps are lit at night. " * 9
        path = write(os.path.join(docs, "long.md"),
                     f"{rest}The ocelot sleeps in drawer nine.\n")
        run("add", path, "-q").exits(0)
        run("search", "ocelots").exits(0).prints(
            "    …", "ocelot sleeps in drawer nine.\n")
        done = run("search", "corridor", "lamps").exits(0)
        done.prints("    The corridor is quiet", "…\n")
        run("search", "ocelot", "--type", "pdf").exits(6).says("conditions")


def case_a_name_is_never_a_command():
    with site() as (at, docs, run):
        mark = os.path.join(at, "was-here")
        opener = write(os.path.join(at, "bin/xdg-open"),
                       f"#!/bin/sh\nprintf '%s' \"$1\" > '{mark}'\n")
        os.chmod(opener, 0o755)
        evil = write(os.path.join(docs, "$(touch x); `id` & '.md"),
                     "# Zebra\n\nThe zebra is fed at seven by the keeper.\n")
        run("add", docs, "-q").exits(0)
        run("ask", "when is the zebra fed").exits(0)
        run("open", "1", cwd=at, env={
            "DISPLAY": ":9", "PATH": f"{at}/bin:{os.environ['PATH']}"}).exits(0)
        with open(mark, encoding="utf-8") as f:
            assert f.read() == evil
        assert not os.path.exists(os.path.join(at, "x"))


def case_what_nobody_knows_is_refused():
    with site() as (_, _, run):
        for words in ("who won the chess championship", "zanzibar",
                      "what is it", "the of and"):
            done = run("ask", words, "--json").exits(6)
            assert done.code == "TACIT-E0230", done
        run("ask", "zanzibar", "--explain").exits(6).prints("needed confidence")


def case_how_sure_an_answer_must_be_can_be_said():
    with site() as (_, _, run):
        words = ("ask", "how is the infusion pump cleaned", "--json")
        sure = run(*words).exits(0).data["confidence"]
        done = run(*words, "--threshold", f"{sure + 0.001:.4f}").exits(6)
        assert done.code == "TACIT-E0230", done
        done = run(*words, "--threshold", f"{sure - 0.001:.4f}").exits(0)
        assert abs(done.data["threshold"] - sure) < 0.002, done
        for x in ("x", "-1", "1.1", "nan", ""):
            run(*words, "--threshold", x).exits(4)


def case_a_question_that_denies_what_the_text_says_is_doubted():
    with site() as (_, _, run):
        def sure(words):
            data = run("ask", words, "--threshold", "0", "--json").exits(0).data
            return data["passages"][0]["evidence"]["answers"]
        asked = sure("who signs the list of the infusion pump")
        assert sure("who never signs the list of the infusion pump") < \
            asked - 0.2
        assert sure("who signs the list of the infusion pump in 1875") < asked
        assert sure("who signs the list of the infusion pump of Zurich") < asked


def case_questions_that_nobody_should_ask_have_an_answer():
    with site() as (_, _, run):
        run("search", "x" * 8192).exits(6)
        for words in ("x" * 8193, "x" * 100_000, "pump " * 20_000):
            done = run("ask", words, "--json").exits(4)
            assert done.code == "TACIT-E0221", done
            assert "8192" in done.envelope()["error"]["message"]
        for words in ("", "?!", "\"*\"", "\x01\x02", "()"):
            done = run("search", "--json", "--", words).exits(4)
            assert done.code == "TACIT-E0220", done
        # What marks a language in the index is no word.
        run("search", "--mode", "words", "--", "\x01de").exits(6)
        for words in ("who is the", "what is it", "a", "NEAR(pump, 2)",
                      "pump* OR (", "text:pump", "^pump -x", "'; DROP TABLE",
                      "pump AND NOT pump", "\"pump"):
            done = run("search", "--json", "--", words)
            assert done.status in (0, 6), done
            if "pump" in words:
                assert names(done)[0] == "pumps.md", done
        many = " ".join(f"word{i}" for i in range(92)) + " pump"
        done = run("search", many, "--json")
        assert done.status in (0, 6)
        run("search", "pump " + many).exits(0).says("29 of its words")


def case_a_weight_is_learnt_and_then_used():
    with site() as (at, docs, run):
        done = run("tune", "--json").exits(1)
        assert done.code == "TACIT-E0243", done
        done.prints("that search finds: 0; 20 are needed")
        rows = ["question,document,heading,split"]
        rows += [f"how is the pump cleaned {i},pumps.md,Cleaning,train"
                 for i in range(25)]
        rows += ["never,nowhere.md,,train", "kitchen?,pumps.md,,test", "?,?,,"]
        pairs = write(os.path.join(at, "pairs.csv"), "\n".join(rows) + "\n")
        data = run("tune", "--data", pairs, "--json").exits(0).data
        assert data["questions"] == 25 and 0 <= data["weight"] <= 1, data
        assert data["ndcg"] >= data["by_words"], data
        found = run("search", "pump", "--json").exits(0).data["search"]
        assert found["fused_by"] == "scores", found
        assert found["weight_of_vectors"] == data["weight"], found
        run("tune", "--data", pairs).exits(0).prints("vectors", "nDCG@10")
        run("tune", "--data", os.path.join(at, "none.csv")).exits(1)


def beir(at):
    corpus = [{"_id": "d1", "title": "Cats", "text": "Cats sleep all day."},
              {"_id": "d2", "title": "Dogs", "text": "Dogs bark at night."},
              {"_id": "d3", "title": "Cows", "text": "A cow eats grass."}]
    queries = [{"_id": "q1", "text": "sleeping cat"},
               {"_id": "q2", "text": "barking dogs"},
               {"_id": "q3", "text": "?!"},
               {"_id": "q4", "text": "nobody judged this"}]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        write(os.path.join(at, f"{name}.jsonl"),
              "".join(json.dumps(r) + "\n" for r in rows))
    write(os.path.join(at, "qrels/test.tsv"),
          "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\nq2\td3\t1\n"
          "q3\td3\t1\n")


def case_a_beir_folder_is_measured_as_it_is():
    with folder() as at:
        beir(at)
        tmp = os.path.join(at, "tmp")
        os.makedirs(tmp)
        env = {"TMPDIR": tmp}
        run_file = os.path.join(at, "words.run")
        done = tacit("eval", "retrieval", at, "--json", "--per-query",
                     "--mode", "words", "--write-run", run_file, env=env)
        data = done.exits(0).data
        assert data["queries"] == 3 and data["unasked"] == 0, data
        mode = data["modes"][0]
        rows = {r["query"]: r for r in mode["per_query"]}
        assert rows["q1"]["ndcg"] == 1 and rows["q3"]["ndcg"] == 0, rows
        # 2 / (2 + 1 / log2(3)): d3 shares no word with q2
        assert abs(rows["q2"]["ndcg"] - 0.760188) < 1e-5, rows
        assert abs(mode["mrr"] - 2 / 3) < 1e-9, mode
        again = tacit("eval", "retrieval", "--qrels",
                      os.path.join(at, "qrels/test.tsv"), "--run", run_file,
                      "--json").exits(0).data["modes"][0]
        for name in ("ndcg", "recall", "precision", "mrr", "map",
                     "recall_100"):
            assert abs(again[name] - mode[name]) < 1e-9, (name, again, mode)
        tacit("eval", "retrieval", at, env=env).exits(0) \
            .prints("words", "vectors", "ranks", "nDCG").says("--train-qrels")
        assert os.listdir(tmp) == [], "a temporary store is left"


def many_judged(at, n_documents, n_queries):
    """A BEIR folder, and the same as a file of SQuAD's form."""
    text = "The cat of house {0} is called c{0}o and sleeps there all day."
    asked = "Who sleeps in house {0}?"
    for name, n, key in (("corpus", n_documents, text),
                         ("queries", n_queries, asked)):
        write(os.path.join(at, f"{name}.jsonl"), "".join(
            json.dumps({"_id": f"d{i}", "text": key.format(i)}) + "\n"
            for i in range(n)))
    write(os.path.join(at, "qrels/test.tsv"), "query-id\tcorpus-id\tscore\n" +
          "".join(f"d{i}\td{i % n_documents}\t1\n" for i in range(n_queries)))
    squad = [{"context": text.format(i), "qas": [
        {"id": str(i), "question": asked.format(i),
         "answers": [{"text": f"c{i}o"}]}]} for i in range(n_documents)]
    write(os.path.join(at, "squad.json"), json.dumps(
        {"data": [{"title": "Cats", "paragraphs": squad}]}))


def case_an_evaluation_that_is_stopped_leaves_nothing():
    with folder() as at:
        tmp = os.path.join(at, "tmp")
        os.makedirs(tmp)
        files, asks = os.path.join(at, "files"), os.path.join(at, "asks")
        many_judged(files, 20_000, 1)
        many_judged(asks, 10, 40_000)
        judged = os.path.join(asks, "qrels/test.tsv")
        # While documents are read, from the moment on when there is something
        # to remove; while a weight is learnt; while is searched.
        for words, seconds in (
                (["retrieval", files], 0),
                (["answers", os.path.join(files, "squad.json")], 0),
                (["retrieval", asks, "--train-qrels", judged], 0.3),
                (["retrieval", asks], 0.3)):
            for how in (signal.SIGINT, signal.SIGTERM):
                p = begin("tacit", "eval", *words, "--json",
                          env={"TMPDIR": tmp})
                end = time.monotonic() + 60
                while not os.listdir(tmp):
                    assert p.poll() is None and time.monotonic() < end, words
                assert cases.catches(p.pid, how), words
                time.sleep(seconds)
                done = finish(p, how).exits(130)
                assert done.code == "TACIT-E0014", done
                assert os.listdir(tmp) == [], words


def case_a_cutoff_goes_as_deep_as_the_judgements():
    with folder() as at:
        os.makedirs(os.path.join(at, "qrels"))
        ids = range(250)
        for name, rows in (
                ("corpus", [{"_id": f"d{i}", "title": "",
                             "text": f"The cat number {i} is called c{i}o."}
                            for i in ids]),
                ("queries", [{"_id": "q", "text": "cat"}])):
            write(os.path.join(at, f"{name}.jsonl"),
                  "".join(json.dumps(r) + "\n" for r in rows))
        write(os.path.join(at, "qrels/test.tsv"),
              "query-id\tcorpus-id\tscore\n" +
              "".join(f"q\td{i}\t1\n" for i in ids))
        for k, recall in ((10, 0.04), (100, 0.4), (200, 0.8), (1000, 1)):
            mode = tacit("eval", "retrieval", at, "--json", "--mode", "words",
                         "-k", str(k), env={"TMPDIR": at}) \
                .exits(0).data["modes"][0]
            assert abs(mode["recall"] - recall) < 1e-9, (k, mode)
            assert abs(mode["recall_100"] - 0.4) < 1e-9, (k, mode)
        tacit("eval", "retrieval", at, "-k", "1001").exits(4)


def case_an_evaluation_that_cannot_be_says_why():
    with folder() as at:
        beir(at)
        env = {"TMPDIR": at}
        tacit("eval", "retrieval").exits(4)
        tacit("eval", "retrieval", "--qrels", "x").exits(4)
        tacit("eval", "retrieval", at, "--mode", "x").exits(4)
        tacit("eval", "retrieval", at, "--write-run", "x").exits(4)
        tacit("eval", "retrieval", at, "-k", "0").exits(4)
        tacit("eval", "retrieval", at, "--split", "none").exits(1)
        for name, text in (("corpus.jsonl", "{\n"), ("queries.jsonl", "[]\n"),
                           ("qrels/test.tsv", "1 2\n"),
                           ("corpus.jsonl", '{"_id":"1","text":"a"}\n' * 2)):
            beir(at)
            write(os.path.join(at, name), text)
            done = tacit("eval", "retrieval", at, "--json", env=env).exits(1)
            assert done.code == "TACIT-E0240", done
            assert name in done.envelope()["error"]["message"], done
        write(os.path.join(at, "qrels/test.tsv"), "")
        done = tacit("eval", "retrieval", at, "--json", env=env).exits(1)
        assert done.code == "TACIT-E0241", done
        assert not [n for n in os.listdir(at) if n.startswith("tacit-eval")]
        beir(at)
        done = tacit("eval", "retrieval", at, "--json", "--train-qrels",
                     os.path.join(at, "qrels/test.tsv"), env=env).exits(1)
        assert done.code == "TACIT-E0243", done


def case_this_devices_own_documents_are_measured():
    with site() as (at, _, run):
        queries = write(os.path.join(at, "q.jsonl"), "".join(
            json.dumps(r) + "\n" for r in [
                {"_id": "1", "text": "cleaning the infusion pump"},
                {"_id": "2", "text": "when does the kitchen close"}]))
        qrels = write(os.path.join(at, "qrels.tsv"),
                      "1 0 pumps.md 1\n2 0 docs/kitchen.txt 1\n")
        data = run("eval", "retrieval", "--queries", queries, "--qrels", qrels,
                   "--mode", "words", "--json").exits(0).data
        assert data["modes"][0]["ndcg"] == 1, data


def case_answers_are_measured_on_both_kinds_of_file():
    with site() as (at, _, run):
        squad = {"data": [{"title": "Zoo", "paragraphs": [{
            "context": "The zebra is fed at seven by Anna Bell, the keeper of "
                       "the north house.",
            "qas": [{"id": "1", "question": "Who feeds the zebra?",
                     "answers": [{"text": "Anna Bell"}]},
                    {"id": "2", "question": "What do parrots cost in Lima?",
                     "is_impossible": True, "answers": []}]}]}]}
        file = write(os.path.join(at, "squad.json"), json.dumps(squad))
        for words in ([], ["--open"]):
            data = tacit("eval", "answers", file, "--json", "--per-question",
                         *words).exits(0).data
            assert data["questions"] == 2 and data["answerable"] == 1, data
            assert data["auroc"] == 1, data
            assert data["per_question"][0]["f1"] > 0, data
            assert len(data["curve"]) == 10, data
        tacit("eval", "answers", file).exits(0).prints("AUROC", "in use")
        rows = write(os.path.join(at, "asked.csv"),
                     "question,document,answer\n"
                     "how is the infusion pump cleaned,pumps.md,warm water\n"
                     "who won the chess championship,,\n")
        here = run("eval", "answers", rows, "--json").exits(0).data[
            "operating_point"]
        assert here["refusal_precision"] == here["refusal_recall"] == 1, here
        assert here["citation_precision"] > 0, here
        for name, text in (("a.json", "{"), ("b.json", "{\"data\": 1}")):
            done = tacit("eval", "answers",
                         write(os.path.join(at, name), text), "--json")
            assert done.exits(1).code == "TACIT-E0240", done
        bad = write(os.path.join(at, "bad.csv"), "question\nx\n")
        assert run("eval", "answers", bad, "--json").exits(1).code == \
            "TACIT-E0702"


if __name__ == "__main__":
    cases.run(globals())
