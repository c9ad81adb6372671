#include "common/model/chat.h"

#include <string.h>

static const struct family {
    enum chat_family family;
    const char *name;
    const char *fingerprint; /* in the program; all parts, '\1' between */
    const char *mark;        /* in the vocabulary */
} families[] = {
    {CHAT_CHATML, "chatml", "<|im_start|>\1<|im_end|>", "<|im_start|>"},
    {CHAT_LLAMA3, "llama-3", "<|start_header_id|>\1<|eot_id|>",
     "<|start_header_id|>"},
    {CHAT_LLAMA2, "llama-2", "[INST]\1<<SYS>>", NULL},
    {CHAT_MISTRAL, "mistral", "[INST]\1[/INST]", "[INST]"},
};

static int contains(const char *s, size_t n, const char *part, size_t len)
{
    return len <= n && memmem(s, n, part, len) != NULL;
}

static int fits(const char *program, size_t n, const char *fingerprint)
{
    while (*fingerprint) {
        size_t len = strcspn(fingerprint, "\1");
        if (!contains(program, n, fingerprint, len)) return 0;
        fingerprint += len + (fingerprint[len] != '\0');
    }
    return 1;
}

enum chat_family chat_family_of(const char *program, size_t n,
                                const struct vocab *v)
{
    for (size_t i = 0; program && i < sizeof families / sizeof *families; i++)
        if (fits(program, n, families[i].fingerprint))
            return families[i].family;
    for (size_t i = 0; v && i < sizeof families / sizeof *families; i++) {
        const char *mark = families[i].mark;
        int32_t id = mark ? vocab_find(v, mark, strlen(mark)) : -1;
        if (id >= 0 && vocab_class_of(v, id) != VOCAB_NORMAL)
            return families[i].family;
    }
    return CHAT_NONE;
}

const char *chat_family_name(enum chat_family f)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i].family == f) return families[i].name;
    return "none";
}

/* ---- writing ------------------------------------------------------------ */

struct writing {
    const struct vocab *v;
    struct vocab_ids *out;
    struct buf text; /* what is not tokens yet */
    enum tacit_err err;
};

static void text(struct writing *w, const char *s, size_t n)
{
    buf_put(&w->text, s, n);
}

static void frame(struct writing *w, const char *s)
{
    text(w, s, strlen(s));
}

/* The text so far becomes tokens, as one piece: marks in it are text. */
static void flush(struct writing *w)
{
    if (!w->err) w->err = buf_end(&w->text);
    if (!w->err && w->text.len > 0)
        w->err = vocab_encode(w->v, (const char *)w->text.data, w->text.len,
                              VOCAB_PLAIN, w->out);
    buf_clear(&w->text);
}

static void token(struct writing *w, int32_t id, const char *name)
{
    flush(w);
    if (w->err) return;
    w->err = id >= 0 ? vocab_ids_put(w->out, id)
                     : fail(TACIT_NOTFOUND,
                            "the vocabulary lacks the token %s of its chat "
                            "template",
                            name);
}

static void mark(struct writing *w, const char *name)
{
    token(w, vocab_find(w->v, name, strlen(name)), name);
}

/* A mark where the vocabulary has it as one token, else its letters: Mistral's
 * first models spell [INST] out. */
static void mark_or_text(struct writing *w, const char *name)
{
    int32_t id = vocab_find(w->v, name, strlen(name));
    enum vocab_class class = vocab_class_of(w->v, id);
    if (id >= 0 && (class == VOCAB_CONTROL || class == VOCAB_USER))
        token(w, id, name);
    else
        frame(w, name);
}

static void trimmed(struct writing *w, const struct chat_message *m)
{
    size_t from = 0, to = m->n;
    while (from < to && strchr(" \t\r\n", m->text[from])) from++;
    while (to > from && strchr(" \t\r\n", m->text[to - 1])) to--;
    text(w, m->text + from, to - from);
}

static const char *role_name(enum chat_role role)
{
    if (role == CHAT_SYSTEM) return "system";
    return role == CHAT_USER ? "user" : "assistant";
}

static void write_chatml(struct writing *w, const struct chat_message *m,
                         size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mark(w, "<|im_start|>");
        frame(w, role_name(m[i].role));
        frame(w, "\n");
        text(w, m[i].text, m[i].n);
        mark(w, "<|im_end|>");
        frame(w, "\n");
    }
    mark(w, "<|im_start|>");
    frame(w, "assistant\n");
}

static void llama3_head(struct writing *w, enum chat_role role)
{
    mark(w, "<|start_header_id|>");
    frame(w, role_name(role));
    mark(w, "<|end_header_id|>");
    frame(w, "\n\n");
}

static void write_llama3(struct writing *w, const struct chat_message *m,
                         size_t n)
{
    token(w, vocab_marks_of(w->v).bos, "<|begin_of_text|>");
    for (size_t i = 0; i < n; i++) {
        llama3_head(w, m[i].role);
        trimmed(w, &m[i]);
        mark(w, "<|eot_id|>");
    }
    llama3_head(w, CHAT_ASSISTANT);
}

static void write_llama2(struct writing *w, const struct chat_message *m,
                         size_t n)
{
    const struct chat_message *system = m[0].role == CHAT_SYSTEM ? m : NULL;
    struct vocab_marks marks = vocab_marks_of(w->v);
    for (size_t i = system ? 1 : 0; i < n; i++) {
        if (m[i].role == CHAT_ASSISTANT) {
            frame(w, " ");
            trimmed(w, &m[i]);
            frame(w, " ");
            token(w, marks.eos, "</s>");
            continue;
        }
        token(w, marks.bos, "<s>");
        frame(w, "[INST] ");
        if (system && i == 1) {
            frame(w, "<<SYS>>\n");
            text(w, system->text, system->n);
            frame(w, "\n<</SYS>>\n\n");
        }
        trimmed(w, &m[i]);
        frame(w, " [/INST]");
    }
}

static void write_mistral(struct writing *w, const struct chat_message *m,
                          size_t n)
{
    const struct chat_message *system = m[0].role == CHAT_SYSTEM ? m : NULL;
    struct vocab_marks marks = vocab_marks_of(w->v);
    int32_t inst = vocab_find(w->v, "[INST]", 6);
    int spelt = inst < 0 || vocab_class_of(w->v, inst) == VOCAB_NORMAL;
    token(w, marks.bos, "<s>");
    for (size_t i = system ? 1 : 0; i < n; i++) {
        if (m[i].role == CHAT_ASSISTANT) {
            if (spelt) frame(w, " ");
            trimmed(w, &m[i]);
            token(w, marks.eos, "</s>");
            continue;
        }
        mark_or_text(w, "[INST]");
        if (spelt) frame(w, " ");
        /* The first models have what the system says before the first
         * question, later ones before the last. */
        if (system && (spelt ? i == 1 : i + 1 == n)) {
            text(w, system->text, system->n);
            frame(w, "\n\n");
        }
        text(w, m[i].text, m[i].n);
        if (spelt) frame(w, " ");
        mark_or_text(w, "[/INST]");
    }
}

static enum tacit_err check_turns(const struct chat_message *m, size_t n)
{
    size_t first = n > 0 && m[0].role == CHAT_SYSTEM;
    if (n == first)
        return fail(TACIT_STATE, "a conversation without a question");
    for (size_t i = first; i < n; i++)
        if (m[i].role != ((i - first) % 2 ? CHAT_ASSISTANT : CHAT_USER))
            return fail(TACIT_STATE,
                        "message %zu of a conversation is out of "
                        "turn",
                        i + 1);
    if (m[n - 1].role != CHAT_USER)
        return fail(TACIT_STATE, "a conversation ends with a question");
    return TACIT_OK;
}

enum tacit_err chat_encode(enum chat_family f, const struct vocab *v,
                           const struct chat_message *messages, size_t n,
                           struct vocab_ids *out)
{
    struct writing w = {.v = v, .out = out};
    size_t before = out->n;
    TRY(check_turns(messages, n));
    buf_init(&w.text, 0);
    switch (f) {
    case CHAT_LLAMA2: write_llama2(&w, messages, n); break;
    case CHAT_MISTRAL: write_mistral(&w, messages, n); break;
    case CHAT_LLAMA3: write_llama3(&w, messages, n); break;
    case CHAT_CHATML: write_chatml(&w, messages, n); break;
    case CHAT_NONE:
        w.err = fail(TACIT_UNSUPPORTED, "this model has no chat template");
    }
    flush(&w);
    buf_release(&w.text);
    if (w.err) out->n = before;
    return w.err;
}
