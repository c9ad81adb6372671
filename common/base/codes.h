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
   "Devices reconnect by themselves when it is back.")

enum tacit_code {
#define X(name, id, cls, exit, title, help) E_##name = (id),
    TACIT_CODE_MAP(X)
#undef X
};

#endif
