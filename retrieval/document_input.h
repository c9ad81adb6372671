/*
 * document_input: a file as its reader wants it, read while nobody wrote it.
 *
 *   text    stat, read whole, stat again: two different ones, and the file is
 *           read again; UTF-16 and UTF-32 with a mark become UTF-8
 *   handle  open, hash, fstat; parsed from the same handle; fstat again
 *
 * Not for callers of document.h.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_INPUT_H
#define TACIT_RETRIEVAL_DOCUMENT_INPUT_H

#include "retrieval/document.h"

/* Fill file or handle, hash, file_bytes and source of a document whose reader
 * is set. Errors as document_open(). */
TACIT_CHECKED enum tacit_err document_input_read(struct document *d,
                                                 const char *path);
TACIT_CHECKED enum tacit_err document_input_copy(struct document *d,
                                                 const char *path,
                                                 const void *bytes, size_t n);
/* E_DOCUMENT_CHANGED when the handle's file is not what was hashed. */
TACIT_CHECKED enum tacit_err document_input_recheck(const struct document *d,
                                                    const char *name);
/* Bytes of a byte-order mark of UTF-8 at the source's beginning. */
size_t document_mark_length(const struct document *d);

#endif
