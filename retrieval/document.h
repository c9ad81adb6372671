/*
 * document: a file -> blocks of plain text that know where they stand in it;
 * the first step of walk A.
 *
 *   file ──document_open──> the file's bytes or a handle, and their hash
 *        ──document_parse─> reader of its kind ──> source ──> blocks
 *
 *   source   <h2>Dose</h2><p>Give 5&nbsp;mg&nbsp;…
 *                └──┘         └────┘     └┘
 *   text         Dose \n      Give 5 ‿   mg ‿       one buffer, a '\n' after
 *   runs         ^0->13  ^5->23      ^11->34        each block
 *
 * A run maps text bytes to source bytes; document_place() turns any range of
 * text into a byte, line and page range of the source, so that a citation
 * opens the right place. What the source is depends on the kind:
 *
 *   text Markdown HTML CSV JSONL   the file itself (UTF-8); if it was UTF-16
 *                                  or an HTML page in another charset, the
 *                                  file in UTF-8
 *   PDF                            what `pdftotext -enc UTF-8 FILE -` prints
 *                                  (without the space before a line's end)
 *   DOCX ODT EPUB                  the text in it, one paragraph per line: so
 *                                  line n is paragraph n
 *   e-mail, mbox                   the decoded headers and parts, in order
 *
 * A PDF's places have pages, too. What was left out of a document (pages over
 * the limit, pages without text) stands in `note`, to be shown.
 *
 * Inside a block every run of blanks is one space (code keeps its lines), the
 * text is in Normalization Form KC but for numbers (base/nfkc.h); control
 * characters and marks of direction are gone, so that text from a hostile file
 * is harmless on a terminal.
 *
 * To add a format: write a `read` function over document_builder.h and add a
 * row to the table in document.c. This folder is the door to gumbo (HTML,
 * document_html.c), md4c (Markdown), libzip (document_zip.c), expat
 * (document_xml.c) and iconv (document_charset.c); pdftotext runs as a child
 * that can only read and print (document_child.c).
 *
 * Thread rule: one thread per document; a parsed document is const.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_H
#define TACIT_RETRIEVAL_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"

enum {
    DOCUMENT_BYTES_MAX = 32 << 20,  /* of text; of a page, what is read */
    DOCUMENT_FILE_MAX = 256 << 20,  /* of a PDF, a container, a mailbox, HTML */
    DOCUMENT_SOURCE_MAX = 64 << 20, /* of the text taken out of one */
    DOCUMENT_PAGES_MAX = 10000,     /* of a PDF; the rest is not read */
    DOCUMENT_BLOCKS_MAX = 1 << 20,
    DOCUMENT_RUNS_MAX = 4 << 20,
    DOCUMENT_DEPTH_MAX = 512, /* of HTML and XML elements */
    DOCUMENT_TITLE_MAX = 200, /* bytes with the NUL */
    DOCUMENT_NOTE_MAX = 400
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
    /* The file: its bytes (owned; empty where a reader takes the handle), the
     * handle (owned, -1 = none), and what it is known by. */
    struct buf file;
    int handle;
    char *path; /* owned: as it was given, for messages */
    uint64_t file_bytes;
    struct digest hash;
    int64_t opened_s, opened_ns; /* when the handle's file was last written */
    /* What places count in: bytes of `file` or of `made` (owned). */
    struct {
        const uint8_t *data;
        size_t len;
    } source;
    struct buf made;
    struct buf text; /* owned: blocks, each with a '\n' behind it */
    struct block *blocks;
    size_t n_blocks, cap_blocks;
    struct run *runs; /* rising text_at */
    size_t n_runs, cap_runs;
    uint32_t *line_marks; /* lines before each LINE_STEP bytes of source */
    uint32_t *page_at;    /* where each page begins in the source; [n_pages] */
    size_t n_pages;       /* 0 = a kind without pages */
    char title[DOCUMENT_TITLE_MAX];
    char note[DOCUMENT_NOTE_MAX]; /* "" or what was left out or guessed */
    const char *guess;            /* for the note: the charset; or NULL */
    const struct document_reader *reader;
};

/* Where text stands: bytes [first, end) of the source, lines and pages from
 * 1; page 0 = there are none. */
struct place {
    uint64_t byte_first, byte_end;
    uint32_t line_first, line_last;
    uint32_t page_first, page_last;
};

/* Read the file, hash it, and check that what should be text is.
 * E_DOCUMENT_MISSING, _UNREADABLE, _TOO_LARGE, _KIND, _EMPTY, _BINARY,
 * _NOT_UTF8, _CHANGED. *d is owned: release it, also after a failure of
 * document_parse(). */
TACIT_CHECKED enum tacit_err document_open(struct document *d,
                                           const char *path);
/* The same from memory; `path` gives the kind and the title. */
TACIT_CHECKED enum tacit_err document_open_bytes(struct document *d,
                                                 const char *path,
                                                 const void *bytes, size_t n);
/* Fill blocks, text, title and note. E_DOCUMENT_EMPTY, _NESTING, _MARKUP,
 * _TOO_LARGE (more than DOCUMENT_BLOCKS_MAX blocks), _DAMAGED, _ENCRYPTED,
 * _SCANNED, _HELPER, _CHANGED; NOMEM. */
TACIT_CHECKED enum tacit_err document_parse(struct document *d);
void document_release(struct document *d);

/* "text", "markdown", "html", "pdf", "docx", "odt", "epub", "csv", "jsonl",
 * "email" or "mbox". */
const char *document_kind(const struct document *d);
/* The i-th kind that there is; NULL behind the last. */
const char *document_kind_at(size_t i);
/* The place of text [first, end), first < end. */
struct place document_place(const struct document *d, size_t first, size_t end);

#endif
