/*
 * codes: every numbered error a person can meet, in one table.
 *
 * X(name, id, class, exit, title, help). `name` becomes E_name, the argument of
 * fail_as(). Ranges: 0001-0012 the defaults of each class, 01xx files and
 * stores, 02xx documents and retrieval, 03xx policy, privacy and ledger,
 * 04xx joining and the wire, 05xx rounds, 06xx plans and simulation, 07xx
 * models and data. An id is never reused. Ordered by id.
 */
#ifndef TACIT_BASE_CODES_H
#define TACIT_BASE_CODES_H

#define TACIT_CODE_MAP(X)                                                      \
 X(DEFAULT_NOMEM, 1, NOMEM, FAILED, "out of memory",                           \
   "The machine has too little free memory for this. Close other programs "    \
   "or use a smaller model or batch.")                                         \
 X(DEFAULT_IO, 2, IO, FAILED, "a file or disk operation failed",               \
   "The message names the file and the system's reason. Check that it "        \
   "exists, that you may read or write it, and that the disk has room.")       \
 X(DEFAULT_FORMAT, 3, FORMAT, FAILED, "the data is malformed",                 \
   "The message names what was read and where it stopped making sense.")       \
 X(DEFAULT_SHAPE, 4, SHAPE, FAILED, "shapes do not fit together",              \
   "The data or weights were made for a different model. Check the plan.")     \
 X(DEFAULT_LIMIT, 5, LIMIT, FAILED, "something is over a limit",               \
   "The message names the limit and the size that was found.")                 \
 X(DEFAULT_PROTO, 6, PROTO, CONNECTION, "the peer broke the protocol",         \
   "The other side sent something that may not be sent at this point. "        \
   "Check that both sides run the same version of Tacit.")                     \
 X(DEFAULT_AUTH, 7, AUTH, CONNECTION, "authentication failed",                 \
   "The other side could not prove that it is who it should be.")              \
 X(DEFAULT_STATE, 8, STATE, FAILED, "not possible at this point",              \
   "The message says what has to be done first.")                              \
 X(DEFAULT_TIMEOUT, 9, TIMEOUT, TIMEOUT, "it took too long",                   \
   "The other side did not answer in time. Check the network, then try "       \
   "again: every request may be repeated safely.")                             \
 X(DEFAULT_NOTFOUND, 10, NOTFOUND, FAILED, "not found",                        \
   "The message names what was looked for.")                                   \
 X(DEFAULT_UNSUPPORTED, 11, UNSUPPORTED, FAILED, "not supported",              \
   "This version of Tacit cannot do that.")                                    \
 X(DEFAULT_INTERNAL, 12, INTERNAL, BUG, "a bug in Tacit",                      \
   "An internal check failed. Nothing was lost. Please report the message.")   \
 X(USAGE, 13, STATE, USAGE, "the command line is wrong",                       \
   "Run the program with --help to see its commands and options.")             \
 X(INTERRUPTED, 14, STATE, INTERRUPTED, "interrupted",                         \
   "What was finished before is kept. Run the command again to go on.")        \
 X(STORE_NEWER, 101, UNSUPPORTED, FAILED,                                      \
   "the store was written by a newer version",                                 \
   "This program is older than the one that wrote the file. Update it; "       \
   "the store was left untouched.")                                            \
 X(DISK_FULL, 102, IO, FAILED, "the disk is full",                             \
   "Nothing was lost: the last complete change is kept. Free some space "      \
   "and run the command again.")                                               \
 X(STORE_BUSY, 103, STATE, FAILED, "another process holds the store",          \
   "Another Tacit process is writing. Wait for it or stop it.")                \
 X(NOT_INITIALISED, 104, STATE, FAILED, "there is no store here yet",          \
   "Run the program's `init` command first, or point --home elsewhere.")       \
 X(YAML_SYNTAX, 105, FORMAT, FAILED, "the file is not valid YAML",             \
   "The message names the line and column. Indent with spaces, quote text "    \
   "that holds ': ' or '#', and keep one document per file.")                  \
 X(YAML_KEY, 106, FORMAT, FAILED, "a key is unknown, missing or repeated",     \
   "The message names the line, the key and the nearest known one. Nothing "   \
   "in a file is ignored silently, so that a misspelt key cannot go "          \
   "unnoticed.")                                                               \
 X(YAML_VALUE, 107, FORMAT, FAILED, "a value has the wrong kind",              \
   "The message names the line and the key, and says what belongs there.")     \
 X(STORE_DAMAGED, 108, FORMAT, FAILED, "the store is damaged",                 \
   "A failing disk or another program changed the file; nothing was written "  \
   "to it since. `tacit doctor --index` says what is damaged, and makes an "   \
   "index of words or vectors anew. Anything else, also a file that was cut "  \
   "off: restore it from a backup. Without one: move the home aside, run "     \
   "`init` and add the folders again; documents are where they were. The old " \
   "home has the `keys` and what was joined; a new one joins anew.")           \
 X(STORE_KEY, 109, AUTH, FAILED, "this key does not open the store",           \
   "The store is sealed with another key, or the passphrase differs. Nothing " \
   "was changed. Give the key file, keyring or passphrase that it was made "   \
   "with: `tacit key` says which kind that is. Without it nobody can read "    \
   "the store.")                                                               \
 X(STORE_KEY_MISSING, 110, NOTFOUND, FAILED, "the store's key is not here",    \
   "The message names where it should be: a file (is the medium plugged in, "  \
   "and mounted?), the keyring of this session, or a passphrase. Without it "  \
   "nobody can read the store.")                                               \
 X(KEYRING, 111, IO, FAILED, "the keyring cannot be used",                     \
   "The keyring is asked through secret-tool (Debian package "                 \
   "libsecret-tools), which needs a running Secret Service, as desktops "      \
   "have. Elsewhere use a key file or a passphrase.")                          \
 X(STORE_READONLY, 112, IO, FAILED, "the store may not be written",            \
   "A read-only medium, or files of another user. It can be searched and "     \
   "asked as it is; what changes it cannot be done here. Copy the home "       \
   "folder with `cp -a` to where you may write, and name the copy with "       \
   "--home.")                                                                  \
 X(STORE_LOG, 113, IO, FAILED, "the store's newest changes cannot be read",    \
   "The store may only be read here, and whoever wrote it last has ended "     \
   "before all was in its file: the rest is in tacit.db-wal, for which an "    \
   "index has to be written beside it. Copy the whole home folder with `cp "   \
   "-a` to where you may write, and name the copy with --home; or let any "    \
   "`tacit` command run once where it may be written.")                        \
 X(DOCUMENT_MISSING, 201, NOTFOUND, FAILED, "the document is not there",       \
   "The file does not exist, or vanished while it was read. What was indexed " \
   "of it before is kept until it is removed.")                                \
 X(DOCUMENT_UNREADABLE, 202, IO, FAILED, "the document cannot be read",        \
   "The message gives the system's reason, usually a missing permission. "     \
   "What was indexed of it before is kept.")                                   \
 X(DOCUMENT_TOO_LARGE, 203, LIMIT, FAILED, "the document is too large",        \
   "The message names the limit. Split the file into parts and add those.")    \
 X(DOCUMENT_KIND, 204, UNSUPPORTED, FAILED, "files of this kind are not read", \
   "Text (.txt, .text or no ending), Markdown (.md, .markdown), HTML (.html, " \
   ".htm, .xhtml), PDF (.pdf), Word (.docx), OpenDocument (.odt), e-books "    \
   "(.epub), tables (.csv, .tsv), lines of JSON (.jsonl, .ndjson) and e-mail " \
   "(.eml, .mbox) can be read. Convert the file to one of these.")             \
 X(DOCUMENT_EMPTY, 205, FORMAT, FAILED, "the document holds no text",          \
   "The file is empty, or holds only blanks, markup or scripts.")              \
 X(DOCUMENT_BINARY, 206, FORMAT, FAILED, "the file is binary, not text",       \
   "It holds zero bytes, which no text has. If it is a document of another "   \
   "kind, give it the ending of that kind, or convert it to text.")            \
 X(DOCUMENT_NOT_UTF8, 207, FORMAT, FAILED, "the text is not UTF-8",            \
   "The message names the first byte that does not fit. Western texts in "     \
   "windows-1252 are read; this is damaged or another charset. Save it as "    \
   "UTF-8, or iconv -f ITS_CHARSET -t UTF-8 OLD > NEW, then add NEW.")         \
 X(DOCUMENT_NESTING, 208, LIMIT, FAILED, "the markup is nested too deeply",    \
   "No page written by a person looks like this. Convert the file to plain "   \
   "text and add that.")                                                       \
 X(DOCUMENT_MARKUP, 209, LIMIT, FAILED, "the markup is too costly to read",    \
   "Reading the file would take more memory or work than a document may. "     \
   "Convert it to plain text, or split it.")                                   \
 X(DOCUMENT_PATH, 210, FORMAT, FAILED, "the file cannot be named",             \
   "Its path is too long or not UTF-8, so that it could not be cited. "        \
   "Rename the file or its folder.")                                           \
 X(DOCUMENT_DAMAGED, 211, FORMAT, FAILED, "the document is damaged",           \
   "The message says what does not fit. Open the file in the program that "    \
   "made it and save it again, then add that.")                                \
 X(DOCUMENT_ENCRYPTED, 212, UNSUPPORTED, FAILED, "the document is encrypted",  \
   "It can only be read with its password, which is not asked for here. Save " \
   "a copy without one and add that.")                                         \
 X(DOCUMENT_SCANNED, 213, FORMAT, FAILED, "the pages hold no text",            \
   "They are pictures of text, from a scanner or a camera. A program for "     \
   "character recognition adds the text: ocrmypdf OLD.pdf NEW.pdf.")           \
 X(DOCUMENT_HELPER, 214, UNSUPPORTED, FAILED,                                  \
   "a program that reads this kind is missing",                                \
   "The message names the program and its Debian package. Install it and add " \
   "the file again; other kinds are read without it.")                         \
 X(DOCUMENT_CHANGED, 215, STATE, FAILED, "the file changes while it is read",  \
   "Another program is writing it. What was indexed of it before is kept. "    \
   "Add it again when the other program is done.")                             \
 X(WATCH_LIMIT, 216, LIMIT, FAILED, "not every folder can be watched",         \
   "The system bounds how many folders its users watch. The message names "    \
   "the setting and a value; `sudo sysctl NAME=VALUE` raises it until the "    \
   "next start. What is not watched is looked through every ten minutes.")     \
 X(QUESTION_EMPTY, 220, FORMAT, USAGE, "the question holds no word",           \
   "Ask with at least one word or number.")                                    \
 X(QUESTION_LIMIT, 221, LIMIT, USAGE, "the question is over a limit",          \
   "The message names the limit. A question is a sentence or two.")            \
 X(FILTER, 222, FORMAT, USAGE, "a condition of the search cannot be read",     \
   "The message names the part. Conditions are --in GLOB, --type KIND, "       \
   "--since and --until 2026-01-31, and --where KEY=VALUE, where VALUE may "   \
   "hold * and ?.")                                                            \
 X(NOTHING_RELEVANT, 230, NOTFOUND, NOTHING, "nothing here answers this",      \
   "No passage shares enough with the question to stand as an answer. Use "    \
   "the words that the documents use, or add documents that cover it.")        \
 X(UNSUPPORTED_ANSWER, 231, NOTFOUND, NOTHING,                                 \
   "nothing that the model wrote is supported by the documents",               \
   "Each sentence was compared with the passages that it cites, and none "     \
   "holds. `tacit ask --extract` quotes what the documents say, and a "        \
   "larger model may keep closer to them.")                                    \
 X(JUDGED_SYNTAX, 240, FORMAT, FAILED, "an evaluation file cannot be read",    \
   "The message names file and line. A BEIR folder has corpus.jsonl, "         \
   "queries.jsonl and qrels/NAME.tsv; judgements may also be in TREC's form "  \
   "(query 0 document grade), runs are query Q0 document rank score name.")    \
 X(JUDGED_EMPTY, 241, STATE, FAILED, "there is nothing to evaluate",           \
   "No query has a judgement. Queries and judgements must use the same ids.")  \
 X(NO_CITATION, 242, NOTFOUND, FAILED, "there is no such citation",            \
   "`tacit open N` opens source [N] of the last answer. Ask first; an "        \
   "answer lists its sources.")                                                \
 X(FEW_PAIRS, 243, STATE, FAILED, "there are too few pairs to learn from",     \
   "The message says how many there are and how many are needed. Give "        \
   "feedback on answers, or name a CSV file of question-passage pairs.")       \
 X(INDEX_DAMAGED, 250, FORMAT, FAILED, "the vector index is damaged",          \
   "The message says what was found. The rows are what counts: run `tacit "    \
   "doctor --index` to check all and to build the index anew from them.")      \
 X(VECTOR_VALUE, 251, FORMAT, FAILED, "the vector cannot be indexed",          \
   "A vector holds finite numbers and, under the cosine metric, one at least " \
   "that is not zero. The message names the position.")                        \
 X(POLICY_REFUSED, 301, STATE, FAILED, "this site's policy does not allow it", \
   "The message names the rule of policy.yaml. The coordinator cannot change " \
   "it; whoever runs this device can, with an editor.")                        \
 X(BUDGET_SPENT, 302, LIMIT, BUDGET, "the budget for updates is spent",        \
   "policy.yaml bounds how many updates may leave this device, ever and per "  \
   "day. `tacit audit` lists them. Wait for the next day or raise the bound.") \
 X(LEDGER_BROKEN, 303, FORMAT, FAILED, "the ledger's chain is broken",         \
   "A row was changed or removed outside of Tacit. Nothing more leaves this "  \
   "device until the ledger is whole: restore tacit.db from a backup.")        \
 X(MODEL_REFUSED, 304, AUTH, CONNECTION, "a model was refused",                \
   "It is older than one already adopted, not signed by the coordinator, or "  \
   "differs from what was announced. The device keeps the model it has.")      \
 X(TASK_REFUSED, 305, PROTO, CONNECTION, "a task does not fit its plan",       \
   "What the coordinator asks differs from the plan it names. The device "     \
   "takes no part in the round.")                                              \
 X(EPSILON_SPENT, 310, LIMIT, BUDGET, "the privacy budget is spent",           \
   "Another noised update would tell more about a row than the plan promised " \
   "or policy.yaml allows (privacy: epsilon_max, epsilon_per_day). `tacit "    \
   "audit` lists what was spent on which plan; nothing left.")                 \
 X(PRIVACY_NEGATIVES, 311, STATE, FAILED, "no wrong passages to learn from",   \
   "Under privacy a question learns beside passages of indexed documents, "    \
   "not of other questions. `tacit add` some documents, and name them in the " \
   "column document.")                                                         \
 X(BAD_SIGNATURE, 401, AUTH, CONNECTION, "a signature does not verify",        \
   "The statement was changed on the way or made with another key. Nothing "   \
   "of it was used.")                                                          \
 X(KEYS_READABLE, 402, AUTH, FAILED, "the key file is readable by others",     \
   "Whoever can read it can act as this machine. Run chmod 600 on it; if "     \
   "others may have read it, leave and join again with new keys.")             \
 X(WRONG_COORDINATOR, 403, AUTH, CONNECTION,                                   \
   "this is not the coordinator of the invite",                                \
   "Whatever answers at the address does not hold the key whose fingerprint "  \
   "stands in the invite. STOP: nothing was sent. Call the coordinator's "     \
   "operator and compare fingerprints.")                                       \
 X(INVITE_REFUSED, 404, AUTH, CONNECTION,                                      \
   "the coordinator refused the invite",                                       \
   "The invite was used before, has expired, or is not one of this "           \
   "coordinator's. Ask its operator for a new one.")                           \
 X(UNREACHABLE, 405, IO, CONNECTION, "nothing answers at the address",         \
   "Check the address, that the coordinator runs, and that a firewall lets "   \
   "this machine dial out to its port.")                                       \
 X(ADDRESS_IN_USE, 406, IO, CONNECTION, "the address cannot be listened on",   \
   "Another program uses the port, or the address is not one of this "         \
   "machine. Choose another with --listen.")                                   \
 X(NO_SESSION, 407, STATE, CONNECTION, "the session with the peer is gone",    \
   "The other side was restarted or forgot it. It is made anew by itself.")    \
 X(INVITE_FORMAT, 408, FORMAT, USAGE, "this is not a whole invite",            \
   "An invite is one line, tacit:HOST:PORT#CODE with 80 characters of CODE. "  \
   "Copy all of it, in quotes, exactly as the operator sent it.")              \
 X(WIRE_VERSION, 409, UNSUPPORTED, CONNECTION,                                 \
   "the coordinator speaks another version",                                   \
   "This device and the coordinator were built from versions that do not "     \
   "understand each other. Update the older one.")                             \
 X(ADDRESS, 410, FORMAT, USAGE, "not an address",                              \
   "An address is written tcp://HOST:PORT, for example "                       \
   "tcp://192.0.2.7:7433 or tcp://[2001:db8::7]:7433.")                        \
 X(NOT_JOINED, 411, STATE, FAILED, "this device belongs to no federation",     \
   "Ask the coordinator's operator for an invite, then run `tacit join` with " \
   "the link. Documents can be searched and trained on without joining.")      \
 X(ALREADY_JOINED, 412, STATE, FAILED, "this device is a member already",      \
   "One home belongs to one federation. Run `tacit leave` first, or use "      \
   "another --home.")                                                          \
 X(INVITE_USED, 450, AUTH, CONNECTION, "this invite was used before",          \
   "An invite works once. Ask the coordinator's operator for a new "           \
   "one: `tacit-coordinator invite NAME`. If nobody of yours used it, "        \
   "tell them.")                                                               \
 X(INVITE_EXPIRED, 451, AUTH, CONNECTION, "this invite has expired",           \
   "Ask the coordinator's operator for a new one: `tacit-coordinator "         \
   "invite NAME --ttl 72h`.")                                                  \
 X(NOT_A_MEMBER, 452, AUTH, CONNECTION,                                        \
   "the coordinator does not know this device",                                \
   "It was never enrolled, or the coordinator's state was replaced. "          \
   "Join again with a new invite.")                                            \
 X(COORDINATOR_RUNNING, 453, STATE, FAILED,                                    \
   "another coordinator runs on this home",                                    \
   "Only one process may serve a home. Stop the other one, or pass "           \
   "another --home.")                                                          \
 X(REVOKED, 454, AUTH, CONNECTION, "the operator has revoked this device",     \
   "It takes part in no more rounds; its documents, models and ledger stay. "  \
   "Ask the operator why. Once they approve it again, start it again.")        \
 X(ROUND_TOO_FEW, 501, STATE, FAILED, "too few devices took part",             \
   "Fewer devices than the plan's min_reports (or the secret-sharing "         \
   "threshold) answered in time. The round is tried again after a "            \
   "pause.")                                                                   \
 X(ROUND_LATE, 502, STATE, FAILED, "the round went on without this device",    \
   "The device answered after its stage had closed. Nothing of it was "        \
   "used; it takes part in the next round.")                                   \
 X(ROUND_RESTARTED, 503, STATE, FAILED,                                        \
   "the coordinator was restarted during the round",                           \
   "Committed models are kept; the round is tried again.")                     \
 X(ROUND_SUM_WRONG, 504, AUTH, FAILED,                                         \
   "the unmasked sum failed its self-check",                                   \
   "A device sent an input or a share that does not fit, so nothing "          \
   "was committed. The round is tried again.")                                 \
 X(SAME_IDENTITY, 505, AUTH, CONNECTION, "two devices show the same identity", \
   "The keys of one device were copied to another. Stop one of them, "         \
   "delete its copied home, and let it join with an invite of its own.")       \
 X(ROUND_ORDER, 506, PROTO, CONNECTION, "a message came out of order",         \
   "The device sent what may not be sent at this stage of the round; "         \
   "the message was ignored.")                                                 \
 X(ROUND_UNKNOWN, 507, STATE, FAILED, "no such round",                         \
   "The round is over and was not kept, or it never was. Poll for the "        \
   "next one.")                                                                \
 X(INPUT_DAMAGED, 508, FORMAT, FAILED, "an upload arrived damaged",            \
   "The bytes do not match their hash; nothing was used. The device "          \
   "sends them again.")                                                        \
 X(COORDINATOR_STOPPING, 509, STATE, FAILED,                                   \
   "the coordinator is shutting down",                                         \
   "Devices reconnect by themselves when it is back.")                         \
 X(SECAGG_ROSTER, 510, PROTO, CONNECTION, "the round's roster is not sound",   \
   "The list of members is unsorted, repeats one, lacks this device or "       \
   "changes its keys. The device left the round and revealed nothing.")        \
 X(SECAGG_TOO_FEW, 511, LIMIT, FAILED, "the group is smaller than allowed",    \
   "Fewer members than the minimum cohort or the secret-sharing threshold "    \
   "would take part. The device left the round and revealed nothing.")         \
 X(SECAGG_SURVIVORS, 512, PROTO, CONNECTION, "the survivor list is not sound", \
   "It names a device that shared no keys, or leaves this one out. The "       \
   "device left the round and revealed nothing.")                              \
 X(SECAGG_SIGNATURES, 513, AUTH, CONNECTION,                                   \
   "too few devices signed the same survivor list",                            \
   "The coordinator may have shown different lists to different devices. "     \
   "The device left the round and revealed nothing.")                          \
 X(SECAGG_ONCE, 514, STATE, CONNECTION,                                        \
   "a step of the round was asked for twice",                                  \
   "Masking and revealing happen at most once in a session; asking again "     \
   "could expose an update.")                                                  \
 X(SECAGG_SHARES, 515, AUTH, FAILED, "a device's shares do not fit",           \
   "The shares do not rebuild the key that the device advertised. Nothing "    \
   "was committed; the round is tried again.")                                 \
 X(SECAGG_KIND, 516, PROTO, CONNECTION, "a share of the wrong kind",           \
   "Of each device the shares of one secret may be shown, never of both. "     \
   "The message was refused.")                                                 \
 X(SECAGG_INPUT, 517, PROTO, CONNECTION, "an input that may not be counted",   \
   "The device is not among those that shared their keys.")                    \
 X(STRATEGY_FEW, 518, LIMIT, FAILED, "too few updates for the robust rule",    \
   "A rule that compares updates wants a certain number of them; the message " \
   "names it. Nothing was committed; the round is tried again. Raise the "     \
   "cohort or its groups, or lower strategy.byzantine.")                       \
 X(PLAN_VALUE, 601, FORMAT, FAILED, "a value in the plan cannot work",         \
   "The message names the key, its value and what may stand there. "           \
   "common/plan/README.md describes every key.")                               \
 X(DEAL, 602, LIMIT, FAILED, "the rows cannot be dealt out like this",         \
   "The message names the client that would have too few rows, or why this "   \
   "partition makes no sense here. Every client needs at least two rows: "     \
   "use more rows, fewer clients, or a milder partition.")                     \
 X(TOO_LARGE, 610, LIMIT, FAILED, "the run would not fit into memory",         \
   "Counted before anything starts, from the plan, the data and the threads. " \
   "The message names what would fit.")                                        \
 X(CHECKPOINT_DAMAGED, 611, FORMAT, FAILED, "the checkpoint is damaged",       \
   "A failing disk or another program changed or cut it. Nothing of it was "   \
   "used. Leave --resume away: the run begins anew, and gives the same bits.") \
 X(CHECKPOINT_OTHER, 612, STATE, FAILED, "the checkpoint is of another run",   \
   "Going on would mix two runs. Give the plan, the --set options and the "    \
   "data of that run, or another folder, or leave --resume away.")             \
 X(PEER_LOST, 613, TIMEOUT, TIMEOUT, "another process of the run is lost",     \
   "It was killed, its machine or network failed, or it is stuck. What was "   \
   "finished is in the checkpoint: run the same command with --resume.")       \
 X(PRIVACY_NOISE, 660, LIMIT, FAILED, "the plan's privacy cannot be had",      \
   "Epsilon, rounds, retries and sample say how much noise there must "        \
   "be. The message names what was asked and the way out.")                    \
 X(PLAN_ENCODER, 670, FORMAT, FAILED,                                          \
   "the plan does not say which encoder it trains",                            \
   "A retriever without a base trains vectors of the encoder that is part of " \
   "the program, and those of another version must not be added to them. Put " \
   "the version that the message shows, or that `tacit status` shows on a "    \
   "device, into the plan: model: {kind: static, encoder: ...}.")              \
 X(LOSS_NAN, 701, LIMIT, FAILED, "training diverged",                          \
   "The loss or a weight stopped being a number. The model is as it was "      \
   "before. Lower the learning rate in the plan, or look for outliers in "     \
   "the data.")                                                                \
 X(CSV_COLUMN, 702, FORMAT, FAILED, "a column is missing in the table",        \
   "The plan's schema names columns that the CSV file must have in its "       \
   "header line. The message names the missing one, the nearest there is and " \
   "those that the file has.")                                                 \
 X(CSV_VALUE, 703, FORMAT, FAILED, "a value in the table cannot be used",      \
   "The message names file, line and column. Numbers are written like 12 or "  \
   "-3.5e2; an empty cell or ? means unknown, and such rows are left out.")    \
 X(CSV_SYNTAX, 704, FORMAT, FAILED, "the file is not a CSV table",             \
   "The first line names the columns; every line has as many values, "         \
   "separated by commas; a value with a comma or a line break stands in "      \
   "double quotes (RFC 4180); the text is UTF-8.")                             \
 X(NO_EXAMPLES, 705, STATE, FAILED, "there is nothing to learn from",          \
   "No usable row was found for this plan. Check the data that policy.yaml "   \
   "names, or give feedback on answers first.")                                \
 X(DATA_KIND, 706, FORMAT, FAILED, "the file is not of the expected kind",     \
   "Images are read from IDX files (labels beside them) or .npy, vectors "     \
   "from .npy (x.npy, y.npy beside it), text from .jsonl, tables from "        \
   ".csv. Unpack compressed files first.")                                     \
 X(DATA_ENDS, 707, FORMAT, FAILED, "a dataset ends early",                     \
   "The file is shorter than its own header says, or the file beside it "      \
   "has another number of rows: a copy was cut off. Fetch it again.")          \
 X(DATA_SHAPE, 708, SHAPE, FAILED, "the data does not fit the plan",           \
   "The message names both sizes. Change width, height, channels, length "     \
   "or classes in the plan, or name another file.")                            \
 X(DATA_VALUE, 709, FORMAT, FAILED, "a value in the data cannot be used",      \
   "The message names file and row. Labels are whole numbers from 0 to "       \
   "classes - 1; values are finite.")                                          \
 X(MODEL_UNSUPPORTED, 720, UNSUPPORTED, FAILED,                                \
   "a model file holds what is not read",                                      \
   "The message names the tensor, type or family. F32, F16, BF16, Q8_0, "      \
   "Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are read, of the families "    \
   "that `tacit model import --help` lists. Fetch the model in one of these.") \
 X(MODEL_MEMORY, 721, LIMIT, FAILED, "the model would not fit into memory",    \
   "Counted before it is loaded: its weights, what it remembers of the "       \
   "prompt and the answer, and the work of a pass. Use a smaller model, "      \
   "`tacit model quantize` (q4_0 is about half of q8_0), a smaller "           \
   "--context, or a larger --memory where one was given.")                     \
 X(NO_GENERATOR, 722, STATE, FAILED, "no network is chosen to write answers",  \
   "None comes with the program. Get a decoder as GGUF or as a Hugging Face "  \
   "folder (llama: Llama 2 and 3, SmolLM2, Mistral; qwen2), then `tacit "      \
   "model import FILE` and `tacit model use NAME`. Without one `tacit ask` "   \
   "quotes the documents word by word.")                                       \
 X(PROMPT_ROOM, 723, LIMIT, FAILED, "the prompt has no room for the question", \
   "The model reads a bounded number of tokens, which the message names. "     \
   "Ask more briefly, lower --max-tokens where half of them and more are for " \
   "the answer, or use a model with a longer context.")                        \
 X(TRAIN_MEMORY, 728, LIMIT, FAILED, "training would not fit into its memory", \
   "Counted before anything starts, from the network's shape and the longest " \
   "rows. The message names both figures and what would fit: a smaller "       \
   "local.batch, shorter rows (data.length), pairs of low rank over a "        \
   "quantised model, or a larger memory_mib, of the plan or of this device's " \
   "policy: the lower one holds.")                                             \
 X(BASE_MISSING, 730, NOTFOUND, FAILED, "the plan's base model is not here",   \
   "The plan trains an adapter for one network, which it names by the hash "   \
   "of its file, and this device has no such file. `tacit model import` the "  \
   "file that the plan's author names, with the same --type; `tacit model "    \
   "show NAME` prints the hash. A model of that name in another type is "      \
   "another file: `tacit model import FILE --name OTHER --type TYPE` brings "  \
   "the right one in beside it. The coordinator takes it with `plan submit "   \
   "--base FILE`, the simulator with --base FILE.")                            \
 X(NOT_A_RERANKER, 736, UNSUPPORTED, FAILED,                                   \
   "the model does not score pairs of texts",                                  \
   "A reranker is a cross-encoder: a BERT with a head of one output "          \
   "(BertForSequenceClassification), as a Hugging Face folder or as GGUF "     \
   "with the tensors cls and cls.output. `tacit model merge` makes one of "    \
   "what a classify plan over pairs has learnt. Without one, passages stand "  \
   "in the order of the search.")                                              \
 X(NO_RERANKER, 737, STATE, FAILED, "no network is chosen to read again",      \
   "None comes with the program. `tacit model import` a cross-encoder (a "     \
   "BertForSequenceClassification with one output), then `tacit model use "    \
   "NAME`; or leave --rerank out.")                                            \
 X(ENCODER_OTHER, 745, UNSUPPORTED, FAILED,                                    \
   "the plan is for another built-in encoder",                                 \
   "The plan names the version of the encoder whose vectors it trains, and "   \
   "this program has another one. Run the version of Tacit that the others "   \
   "of the federation run; until then this device stays out of the plan.")     \
 X(MODEL_NUMBER, 746, FORMAT, FAILED, "a model's weight is not a number",      \
   "The message names the tensor. Its training diverged before it was saved, " \
   "or the file was damaged on the way: fetch it again, or another version.")

enum tacit_code {
#define X(name, id, cls, exit, title, help) E_##name = (id),
    TACIT_CODE_MAP(X)
#undef X
};

#endif
