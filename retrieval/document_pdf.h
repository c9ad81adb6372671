/*
 * document_pdf: the text that pdftotext prints -> the blocks of a document.
 *
 * Apart from the child that prints it, so that it can be tested and fuzzed
 * alone.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_PDF_H
#define TACIT_RETRIEVAL_DOCUMENT_PDF_H

#include "retrieval/document_builder.h"

/* Take the pages, each ended by a form feed, as the source of b's document.
 * The text is changed: running titles and page numbers become blanks. More
 * than DOCUMENT_PAGES_MAX pages are cut, pages without text are counted, and
 * both are said in the note. E_DOCUMENT_SCANNED when no page has text. */
TACIT_CHECKED enum tacit_err document_pdf_pages(struct builder *b,
                                                const void *text, size_t n);

#endif
