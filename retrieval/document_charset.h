/*
 * document_charset: the door to iconv: text in one of the charsets that
 * documents and mail are written in -> UTF-8.
 *
 * Names are looked up in a table of ours, so that a hostile one never reaches
 * the library (whose converters come as plug-ins named by the caller). As on
 * the web, ISO-8859-1 and US-ASCII are read as Windows-1252.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_CHARSET_H
#define TACIT_RETRIEVAL_DOCUMENT_CHARSET_H

#include "common/base/buf.h"
#include "common/base/err.h"

/* Append bytes [n] in a charset to out as UTF-8; what does not fit the charset
 * becomes U+FFFD. An unknown charset is read as UTF-8, and as Windows-1252
 * where it is not. The buf's error sticks. */
void document_charset(struct buf *out, const char *name, const void *bytes,
                      size_t n);
/* Whether the name is in the table. */
int document_charset_known(const char *name);

#endif
