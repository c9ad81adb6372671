/*
 * document_mime: the encodings of a mail: what they stand for, in UTF-8.
 *
 * RFC 2045 (quoted-printable, base64, parameters), 2047 (words in headers),
 * 2231 (parameters in a charset). Debian's readers of MIME bring GLib (GMime)
 * or a mail client's worth of network code (libetpan); a reader that only
 * decodes is a few hundred lines. It is lenient: what does not fit an encoding
 * stays as it is written, so nothing here can fail but memory.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_MIME_H
#define TACIT_RETRIEVAL_DOCUMENT_MIME_H

#include <stddef.h>

#include "common/base/buf.h"

enum { MIME_FIELD_MAX = 8192, MIME_WORD_MAX = 256 };

enum mime_coding { MIME_PLAIN, MIME_QUOTED, MIME_BASE64 };

/* The header of a message or part: borrowed bytes. */
struct mime_part {
    const char *header, *body;
    size_t n_header, n_body;
};

/* Split a message or part at its first empty line. */
struct mime_part mime_split(const char *s, size_t n);
/* A header field, unfolded, into out; "" when it is not there. 0 then. */
int mime_field(const struct mime_part *p, const char *name,
               char out[MIME_FIELD_MAX]);
/* Words like =?utf-8?Q?caf=C3=A9?= decoded, appended as UTF-8. */
void mime_words(struct buf *out, const char *text, size_t n);
/* The value of `name` in "type; name=value; …" as UTF-8 into out[cap]; 0 when
 * it is not there or too long. */
int mime_parameter(const char *field, const char *name, char *out, size_t cap);
/* The type of "Text/HTML; charset=…" in lower case: "text/html". */
void mime_type(const char *field, char out[MIME_WORD_MAX]);
/* What "base64" and "quoted-printable" are; anything else is plain. */
enum mime_coding mime_coding(const char *field);
/* Append the decoded bytes of a body. */
void mime_decode(struct buf *out, enum mime_coding coding, const char *s,
                 size_t n);

#endif
