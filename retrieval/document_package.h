/*
 * document_package: what DOCX, ODT and EPUB share: XML parts in a container.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_PACKAGE_H
#define TACIT_RETRIEVAL_DOCUMENT_PACKAGE_H

#include "retrieval/document_builder.h"
#include "retrieval/document_xml.h"
#include "retrieval/document_zip.h"

/* Read the XML part of that name. Errors of archive_read() and xml_read(). */
TACIT_CHECKED enum tacit_err package_xml(struct archive *a, const char *name,
                                         const struct xml_events *events,
                                         void *ctx);
/* The same for a part that the text can do without: a missing one is nothing, a
 * damaged one is said in the note. NOMEM alone is an error. */
TACIT_CHECKED enum tacit_err package_xml_optional(
    struct builder *b, struct archive *a, const char *name,
    const struct xml_events *events, void *ctx);
/* Take <dc:title> of a part for the document's title; 1 when there is one. */
TACIT_CHECKED enum tacit_err package_title(struct builder *b, struct archive *a,
                                           const char *name, int *has_title);

/* Cells of a row are parted by " | ", its paragraphs by a blank. A row that
 * grows beyond this many bytes lays out a page, and is no row. */
enum { PACKAGE_ROW_BYTES = 800 };
struct package_row {
    unsigned depth; /* of rows within rows */
    int cell_is_due, blank_is_due;
    int lays_out;
};
void package_row_open(struct builder *b, struct package_row *r);
void package_row_cell(struct builder *b, struct package_row *r);
/* A paragraph of a cell ends. */
void package_row_break(struct builder *b, struct package_row *r);
void package_row_close(struct builder *b, struct package_row *r);
/* Text of any paragraph: opens a block of that kind where none is open. */
void package_text(struct builder *b, struct package_row *r,
                  enum block_kind kind, unsigned level, const char *text,
                  size_t n);

#endif
