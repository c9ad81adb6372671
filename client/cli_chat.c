/* tacit chat: questions one after another, each answered from the documents. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_generate.h"
#include "common/base/codes.h"

struct said {
    char *question, *answer; /* owned */
};

struct chat {
    const struct options *o;
    struct reading r;
    struct writer writer;
    enum writer_kind kind;
    struct said said[PROMPT_TURNS_MAX]; /* [n_turns], oldest first */
    size_t n_turns;
    char *line; /* of getline */
    size_t room;
    int is_asked; /* a person sits there */
};

static void forget_turn(struct said *t)
{
    free(t->question);
    free(t->answer);
    *t = (struct said){0};
}

/* The supported sentences, without numbers that mean other passages later. */
static enum tacit_err remember_turn(struct chat *c, const char *question,
                                    const struct generated *g)
{
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < g->n_claims; i++)
        if (g->claims[i].is_supported)
            buf_printf(&b, "%s%s", b.len ? " " : "", g->claims[i].text);
    const char *text = buf_cstr(&b);
    enum tacit_err err = buf_end(&b);
    struct said turn = {strdup(question), strdup(text ? text : "")};
    buf_release(&b);
    if (!err && (!turn.question || !turn.answer))
        err = fail(TACIT_NOMEM, "no memory for the conversation");
    if (err) {
        forget_turn(&turn);
        return err;
    }
    if (c->n_turns == PROMPT_TURNS_MAX) {
        forget_turn(&c->said[0]);
        memmove(c->said, c->said + 1, (PROMPT_TURNS_MAX - 1) * sizeof *c->said);
        c->n_turns--;
    }
    c->said[c->n_turns++] = turn;
    return TACIT_OK;
}

static enum tacit_err answer_by(struct chat *c, const char *search,
                                const char *question, struct generated *g)
{
    arena_reset(&c->r.arena);
    c->r.query.text = search;
    struct prompt_turn turns[PROMPT_TURNS_MAX];
    for (size_t i = 0; i < c->n_turns; i++)
        turns[i] = (struct prompt_turn){c->said[i].question, c->said[i].answer};
    return writer_answer(&c->writer, &c->r, question, turns, c->n_turns, g);
}

/* "And for children?": of a single word that means something. */
static int leans_on_another(struct chat *c, const char *question)
{
    struct question q;
    if (c->n_turns && question_read(&c->r.arena, question, &q) == TACIT_OK)
        return q.n_terms == 1;
    return 0;
}

/* Such a question is searched for with the one before it, where it finds
 * nothing alone; the model is still asked this one. */
static enum tacit_err answer(struct chat *c, const char *question,
                             struct generated *g)
{
    struct buf b;
    enum tacit_err err = answer_by(c, question, question, g);
    if (!err || err_id() != E_NOTHING_RELEVANT ||
        !leans_on_another(c, question))
        return err;
    buf_init(&b, SEARCH_QUERY_MAX + 1); /* and its end */
    buf_printf(&b, "%s %s", c->said[c->n_turns - 1].question, question);
    const char *both = buf_cstr(&b);
    if (both && buf_end(&b) == TACIT_OK) {
        err_clear();
        err = answer_by(c, both, question, g);
    }
    c->r.query.text = question;
    buf_release(&b);
    return err;
}

static enum tacit_err one_answer(struct chat *c, const char *question)
{
    if (c->kind == WRITER_EXTRACTS) {
        arena_reset(&c->r.arena);
        c->r.query.text = question;
        return cli_quote(c->o, &c->r);
    }
    struct generated *g = calloc(1, sizeof *g);
    if (!g) return fail(TACIT_NOMEM, "no memory for an answer");
    enum tacit_err err = answer(c, question, g);
    if (!err) err = remember_turn(c, question, g);
    free(g);
    return err;
}

static enum tacit_err ask(struct chat *c, const char *question)
{
    enum tacit_err err = one_answer(c, question);
    int is_cut = err && err_id() == E_INTERRUPTED;
    if ((!cli_goes_on(err) && !is_cut) || cli_interrupted() == SIGTERM)
        return err;
    if (err) cli_tell(c->o, err);
    fflush(stdout);
    return TACIT_OK;
}

/* The next question without its blanks; NULL at the end. */
static char *next_question(struct chat *c)
{
    for (;;) {
        cli_watch_interrupt();
        if (c->is_asked) fputs("> ", stderr);
        ssize_t n = getline(&c->line, &c->room, stdin);
        if (n < 0 && errno == EINTR && cli_interrupted() == SIGINT) {
            clearerr(stdin);
            fputc('\n', stderr);
            continue;
        }
        if (n < 0 || cli_interrupted() == SIGTERM) return NULL;
        char *from = c->line + strspn(c->line, " \t\r\n");
        size_t len = strlen(from);
        while (len && strchr(" \t\r\n", from[len - 1])) from[--len] = '\0';
        if (len) return from;
    }
}

static enum tacit_err talk(struct chat *c)
{
    enum tacit_err err = TACIT_OK;
    char *question;
    while (!err && (question = next_question(c))) err = ask(c, question);
    if (c->is_asked) fputc('\n', stderr);
    return err;
}

enum tacit_err cli_chat(const struct options *o)
{
    struct chat *c = calloc(1, sizeof *c);
    if (!c) return fail(TACIT_NOMEM, "no memory for a conversation");
    c->o = o;
    c->is_asked = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    enum tacit_err err = reading_begin(o, &c->r);
    if (err) {
        free(c);
        return err;
    }
    err = cli_writer(o, &c->r.d, &c->kind);
    if (!err && c->kind == WRITER_GENERATES)
        err = writer_open(o, &c->r.d, 1, &c->writer);
    int is_open = !err && c->kind == WRITER_GENERATES;
    if (!err && c->kind == WRITER_EXTRACTS)
        cli_hint(o, "No network is chosen that writes: answers are quoted from "
                    "the documents, each question for itself.");
    if (!err) err = talk(c);
    if (is_open) writer_close(&c->writer);
    for (size_t i = 0; i < c->n_turns; i++) forget_turn(&c->said[i]);
    free(c->line);
    reading_end(&c->r);
    free(c);
    return err;
}
