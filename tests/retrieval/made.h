/*
 * made: small containers and PDFs for tests and fuzz targets, built in memory.
 */
#ifndef TACIT_TESTS_RETRIEVAL_MADE_H
#define TACIT_TESTS_RETRIEVAL_MADE_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"

/* A container (ZIP) of stored parts. */
struct made_zip {
    struct buf bytes, directory;
    unsigned n;
};

static inline uint32_t made_crc(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static inline void made_zip_begin(struct made_zip *z)
{
    buf_init(&z->bytes, 0);
    buf_init(&z->directory, 0);
    z->n = 0;
}

static inline void made_zip_part(struct made_zip *z, const char *name,
                                 const void *bytes, size_t n)
{
    uint32_t at = (uint32_t)z->bytes.len, crc = made_crc(bytes, n);
    uint16_t n_name = (uint16_t)strlen(name);
    struct buf *const both[] = {&z->bytes, &z->directory};
    for (int i = 0; i < 2; i++) {
        struct buf *b = both[i];
        buf_put_u32(b, i ? 0x02014b50 : 0x04034b50);
        if (i) buf_put_u16(b, 20); /* made by */
        buf_put_u16(b, 20);        /* needs */
        buf_put_u16(b, 0);
        buf_put_u16(b, 0); /* stored */
        buf_put_u32(b, 0x00210000);
        buf_put_u32(b, crc);
        buf_put_u32(b, (uint32_t)n);
        buf_put_u32(b, (uint32_t)n);
        buf_put_u16(b, n_name);
        buf_put_u16(b, 0);
        if (i) {
            buf_put_u16(b, 0);
            buf_put_u16(b, 0);
            buf_put_u16(b, 0);
            buf_put_u32(b, 0);
            buf_put_u32(b, at);
        }
        buf_put(b, name, n_name);
    }
    buf_put(&z->bytes, bytes, n);
    z->n++;
}

static inline void made_zip_text(struct made_zip *z, const char *name,
                                 const char *text)
{
    made_zip_part(z, name, text, strlen(text));
}

static inline void made_zip_end(struct made_zip *z)
{
    uint32_t at = (uint32_t)z->bytes.len;
    buf_put(&z->bytes, z->directory.data, z->directory.len);
    buf_put_u32(&z->bytes, 0x06054b50);
    buf_put_u32(&z->bytes, 0);
    buf_put_u16(&z->bytes, (uint16_t)z->n);
    buf_put_u16(&z->bytes, (uint16_t)z->n);
    buf_put_u32(&z->bytes, (uint32_t)z->directory.len);
    buf_put_u32(&z->bytes, at);
    buf_put_u16(&z->bytes, 0);
    buf_release(&z->directory);
}

/* A PDF of one font; page i shows the lines of pages[i], parted by '\n'. An
 * `encrypt` dictionary (or NULL) goes into the trailer. */
static inline void made_pdf(struct buf *out, const char *const *pages,
                            size_t n_pages, const char *encrypt)
{
    struct buf offsets;
    size_t n_objects = 3 + 2 * n_pages;
    buf_init(out, 0);
    buf_init(&offsets, 0);
    buf_printf(out, "%%PDF-1.4\n");
    buf_printf(&offsets, "%010zu 00000 n \n", out->len);
    buf_printf(out, "1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n");
    buf_printf(&offsets, "%010zu 00000 n \n", out->len);
    buf_printf(out, "2 0 obj<</Type/Pages/Count %zu/Kids[", n_pages);
    for (size_t i = 0; i < n_pages; i++) buf_printf(out, "%zu 0 R ", 4 + 2 * i);
    buf_printf(out, "]>>endobj\n");
    buf_printf(&offsets, "%010zu 00000 n \n", out->len);
    buf_printf(out, "3 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica"
                    "/Encoding/WinAnsiEncoding>>endobj\n");
    for (size_t i = 0; i < n_pages; i++) {
        struct buf s;
        buf_init(&s, 0);
        buf_printf(&s, "BT /F1 11 Tf 14 TL 60 740 Td ");
        for (const char *p = pages[i]; *p;) {
            size_t n = strcspn(p, "\n");
            buf_printf(&s, "(%.*s) Tj T* ", (int)n, p);
            p += n;
            p += *p == '\n';
        }
        buf_printf(&s, "ET");
        buf_printf(&offsets, "%010zu 00000 n \n", out->len);
        buf_printf(out,
                   "%zu 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]"
                   "/Resources<</Font<</F1 3 0 R>>>>/Contents %zu 0 R>>"
                   "endobj\n",
                   4 + 2 * i, 5 + 2 * i);
        buf_printf(&offsets, "%010zu 00000 n \n", out->len);
        buf_printf(out, "%zu 0 obj<</Length %zu>>stream\n", 5 + 2 * i, s.len);
        buf_put(out, s.data, s.len);
        buf_printf(out, "\nendstream endobj\n");
        buf_release(&s);
    }
    size_t at = out->len;
    buf_printf(out, "xref\n0 %zu\n0000000000 65535 f \n", n_objects + 1);
    buf_put(out, offsets.data, offsets.len);
    buf_printf(out,
               "trailer<</Size %zu/Root 1 0 R%s%s>>\nstartxref\n%zu\n%%%%EOF\n",
               n_objects + 1, encrypt ? "/Encrypt" : "", encrypt ? encrypt : "",
               at);
    buf_release(&offsets);
}

#endif
