/*
 * document_text: the reader of plain text's other uses: for the text that was
 * taken out of a PDF or a mail.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_TEXT_H
#define TACIT_RETRIEVAL_DOCUMENT_TEXT_H

#include "retrieval/document_builder.h"

enum text_style {
    TEXT_PLAIN,
    TEXT_PAGES, /* form feeds end pages; words are divided at lines' ends */
    TEXT_MAIL   /* no line is a heading */
};

/* Hand over the blocks of the text in source [first, end); errors stick. */
void document_text_part(struct builder *b, enum text_style style, size_t first,
                        size_t end);

#endif
