/*
 * tacit ask --questions FILE: every line is a question, answered for itself.
 *
 *   lines ─> slots ─search, prompt─> decoder, several at once ─> slots ─> out,
 *              ^                                                   │   in order
 *              └──── free again once all before it are out <───────┘
 *
 * A slot is taken in the order of the questions and freed in it; what is
 * written before its turn waits there. So memory is bounded by the slots.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_generate.h"
#include "common/base/codes.h"
#include "common/base/plural.h"
#include "common/base/progress.h"

enum {
    AT_ONCE = 4, /* where nothing else is said */
    SLOTS_PER_SEQUENCE = 4,
    MESSAGE_BYTES = 1024
};

struct turn {
    struct arena arena;
    char *question; /* owned */
    struct search_query query;
    struct search_report report;
    struct generate_job job;
    struct generated g;
    struct writer_page page;
    struct buf text;
    int is_over;
    enum tacit_err err;
    unsigned id; /* of the error, and what it says */
    char message[MESSAGE_BYTES];
};

struct many {
    const struct options *o;
    struct reading *r;
    struct writer writer;
    FILE *in;
    char *line; /* of getline */
    size_t room;
    struct turn *slots;           /* [n_slots], a ring */
    size_t n_slots, given, n_out; /* questions; the slot of i: i % n_slots */
    size_t n_answered;
    struct progress progress;
};

/* ---- questions ---------------------------------------------------------- */

/* The next line that has anything on it; NULL at the end. */
static char *next_line(struct many *m)
{
    while (getline(&m->line, &m->room, m->in) >= 0) {
        char *from = m->line + strspn(m->line, " \t\r\n");
        size_t n = strlen(from);
        while (n && strchr(" \t\r\n", from[n - 1])) from[--n] = '\0';
        if (n) return from;
    }
    return NULL;
}

static enum tacit_err open_questions(struct many *m)
{
    const char *path = options_value(m->o, "questions");
    m->in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (m->in) return TACIT_OK;
    return fail(errno == ENOENT ? TACIT_NOTFOUND : TACIT_IO, "%s: %s", path,
                strerror(errno));
}

static enum tacit_err note(struct many *m, enum tacit_err err)
{
    m->n_out++;
    m->n_answered += !err;
    if (err) cli_tell(m->o, err);
    fflush(stdout);
    progress_update(&m->progress, m->n_out, NULL);
    return TACIT_OK;
}

static void head(const struct many *m, const char *question)
{
    if (cli_json(m->o)) return;
    printf("%s%zu. %s\n", m->n_out ? "\n" : "", m->n_out + 1, question);
    fflush(stdout);
}

/* ---- quoted ------------------------------------------------------------- */

static enum tacit_err quote_all(struct many *m)
{
    const char *question;
    while ((question = next_line(m))) {
        if (cli_interrupted()) return fail_as(E_INTERRUPTED, "interrupted");
        arena_reset(&m->r->arena);
        m->r->query.text = question;
        head(m, question);
        enum tacit_err err = cli_quote(m->o, m->r);
        m->r->query.text = m->r->text;
        if (!cli_goes_on(err)) return err;
        TRY(note(m, err));
    }
    return TACIT_OK;
}

/* ---- written ------------------------------------------------------------ */

static enum tacit_err next(void *ctx, struct generate_order *out)
{
    struct many *m = ctx;
    const char *question;
    if (cli_interrupted()) return fail_as(E_INTERRUPTED, "interrupted");
    if (m->given - m->n_out == m->n_slots) return TACIT_OK;
    if (!(question = next_line(m))) return TACIT_OK;
    struct turn *s = &m->slots[m->given % m->n_slots];
    s->question = strdup(question);
    if (!s->question) return fail(TACIT_NOMEM, "no memory for a question");
    s->query = m->r->query;
    s->query.text = s->question;
    s->query.report = &s->report;
    s->page = (struct writer_page){.o = m->o, .later = &s->text};
    s->job =
        writer_job(&m->writer, m->r->corpus, &s->query, s->question, &s->page);
    *out = (struct generate_order){&s->job, &s->arena, &s->g};
    m->given++;
    return TACIT_OK;
}

static void clear(struct turn *s)
{
    free(s->question);
    s->question = NULL;
    arena_reset(&s->arena);
    buf_release(&s->text);
    buf_init(&s->text, 0);
    s->is_over = 0;
}

/* Its turn has come. */
static enum tacit_err put_out(struct many *m, struct turn *s)
{
    enum tacit_err err = s->err;
    head(m, s->question);
    if (s->text.len) fwrite(s->text.data, 1, s->text.len, stdout);
    if (s->text.len && err) putchar('\n');
    if (err)
        err_record(s->id ? TACIT_OK : err, s->id, "%s", s->message);
    else
        TRY(writer_print(&m->writer, m->r, s->question, &s->g));
    TRY(note(m, err));
    clear(s);
    return TACIT_OK;
}

static enum tacit_err end(void *ctx, const struct generate_order *order,
                          enum tacit_err err)
{
    struct many *m = ctx;
    struct turn *s = m->slots;
    while (&s->job != order->job) s++;
    if (!cli_goes_on(err)) return err;
    if (!err) err = buf_end(&s->text);
    s->is_over = 1;
    s->err = err;
    s->id = err ? err_id() : 0;
    snprintf(s->message, sizeof s->message, "%s", err ? err_message() : "");
    if (err) err_clear();
    while (m->n_out < m->given && m->slots[m->n_out % m->n_slots].is_over)
        TRY(put_out(m, &m->slots[m->n_out % m->n_slots]));
    return TACIT_OK;
}

static enum tacit_err write_all(struct many *m)
{
    const struct decoder_need *n = decoder_need(m->writer.generator.decoder);
    writer_hint(&m->writer);
    m->n_slots = SLOTS_PER_SEQUENCE * n->sequences;
    m->slots = calloc(m->n_slots, sizeof *m->slots);
    if (!m->slots) return fail(TACIT_NOMEM, "no memory for answers");
    for (size_t i = 0; i < m->n_slots; i++) {
        arena_init(&m->slots[i].arena, 0);
        buf_init(&m->slots[i].text, 0);
    }
    enum tacit_err err = generate_all(
        &(struct generate_queue){m->writer.generator.decoder, m, next, end});
    for (size_t i = 0; i < m->n_slots; i++) {
        clear(&m->slots[i]);
        arena_release(&m->slots[i].arena);
    }
    free(m->slots);
    return err;
}

/* ---- all of them -------------------------------------------------------- */

static enum tacit_err ask_all(struct many *m, enum writer_kind kind)
{
    int64_t at_once = AT_ONCE;
    TRY(options_int(m->o, "at-once", 1, DECODER_SEQUENCES_MAX, at_once,
                    &at_once));
    TRY(open_questions(m));
    cli_catch_interrupt();
    if (kind == WRITER_EXTRACTS) return quote_all(m);
    TRY(writer_open(m->o, &m->r->d, (size_t)at_once, &m->writer));
    enum tacit_err err = write_all(m);
    writer_close(&m->writer);
    return err;
}

enum tacit_err cli_ask_many(const struct options *o, struct reading *r,
                            enum writer_kind kind)
{
    struct many m = {.o = o, .r = r};
    /* On a terminal the answers themselves are what is seen of it. */
    progress_begin(&m.progress,
                   isatty(STDOUT_FILENO) ? PROGRESS_QUIET : cli_progress(o),
                   "answering", "questions", 0);
    enum tacit_err err = ask_all(&m, kind);
    progress_end(&m.progress);
    if (!err && m.n_out == 0)
        err =
            fail_as(E_USAGE, "%s asks nothing", options_value(o, "questions"));
    if (!err)
        cli_hint(o, "%zu question%s, %zu answered.", m.n_out, plural_s(m.n_out),
                 m.n_answered);
    if (m.in && m.in != stdin) fclose(m.in);
    free(m.line);
    return err;
}
