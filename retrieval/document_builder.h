/*
 * document_builder: what a reader calls to hand over blocks; it collapses
 * blanks, drops what is not harmless, and keeps the map to the source.
 *
 *   builder_open ─> (builder_source | builder_piece)* ─> builder_close
 *
 * A reader whose file is no text makes the source while it goes:
 *
 *   builder_open ─> builder_add* ─> builder_close     one line per block
 *   builder_make ─> the reader of text or HTML        a part as it is
 *
 * Errors stick in the builder and are seen once, by builder_end(). A block
 * without a visible character does not come to be.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_BUILDER_H
#define TACIT_RETRIEVAL_DOCUMENT_BUILDER_H

#include "retrieval/document.h"

struct builder {
    struct document *d; /* borrowed */
    int is_open;
    struct block block;
    int has_blank;           /* a blank is due before the next character */
    size_t blank_at;         /* where in the source */
    size_t source_at;        /* where the last piece ended */
    int is_full;             /* the made source is as long as it may be */
    int64_t cpu_deadline_ns; /* of the HTML in it; 0 = not begun */
    enum tacit_err err;
};

/* What a reader takes. */
enum document_input {
    INPUT_TEXT,   /* bytes in memory that are UTF-8 without NUL */
    INPUT_HTML,   /* the same; a page may name its charset */
    INPUT_BYTES,  /* bytes in memory, not looked at */
    INPUT_HANDLE, /* an open file; nothing in memory */
};

/* A document format: one row of the table in document.c. */
struct document_reader {
    const char *kind;
    const char *endings; /* " txt text " */
    enum document_input input;
    /* Hand over all blocks of source [first, end); for the inputs that are no
     * text, of the file. May write d->title and d->note. */
    enum tacit_err (*read)(struct builder *b, size_t first, size_t end);
};

extern const struct document_reader document_text;
extern const struct document_reader document_markdown;
extern const struct document_reader document_html;
extern const struct document_reader document_pdf;
extern const struct document_reader document_docx;
extern const struct document_reader document_odt;
extern const struct document_reader document_epub;
extern const struct document_reader document_csv;
extern const struct document_reader document_jsonl;
extern const struct document_reader document_email;
extern const struct document_reader document_mbox;

/* Begin a block; an open one is closed first. */
void builder_open(struct builder *b, enum block_kind kind, unsigned level);
/* The source bytes [at, at + n), as they are. */
void builder_source(struct builder *b, size_t at, size_t n);
/* Text [n] that stands for source bytes [at, at + len): a decoded entity, a
 * line break (" "), a mark between cells (len 0). */
void builder_piece(struct builder *b, const char *text, size_t n, size_t at,
                   size_t len);
void builder_close(struct builder *b);
/* Text [n], UTF-8, that is appended to the made source, on a line of its own
 * for each block. What is over DOCUMENT_SOURCE_MAX is left out, and is said. */
void builder_add(struct builder *b, const char *text, size_t n);
/* Append a part to the made source for another reader; it begins a line. What
 * is not UTF-8 becomes U+FFFD, a NUL a blank. 0 when it does not fit whole. */
int builder_make(struct builder *b, const void *bytes, size_t n, size_t *first,
                 size_t *end);
/* Where a document stands between two blocks, to go back to: for a part that is
 * read in another way when the first fails. */
struct builder_mark {
    size_t n_blocks, n_runs, n_text, n_made;
};
struct builder_mark builder_mark(struct builder *b);
void builder_back(struct builder *b, struct builder_mark to);
/* Bytes of text in the open block. */
size_t builder_length(const struct builder *b);
/* Say what was left out; the first note stays. */
void builder_note(struct builder *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Stop with E_DOCUMENT_MARKUP. */
void builder_refuse(struct builder *b, const char *why);
/* The first error, or OK. */
TACIT_CHECKED enum tacit_err builder_end(struct builder *b);

/* Make document_place() ready, once all blocks are there; document_parse() does
 * so. */
TACIT_CHECKED enum tacit_err document_settle(struct document *d);

/* Copy text into the title: blanks collapsed, cut between characters. */
void document_set_title(struct document *d, const char *text, size_t n);

#endif
