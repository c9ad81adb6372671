/*
 * document: a file -> blocks of plain text that know where they stand in it;
 * the first step of walk A.
 *
 *   file ──document_open──> source (bytes, hashed by the corpus)
 *        ──document_parse─> reader of its kind ──> blocks
 *
 *   source   <h2>Dose</h2><p>Give 5&nbsp;mg&nbsp;…
 *                └──┘         └────┘     └┘
 *   text         Dose \n      Give 5 ‿   mg ‿       one buffer, a '\n' after
 *   runs         ^0->13  ^5->23      ^11->34        each block
 *
 * A run maps text bytes to source bytes; document_place() turns any range of
 * text into the byte and line range of the original file, so that a citation
 * opens the right place. Inside a block every run of blanks is one space
 * (code keeps its lines); control characters and marks of direction are gone,
 * so that text from a hostile file is harmless on a terminal.
 *
 * To add a format: write a `read` function over document_builder.h and add a
 * row to the table in document.c. This folder is the door to gumbo (HTML,
 * document_html.c) and md4c (Markdown, document_markdown.c).
 *
 * Thread rule: one thread per document; a parsed document is const.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_H
#define TACIT_RETRIEVAL_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
    DOCUMENT_BYTES_MAX = 32 << 20,
    DOCUMENT_BLOCKS_MAX = 1 << 20,
    DOCUMENT_RUNS_MAX = 4 << 20,
    DOCUMENT_DEPTH_MAX = 512, /* of HTML elements */
    DOCUMENT_TITLE_MAX = 200  /* bytes with the NUL */
};

enum block_kind {
    BLOCK_HEADING,   /* level 1-6 */
    BLOCK_PARAGRAPH, /* level 0 */
    BLOCK_ITEM,      /* of a list; level = depth of nesting, from 1 */
    BLOCK_ROW,       /* of a table: cells joined by " | "; level 0 */
    BLOCK_CODE       /* lines kept; level 0 */
};

struct block {
    enum block_kind kind;
    unsigned level;
    size_t text_first, text_end; /* [first, end) of document.text */
};

/* Text from text_at on stems from the source: byte by byte from source_at on
 * when source_len is 0, as one unit from that many source bytes, or from
 * nothing (a mark between cells). */
#define RUN_NOTHING UINT32_MAX
struct run {
    uint32_t text_at, source_at, source_len;
};

struct document_reader;

struct document {
    struct buf source; /* owned: the file as it was read */
    struct buf text;   /* owned: blocks, each with a '\n' behind it */
    struct block *blocks;
    size_t n_blocks, cap_blocks;
    struct run *runs; /* rising text_at */
    size_t n_runs, cap_runs;
    uint32_t *line_marks; /* lines before each LINE_STEP bytes of source */
    char title[DOCUMENT_TITLE_MAX];
    const struct document_reader *reader;
};

/* Where text stands in the file: bytes [first, end), lines from 1. */
struct place {
    uint64_t byte_first, byte_end;
    uint32_t line_first, line_last;
};

/* Read the file and check that it is text. E_DOCUMENT_MISSING, _UNREADABLE,
 * _TOO_LARGE, _KIND, _EMPTY, _BINARY, _NOT_UTF8. *d is owned: release it, also
 * after a failure of document_parse(). */
TACIT_CHECKED enum tacit_err document_open(struct document *d,
                                           const char *path);
/* The same from memory; `path` gives the kind and the title. */
TACIT_CHECKED enum tacit_err document_open_bytes(struct document *d,
                                                 const char *path,
                                                 const void *bytes, size_t n);
/* Fill blocks, text and title. E_DOCUMENT_EMPTY, _NESTING, _MARKUP,
 * _TOO_LARGE (more than DOCUMENT_BLOCKS_MAX blocks), NOMEM. */
TACIT_CHECKED enum tacit_err document_parse(struct document *d);
void document_release(struct document *d);

/* "text", "markdown" or "html". */
const char *document_kind(const struct document *d);
/* The place of text [first, end), first < end. */
struct place document_place(const struct document *d, size_t first, size_t end);

#endif
