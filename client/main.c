/* tacit: the device's program. One table makes the parser, the help, the man
 * page and the completion. */
#include "client/cli.h"
#include "common/base/rng.h"
#include "retrieval/relevance.h"

static const struct option_row global[] = {
    {"home", 0, "DIR", "TACIT_HOME", "where this device keeps its state"},
    OPTIONS_JSON,
    OPTIONS_QUIET,
    {"passphrase", 0, "FILE", "TACIT_PASSPHRASE_FILE",
     "read the store's passphrase from here (-: standard input), not from the "
     "terminal"},
};

static const struct option_row init_options[] = {
    {"key", 0, "WHERE", "TACIT_KEY",
     "keep the store's key in: file, file:PATH, keyring, passphrase; none: do "
     "not seal the store (file)"},
};
static const struct option_row key_options[] = {
    {"new-passphrase", 0, "FILE", "TACIT_NEW_PASSPHRASE_FILE",
     "read the new passphrase from here, not from the terminal"},
};

#define WHERE_HELP                                                             \
 "only where it holds: path, kind, title, heading, date, lang, or what "       \
 "documents say of themselves (a column, From, author); the value may "        \
 "have * and ?; may be repeated"
#define RERANK_HELP                                                            \
 "have the chosen cross-encoder read the best N again, 0 to 100; 0: none (as " \
 "chosen, 20)"
#define FILTER_OPTIONS                                                         \
 {"in", 0, "GLOB", NULL, "only documents whose path matches, as '*.md'"},      \
     {"type", 0, "KIND", NULL, "only documents of this kind, as markdown"},    \
     {"since", 0, "DAY", NULL, "only what was added on or after 2026-01-31"},  \
     {"until", 0, "DAY", NULL, "only what was added on or before that day"},   \
     {"where", 0, "KEY=VALUE", NULL, WHERE_HELP},                              \
     {"rerank", 0, "N", NULL, RERANK_HELP},                                    \
 {                                                                             \
  "explain", 0, NULL, NULL, "say why each passage was found"                   \
 }

static const struct option_row add_options[] = {
    {"watch", 'w', NULL, NULL,
     "stay, and index what changes in these folders, until Ctrl-C"},
    {"follow", 0, NULL, NULL,
     "read every file that links in these folders lead to"},
};
static const struct option_row ls_options[] = {
    {"folders", 0, NULL, NULL, "list the folders that are kept up to date"},
};
#define WRITER_SIZE_OPTIONS                                                    \
 {"max-tokens", 0, "N", NULL, "length of a written answer (256)"},             \
     {"memory", 0, "MIB", NULL, "that the model may take (what is free)"},     \
 {                                                                             \
  "kv-cache", 0, "TYPE", NULL,                                                 \
      "keys and values as f16, or as q8_0 in half the memory (f16)"            \
 }
#define WRITER_OPTIONS                                                         \
 {"generate", 'g', NULL, NULL,                                                 \
  "have the chosen network write the answer (when one is chosen)"},            \
     {"extract", 0, NULL, NULL, "quote sentences, whatever is chosen"},        \
     {"unsupported", 0, "HOW", NULL,                                           \
      "what the passages do not support: mark or drop (mark)"},                \
     {"temperature", 0, "X", NULL, "0: the likeliest word, always (0)"},       \
     {"top-k", 0, "N", NULL, "draw from the N likeliest (0: all)"},            \
     {"top-p", 0, "X", NULL,                                                   \
      "from the fewest that reach X together (1: all)"},                       \
     {"min-p", 0, "X", NULL, "from those X times as likely as the first (0)"}, \
     {"repeat-penalty", 0, "X", NULL,                                          \
      "above 1: said words grow unlikely (1)"},                                \
     {"seed", 0, "N", NULL, "of what is drawn (0)"},                           \
     {"guesses", 0, "N", NULL,                                                 \
      "tokens tried ahead, 0 to 3; changes the speed, not the answer (3)"},    \
     {"context", 0, "N", NULL, "tokens of prompt and answer (the model's)"},   \
     WRITER_SIZE_OPTIONS,                                                      \
 {                                                                             \
  "no-prompt-cache", 0, NULL, NULL, "keep nothing of the prompt on disk"       \
 }
#define TEXT_OF(x) #x
#define AS_TEXT(x) TEXT_OF(x)
#define ANSWER_OPTIONS                                                         \
 FILTER_OPTIONS,                                                               \
     {"threshold", 0, "X", NULL,                                               \
      "0 to 1: the confidence that an answer needs (" AS_TEXT(                 \
          RELEVANCE_THRESHOLD) ")"},                                           \
     WRITER_OPTIONS
static const struct option_row ask_options[] = {
    ANSWER_OPTIONS,
    {"questions", 0, "FILE", NULL,
     "a question on each line, - for standard input; answered in their order"},
    {"at-once", 0, "N", NULL,
     "of these, how many a network writes at once, 1 to 64, where memory has "
     "room; changes the speed, not the answers (4)"},
};
static const struct option_row chat_options[] = {ANSWER_OPTIONS};
static const struct option_row search_options[] = {
    FILTER_OPTIONS,
    {"limit", 'n', "N", NULL, "how many passages to show (5)"},
    {"mode", 0, "MODE", NULL, "words, vectors or hybrid (hybrid)"},
    {"diversity", 0, "X", NULL,
     "0 to 1: how far a passage must differ from those before it (0)"},
    {"by-confidence", 0, NULL, NULL,
     "order by how sure each passage makes us (up to 20)"},
};
static const struct option_row tune_options[] = {
    {"data", 'd', "FILE", NULL,
     "question-document pairs (CSV), besides the feedback given here"},
};
#define RERANKER_OPTIONS                                                       \
 {"reranker", 0, "NAME", NULL,                                                 \
  "have this imported cross-encoder read hits again"},                         \
 {                                                                             \
  "rerank", 0, "N", NULL,                                                      \
      "how many of them, 0 to 100 (20; of this device's documents as chosen)"  \
 }
static const struct option_row retrieval_options[] = {
    {"queries", 0, "FILE", NULL, "queries.jsonl"},
    {"qrels", 0, "FILE", NULL, "judgements: BEIR's .tsv, or TREC's"},
    {"corpus", 0, "FILE", NULL, "corpus.jsonl; else this device's documents"},
    {"model", 0, "NAME", NULL, "of a corpus: this imported encoder"},
    RERANKER_OPTIONS,
    {"split", 0, "NAME", NULL, "of a folder: qrels/NAME.tsv (test)"},
    {"run", 0, "FILE", NULL, "measure this run (TREC) and search nothing"},
    {"mode", 0, "MODE", NULL,
     "words, vectors, ranks, scores (two ways to fuse) or all (all)"},
    {"train-qrels", 0, "FILE", NULL, "learn the weight for scores from these"},
    {"weight", 0, "X", NULL, "of the vectors in scores, 0 to 1, not learnt"},
    {"cutoff", 'k', "K", NULL, "of nDCG, recall and precision, 1 to 1000 (10)"},
    {"per-query", 0, NULL, NULL, "every query's figures, too"},
    {"write-run", 0, "FILE", NULL, "write what one mode found, as TREC does"},
};
static const struct option_row use_options[] = {
    {"as", 0, "WHAT", NULL,
     "search, answers, rerank or reads (what the network is made for)"},
    {"rerank", 0, "N", NULL, "hits that a cross-encoder reads again (20)"},
    {"query-prefix", 0, "TEXT", NULL, "put before every question"},
    {"passage-prefix", 0, "TEXT", NULL, "put before every passage"},
};
static const struct option_row answers_options[] = {
    {"texts", 0, "FILE", NULL,
     "corpus.jsonl that the questions of a CSV file are asked of; else this "
     "device's documents"},
    {"model", 0, "NAME", NULL, "of --texts or SQuAD: this imported encoder"},
    {"limit", 'n', "N", NULL, "ask only the first N questions"},
    RERANKER_OPTIONS,
    {"open", 0, NULL, NULL,
     "SQuAD: search all paragraphs, not the question's alone"},
    {"per-question", 0, NULL, NULL, "every question's answer, too"},
    {"generate", 'g', NULL, NULL,
     "have the network write that is chosen here, and judge its whole text"},
    {"at-once", 0, "N", NULL, "answers it writes at once, 1 to 64 (4)"},
    WRITER_SIZE_OPTIONS,
};
static const struct option_row feedback_options[] = {
    {"citation", 'c', "N", NULL, "which citation is meant (1)"},
};
static const struct option_row train_options[] = {
    {"plan", 'p', "FILE", NULL, "the plan: task, model, data, training"},
    {"data", 'd', "FILE", NULL, "learn from this CSV, not the policy's"},
    {"eval", 0, NULL, NULL, "measure only, train nothing"},
    {"output", 'o', "FILE", NULL,
     "write this device's own model (safetensors)"},
};
static const struct option_row leave_options[] = {
    {"force", 0, NULL, NULL, "forget the federation without telling it"},
};
static const struct option_row run_options[] = {
    {"once", 0, NULL, NULL, "end after one round"},
    {"until-finished", 0, NULL, NULL, "end when no plan has rounds left"},
    {"wait", 0, "TIME", NULL,
     "with the two above: give up after this long without progress (10m)"},
};

static const struct option_row import_options[] = {
    {"name", 0, "NAME", NULL, "what to call it here (from the file's name)"},
    {"type", 't', "TYPE", NULL,
     "keep matrices as q8_0, q4_0, f16, bf16 or f32 (as the file has them)"},
    {"licence", 0, "TEXT", NULL, "its licence, where the file does not say"},
    {"source", 0, "URL", NULL, "where it came from"},
};
static const struct option_row model_export_options[] = {
    {"adapter", 0, NULL, NULL, "the adapter of plan NAME, into folder FILE"},
    {"folder", 0, NULL, NULL, "a folder FILE of safetensors instead"},
    {"type", 't', "TYPE", NULL,
     "of a folder: f32, f16 or bf16 (as it is stored; f32 of packed ones)"},
};
static const struct option_row merge_options[] = {
    {"type", 't', "TYPE", NULL,
     "write matrices as q8_0, q4_0, f16, bf16 or f32 (as the base has them)"},
};
static const struct option_row quantize_options[] = {
    {"name", 0, "NAME", NULL, "what to call the new one (NAME-TYPE)"},
};
static const struct option_row distill_options[] = {
    {"teacher", 0, "NAME", NULL, "the imported network that is learnt from"},
    {"student", 0, "NAME", NULL,
     "the imported decoder that learns, of a teacher that is a decoder"},
    {"texts", 0, "FOLDER", NULL,
     "learn from its .txt files, a text on each line"},
    {"output", 'o', "NAME", NULL, "what to call the new one"},
    {"dim", 0, "N", NULL, "numbers of a vector (256)"},
    {"words", 0, "N", NULL, "rows for the most frequent words (36864)"},
    {"ngrams", 0, "N", NULL, "rows for parts of all other words (12288)"},
    {"epochs", 0, "N", NULL, "times that each text is seen (6; a student's 1)"},
    {"rate", 0, "X", NULL,
     "a step's size (0.001 and less; a student's 0.0001)"},
    {"seed", 0, "N", NULL, "of the order of texts (1)"},
    {"type", 't', "TYPE", NULL,
     "rows as q4_0, q5_0, q8_0, f16, f32 (q4_0; the student's)"},
    {"licence", 0, "TEXT", NULL, "its licence (the teacher's)"},
    {"row", 0, "N", NULL, "a student's tokens at once (256)"},
    {"batch", 0, "N", NULL, "such rows in a step (4)"},
    {"share", 0, "X", NULL,
     "what the teacher counts beside the text, 0 to 1 (0.9)"},
    {"memory", 0, "MIB", NULL,
     "for the student's training (three quarters of what is free)"},
    {"cache", 0, "FILE", NULL,
     "keep the teacher's vectors here (in the device's home)"},
};
static const struct option_row doctor_options[] = {
    {"index", 0, NULL, NULL,
     "check the indexes of words and vectors and measure recall; a damaged "
     "one is made anew"},
};

#define OPTIONS(list)                                                          \
 .options = (list), .n_options = sizeof(list) / sizeof *(list)

static const struct option_command commands[] = {
    {.name = "init",
     .summary = "make this device's store and keys",
     .help = "The store, with all text, words and vectors, is sealed: without "
             "its key nobody can read it. The key lies in the home unless "
             "--key names a file elsewhere (a medium that you take with you), "
             "the keyring of your session, or a passphrase. A lost key or "
             "passphrase cannot be replaced.",
     OPTIONS(init_options),
     .run = cli_init},
    {.name = "key",
     .args = "[WHERE]",
     .args_max = 1,
     .summary = "show or change where the store's key is kept",
     .help = "WHERE is file, file:PATH, keyring, passphrase, or none. Another "
             "place for the key is a matter of a moment: the store is not "
             "written anew. Sealing a store that is not, or unsealing one "
             "(none), copies it and needs room for that.",
     OPTIONS(key_options),
     .run = cli_key},
    {.name = "add",
     .args = "PATH…",
     .args_min = 1,
     .args_max = -1,
     .summary = "index files and folders",
     .help = "Text, Markdown, HTML, PDF, Word, OpenDocument, e-books, CSV, "
             "lines of JSON and mail are read; hidden files of a folder are "
             "not. Adding again does nothing for an unchanged file, replaces "
             "a changed one, and drops those that are gone from the folder. A "
             "folder is remembered: `tacit run` keeps its documents up to "
             "date, and so does --watch, which waits while the disk is full. "
             "One that is away (not there, or empty and on another disk than "
             "when it was read, as when its own is unplugged) keeps its "
             "documents; both go on when it is back. "
             "A link that is named here is followed. One in a folder is read "
             "where it leads to a file in a folder that was added; others are "
             "listed, for whoever may write into the folder could have made "
             "them. --follow reads those, too, here and in `tacit run`, until "
             "the folder is added without it. Links to folders are not gone "
             "into: add those by their names.",
     OPTIONS(add_options),
     .run = cli_add},
    {.name = "reindex",
     .summary = "read again what another version has indexed",
     .help = "After an update that cuts or encodes passages in another way. "
             "It may be interrupted, and goes on where it was.",
     .run = cli_reindex},
    {.name = "ls",
     .summary = "list the documents",
     OPTIONS(ls_options),
     .run = cli_ls},
    {.name = "rm",
     .args = "PATH…",
     .args_min = 1,
     .args_max = -1,
     .summary = "forget documents; the files stay",
     .run = cli_rm},
    {.name = "search",
     .args = "WORDS…",
     .args_min = 1,
     .args_max = -1,
     .summary = "show the passages that match best",
     OPTIONS(search_options),
     .run = cli_search},
    {.name = "ask",
     .args = "[QUESTION…]",
     .args_min = 0,
     .args_max = -1,
     .summary = "answer from the documents, with sources",
     .help =
         "The answer is made of sentences taken word by word from the "
         "documents, each with a numbered source. Where nothing answers "
         "the question it says so and exits with 6: a higher --threshold "
         "refuses more, a lower one less (`tacit eval answers` shows the "
         "curve). With a decoder chosen by `tacit model use`, that network "
         "writes the answer from the passages that were found, and can "
         "cite no other: each sentence is compared with the passages that "
         "it cites, and where their words do not support it, it is marked "
         "or dropped. An answer without a supported sentence is none: exit "
         "6. The same seed gives the same answer. --questions answers many, "
         "each for itself and in their order, with an envelope for each "
         "under --json; a network writes several at once, which reads its "
         "weights once for all of them. A question without an answer says "
         "so in its place and does not end the rest.",
     OPTIONS(ask_options),
     .run = cli_ask},
    {.name = "chat",
     .summary = "ask one question after another",
     .help = "Each line is a question, answered from the documents as `tacit "
             "ask` does; passages are searched for anew. A chosen decoder also "
             "reads the conversation so far, which is kept in memory alone. "
             "Ctrl-C ends an answer, Ctrl-D the conversation; lines may come "
             "from a pipe. With --json each answer is an envelope.",
     OPTIONS(chat_options),
     .run = cli_chat},
    {.name = "open",
     .args = "N",
     .args_min = 1,
     .args_max = 1,
     .summary = "open source [N] of the last answer",
     .help = "With a display by xdg-open, else on a terminal by $PAGER, else "
             "its path and line are printed. No shell sees the path.",
     .run = cli_open_source},
    {.name = "feedback",
     .args = "ANSWER good|bad",
     .args_min = 2,
     .args_max = 2,
     .summary = "say whether an answer's source was right",
     .help = "Good sources become training pairs for a retriever plan. They "
             "stay on this device.",
     OPTIONS(feedback_options),
     .run = cli_feedback},
    {.name = "tune",
     .summary = "learn how much words and vectors count in search",
     .help = "Learns one number from questions whose source was right: good "
             "feedback and, with --data, rows of question, document and "
             "heading. Until then words lead, or, with a search model of a "
             "federation, both are fused by their ranks. Nothing leaves.",
     OPTIONS(tune_options),
     .run = cli_tune},
    {.name = "eval retrieval",
     .args = "[FOLDER]",
     .args_max = 1,
     .summary = "measure the search on judged queries",
     .help = "FOLDER is a BEIR collection: corpus.jsonl, queries.jsonl, "
             "qrels/test.tsv. It is indexed in a temporary store, one passage "
             "per document. Prints nDCG, recall, precision, MRR and MAP as "
             "trec_eval counts them, over all judged queries.",
     OPTIONS(retrieval_options),
     .run = cli_eval_retrieval},
    {.name = "eval answers",
     .args = "FILE",
     .args_min = 1,
     .args_max = 1,
     .summary = "measure answers and refusals on known questions",
     .help = "FILE is SQuAD's JSON (1.1 or 2.0), or a CSV file with columns "
             "question, answer (empty: nothing answers it) and, or instead, "
             "document. Prints exact match, F1, precision and recall of "
             "refusals, citation precision, and how they move with the "
             "threshold. Answers are quoted, or with --generate written by the "
             "chosen decoder, several at once.",
     OPTIONS(answers_options),
     .run = cli_eval_answers},
    {.name = "train",
     .args = "--plan FILE",
     .args_max = 0,
     .summary = "learn on this device alone, and compare",
     .help = "Trains as many steps as the plan's federation would, on this "
             "device's rows only, and measures the untrained model, this one "
             "and the federation's newest on held-out rows. Nothing leaves.",
     OPTIONS(train_options),
     .run = cli_train},
    {.name = "join",
     .args = "LINK",
     .args_min = 1,
     .args_max = 1,
     .summary = "join a federation with an invite",
     .help = "LINK is the invite itself, file:PATH, or - to read it from "
             "standard input. It works once.",
     .run = cli_join},
    {.name = "leave",
     .summary = "leave the federation",
     OPTIONS(leave_options),
     .run = cli_leave},
    {.name = "run",
     .summary = "take part in rounds (the daemon)",
     .help =
         "Dials out to the coordinator, waits for rounds that policy.yaml "
         "allows, trains, and sends masked updates. Meanwhile the folders "
         "of `tacit ls --folders` are watched and their documents kept up "
         "to date (not with --once or --until-finished). Ends on SIGTERM or "
         "Ctrl-C; a round in flight is lost for this device only.",
     OPTIONS(run_options),
     .run = cli_run},
    {.name = "model import",
     .args = "PATH",
     .args_min = 1,
     .args_max = 1,
     .summary = "bring in a network: a GGUF file or a model's folder",
     .help =
         "PATH is a GGUF file, or a folder with config.json, "
         "model.safetensors and the tokenizer's file. Families: bert "
         "(MiniLM, BGE, E5), llama (also SmolLM2 and Mistral) and qwen2. "
         "Types: F32, F16, BF16, Q8_0 and Q4_0 are kept; Q4_1, Q5_0, "
         "Q5_1, Q4_K, Q5_K and Q6_K become Q8_0. The model is kept in the "
         "home under the hash of its content, laid out for fast use, with "
         "its licence and source; imported again, it gets those that are "
         "said then. What would be another network here is refused: unknown "
         "tensors, weights that are not numbers, a tokenizer of another size.",
     OPTIONS(import_options),
     .run = cli_model_import},
    {.name = "model ls",
     .summary = "list the imported networks",
     .run = cli_model_ls},
    {.name = "model show",
     .args = "NAME",
     .args_min = 1,
     .args_max = 1,
     .summary = "say what a network is: sizes, licence, source, hashes",
     .help = "NAME is the model's name, eight digits or more of its hash, "
             "built-in or built-in-reader.",
     .run = cli_model_show},
    {.name = "model rm",
     .args = "NAME…",
     .args_min = 1,
     .args_max = -1,
     .summary = "forget imported networks and delete their files here",
     .run = cli_model_rm},
    {.name = "model use",
     .args = "NAME",
     .args_min = 1,
     .args_max = 1,
     .summary = "choose the network that searches, writes, or reads again",
     .help =
         "An encoder (family bert: MiniLM, BGE, E5; or words, which "
         "`tacit model distill` makes) searches, until built-in is chosen; a "
         "decoder (llama, qwen2) writes answers, until none is chosen; a "
         "cross-encoder (bert with a head of one output) reads the best hits "
         "again and puts them in its order, until `tacit model use none --as "
         "rerank`; a network of the family bert with a head for spans "
         "(qa_outputs) finds the words that answer, until built-in-reader is "
         "chosen. The four are chosen apart. The score of a cross-encoder "
         "orders passages; whether one is good enough to answer from stays "
         "with the confidence that `tacit ask --threshold` is about. An "
         "encoder's "
         "vectors are others than those that are there: documents are "
         "found by their words alone until `tacit reindex` has read them "
         "again. Some encoders were trained with a text before questions "
         "or passages (E5, BGE): those that are known get it by "
         "themselves. A federation's search adapter is for the built-in "
         "encoder and is set aside meanwhile. A decoder writes with what was "
         "adopted of a plan (task: lm) that has it for a base. What is used "
         "cannot be removed.",
     OPTIONS(use_options),
     .run = cli_model_use},
    {.name = "model export",
     .args = "NAME FILE",
     .args_min = 2,
     .args_max = 2,
     .summary = "write a network as a plain GGUF file, or a folder",
     .help = "Other programs can read the file. It keeps licence and source. A "
             "file that is there already is left alone. With --folder it "
             "becomes what Hugging Face's libraries read: config.json, "
             "model.safetensors, the tokenizer, and of an encoder what "
             "sentence-transformers wants. With --adapter, NAME "
             "is a plan's and FILE a folder: it gets the adapter that was "
             "adopted, named as PEFT names it (adapter_model.safetensors, "
             "adapter_config.json).",
     OPTIONS(model_export_options),
     .run = cli_model_export},
    {.name = "model merge",
     .args = "PLAN FILE",
     .args_min = 2,
     .args_max = 2,
     .summary = "write a network with a plan's adapter in it",
     .help = "The adapter that was adopted of PLAN is added to its base: W + "
             "alpha/rank B A. FILE is plain GGUF, which `model import` and "
             "other programs read. A file that is there already is left alone.",
     OPTIONS(merge_options),
     .run = cli_model_merge},
    {.name = "model quantize",
     .args = "NAME TYPE",
     .args_min = 2,
     .args_max = 2,
     .summary = "make a smaller copy of a network",
     .help = "TYPE is q8_0 (8.5 bits a number, all but lossless), q4_0 (4.5 "
             "bits), f16, bf16 or f32. The first stays.",
     OPTIONS(quantize_options),
     .run = cli_model_quantize},
    {.name = "model distill",
     .summary = "make a small network that imitates a large one",
     .help = "The teacher embeds every text and every frequent word of them "
             "once; a table of words then learns to give texts the same "
             "vectors. The new encoder needs no network: a text's vector is "
             "the sum of its words' rows. It is as good as the texts are many "
             "and like those that will be searched. What the teacher said is "
             "kept: after Ctrl-C the same command goes on from there. The same "
             "seed, texts and teacher give the same file. With --student a "
             "decoder learns from another one with the same vocabulary: of "
             "each token of the texts, the teacher's 32 likeliest. After "
             "Ctrl-C what was learnt is kept under the new name and can be "
             "the next --student.",
     OPTIONS(distill_options),
     .run = cli_model_distill},
    {.name = "audit",
     .summary = "list everything that ever left this device",
     .help =
         "NOISE is of the whole sum, times the clip of one training row, and "
         "epsilon what this update and all before it tell of one row at "
         "most, at the delta of policy.yaml (1e-5). Without noise epsilon "
         "is not bounded.",
     .run = cli_audit},
    {.name = "policy",
     .summary = "show what this device allows",
     .help =
         "And what of it is spent: updates, and epsilon of one training row "
         "(privacy: {epsilon_max, epsilon_per_day, delta} in policy.yaml).",
     .run = cli_policy},
    {.name = "status",
     .summary = "documents, federation, models",
     .run = cli_status},
    {.name = "doctor",
     .summary = "look for what is wrong, and what to do",
     OPTIONS(doctor_options),
     .run = cli_doctor},
    OPTIONS_EXPLAIN,
};

static const struct options_program program = {
    .name = "tacit",
    .version = "0.1.0",
    .summary = "answers from your own documents, learning without telling",
    .help = "Answers questions offline from this device's documents, and "
            "improves its model together with other devices: each trains at "
            "home and sends only masked updates.",
    .global = global,
    .n_global = sizeof global / sizeof *global,
    .commands = commands,
    .n_commands = sizeof commands / sizeof *commands,
};

int main(int argc, char **argv)
{
    rng_setup();
    return options_main(&program, argc, argv);
}
