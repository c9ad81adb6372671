/*
 * document_html: the HTML reader's second use, for HTML inside Markdown.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_HTML_H
#define TACIT_RETRIEVAL_DOCUMENT_HTML_H

#include "retrieval/document_builder.h"

/* Hand over the blocks of the HTML in source [first, end); errors stick in b.
 * The document's title stays as it is. */
void document_html_part(struct builder *b, size_t first, size_t end);

#endif
