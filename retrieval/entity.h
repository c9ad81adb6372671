/*
 * entity: "&eacute;", "&#233;", "&#xE9;" -> the character, for Markdown, whose
 * parser hands them over as they stand. (HTML's parser decodes its own.)
 */
#ifndef TACIT_RETRIEVAL_ENTITY_H
#define TACIT_RETRIEVAL_ENTITY_H

#include <stddef.h>

enum { ENTITY_UTF8_MAX = 4 };

/* UTF-8 of the entity s[n] ("&" to ";") into out; its length, or 0 when it is
 * not known, which then stays as it is written. */
size_t entity_decode(const char *s, size_t n, char out[ENTITY_UTF8_MAX]);

#endif
