/*
 * document_builder: what a reader calls to hand over blocks; it collapses
 * blanks, drops what is not harmless, and keeps the map to the source.
 *
 *   builder_open ─> (builder_source | builder_piece)* ─> builder_close
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
    int64_t cpu_deadline_ns; /* of the HTML in it; 0 = not begun */
    enum tacit_err err;
};

/* A document format: one row of the table in document.c. */
struct document_reader {
    const char *kind;
    const char *endings; /* " txt text " */
    /* Hand over all blocks of source [first, end), which is UTF-8 without NUL.
     * May write d->title. */
    enum tacit_err (*read)(struct builder *b, size_t first, size_t end);
};

extern const struct document_reader document_text;
extern const struct document_reader document_markdown;
extern const struct document_reader document_html;

/* Begin a block; an open one is closed first. */
void builder_open(struct builder *b, enum block_kind kind, unsigned level);
/* The source bytes [at, at + n), as they are. */
void builder_source(struct builder *b, size_t at, size_t n);
/* Text [n] that stands for source bytes [at, at + len): a decoded entity, a
 * line break (" "), a mark between cells (len 0). */
void builder_piece(struct builder *b, const char *text, size_t n, size_t at,
                   size_t len);
void builder_close(struct builder *b);
/* Bytes of text in the open block. */
size_t builder_length(const struct builder *b);
/* Stop with E_DOCUMENT_MARKUP. */
void builder_refuse(struct builder *b, const char *why);
/* The first error, or OK. */
TACIT_CHECKED enum tacit_err builder_end(struct builder *b);

/* Copy text into the title: blanks collapsed, cut between characters. */
void document_set_title(struct document *d, const char *text, size_t n);

#endif
