#include "retrieval/document_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/utf8.h"
#include "retrieval/document_builder.h"
#include "retrieval/document_charset.h"

enum {
    TRIES = 3,            /* of a file that is being written */
    HASH_STEP = 1 << 16,  /* bytes */
    CHARSET_WITHIN = 1024 /* bytes of a page that name its charset */
};

static int is_text(const struct document *d)
{
    return d->reader->input == INPUT_TEXT || d->reader->input == INPUT_HTML;
}

/* A page is read in part where it is long; half a text would be no text. */
static size_t bytes_max(const struct document *d)
{
    return d->reader->input == INPUT_TEXT ? DOCUMENT_BYTES_MAX
                                          : DOCUMENT_FILE_MAX;
}

/* How much of a file that is text is read: whole characters of UTF-8. */
static size_t bytes_read(const struct buf *s)
{
    size_t n = DOCUMENT_BYTES_MAX;
    if (s->len <= n) return s->len;
    while (n > DOCUMENT_BYTES_MAX - 4 && (s->data[n] & 0xc0) == 0x80) n--;
    return n;
}

static enum tacit_err refuse_size(const struct document *d, const char *path)
{
    return fail_as(E_DOCUMENT_TOO_LARGE,
                   "%s: larger than %zu MiB; split it into parts", path,
                   bytes_max(d) >> 20);
}

static enum tacit_err refuse_change(const char *path)
{
    return fail_as(E_DOCUMENT_CHANGED,
                   "%s: another program writes it while it is read; add it "
                   "again when that is done",
                   path);
}

/* ---- text -----------------------------------------------------------------
 */

size_t document_mark_length(const struct document *d)
{
    return d->source.len >= 3 && memcmp(d->source.data, "\xef\xbb\xbf", 3) == 0
               ? 3
               : 0;
}

static enum tacit_err refuse_bytes(const char *path, const struct buf *s,
                                   size_t bad)
{
    size_t line = 1;
    for (size_t i = 0; i < bad; i++) line += s->data[i] == '\n';
    if (memchr(s->data, '\0', s->len))
        return fail_as(E_DOCUMENT_BINARY,
                       "%s: binary data, not text (a zero byte at byte %zu)",
                       path,
                       (size_t)((const uint8_t *)memchr(s->data, '\0', s->len) -
                                s->data));
    return fail_as(E_DOCUMENT_NOT_UTF8,
                   "%s: not UTF-8: byte %zu (line %zu) is 0x%02x; save it as "
                   "UTF-8, or convert it: iconv -f ITS_CHARSET -t UTF-8",
                   path, bad, line, s->data[bad]);
}

/* The charset of a byte-order mark other than UTF-8's, or NULL. */
static const char *marked_charset(const struct buf *s)
{
    const uint8_t *p = s->data;
    if (s->len >= 4 && memcmp(p, "\xff\xfe\0\0", 4) == 0) return "utf-32le";
    if (s->len >= 4 && memcmp(p, "\0\0\xfe\xff", 4) == 0) return "utf-32be";
    if (s->len >= 2 && memcmp(p, "\xff\xfe", 2) == 0) return "utf-16le";
    if (s->len >= 2 && memcmp(p, "\xfe\xff", 2) == 0) return "utf-16be";
    return NULL;
}

/* The name behind `key` in the first bytes of a page ("charset=…"), or 0. */
static int named_charset(const struct buf *s, const char *key, char out[32])
{
    size_t n = s->len < CHARSET_WITHIN ? s->len : CHARSET_WITHIN, k = 0;
    size_t n_key = strlen(key);
    for (size_t i = 0; i + n_key < n; i++) {
        const char *p = (const char *)s->data + i;
        if (strncasecmp(p, key, n_key) != 0) continue;
        for (i += n_key; i < n && k < 31; i++) {
            char c = (char)s->data[i];
            if (k == 0 && (c == '"' || c == '\'' || c == ' ')) continue;
            if (!strchr("-_.:", c) && !(c >= '0' && c <= '9') &&
                !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z'))
                break;
            if (c == '\0') break;
            out[k++] = c;
        }
        out[k] = '\0';
        return k > 0 && document_charset_known(out);
    }
    return 0;
}

/* What a page is in that is neither UTF-8 nor marked: what it says, or what the
 * WHATWG's standard and so browsers take it for (in western locales), which is
 * said. Its bytes were read as ASCII up to the name: UTF-16 it is not. */
static const char *page_charset(struct document *d, char named[32])
{
    const struct buf *s = &d->file;
    int is_xml = s->len >= 5 && memcmp(s->data, "<?xml", 5) == 0;
    if (named_charset(s, "charset=", named) ||
        (is_xml && named_charset(s, "encoding=", named)))
        return strncasecmp(named, "utf-", 4) == 0 ? "utf-8" : named;
    d->guess = "not UTF-8, and the page names no charset: read as "
               "windows-1252, as browsers do";
    return "windows-1252";
}

/* Whether what is not UTF-8 is taken for windows-1252, in which Excel and older
 * programs write western languages: every byte is a character there and none a
 * control, no character above ASCII is UTF-8 (or a UTF-8 text is damaged), and
 * letters of ASCII are not fewer than bytes above it (in Greek or Russian they
 * are). */
static int looks_western(const uint8_t *p, size_t n)
{
    size_t letters = 0, above = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] >= 0x80 && utf8_next((const char *)p + i, n - i, NULL))
            return 0;
        if (memchr("\x7f\x81\x8d\x8f\x90\x9d", p[i], 6)) return 0;
        if (p[i] < ' ' && !memchr("\t\r\n\f\v", p[i], 5)) return 0;
        above += p[i] >= 0x80;
        letters += (p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z';
    }
    return above <= letters;
}

/* What a file without a mark that is not UTF-8 is read as, or NULL. */
static const char *guessed_charset(struct document *d, size_t n, char named[32])
{
    const uint8_t *p = d->file.data;
    if (memchr(p, '\0', n)) return NULL;
    if (d->reader->input == INPUT_HTML) return page_charset(d, named);
    if (!looks_western(p, n)) return NULL;
    d->guess = "not UTF-8: read as windows-1252; where letters come out wrong, "
               "save it as UTF-8";
    return "windows-1252";
}

static enum tacit_err convert(struct document *d, const char *charset)
{
    document_charset(&d->made, charset, d->file.data, bytes_read(&d->file));
    TRY(buf_end(&d->made));
    /* A zero character is no text. */
    for (size_t i = 0; i < d->made.len; i++)
        if (d->made.data[i] == '\0') d->made.data[i] = ' ';
    d->source.data = d->made.data;
    d->source.len = d->made.len;
    return TACIT_OK;
}

static enum tacit_err check_text(struct document *d, const char *path)
{
    char named[32];
    const struct buf *s = &d->file;
    const char *charset = marked_charset(s);
    size_t len = bytes_read(s);
    d->source.data = s->data;
    d->source.len = len;
    size_t mark = document_mark_length(d), bad = len;
    if (!charset && len > mark)
        bad = mark + utf8_find_bad((const char *)s->data + mark, len - mark);
    if (bad < len) charset = guessed_charset(d, len, named);
    if (charset)
        TRY(convert(d, charset));
    else if (bad < len)
        return refuse_bytes(path, s, bad);
    for (size_t i = document_mark_length(d); i < d->source.len; i++)
        if (!strchr(" \t\r\n\f\v", d->source.data[i])) return TACIT_OK;
    return fail_as(E_DOCUMENT_EMPTY, "%s: the file is %s", path,
                   s->len ? "blank" : "empty");
}

/* ---- whole files ----------------------------------------------------------
 */

/* Say the reason of file_read() under a document's own code. */
static enum tacit_err refuse_file(const struct document *d, enum tacit_err err,
                                  const char *path)
{
    char why[768];
    snprintf(why, sizeof why, "%s", err_message());
    err_clear();
    switch (err) {
    case TACIT_NOTFOUND: return fail_as(E_DOCUMENT_MISSING, "%s", why);
    case TACIT_IO: return fail_as(E_DOCUMENT_UNREADABLE, "%s", why);
    case TACIT_UNSUPPORTED: return fail_as(E_DOCUMENT_KIND, "%s", why);
    case TACIT_LIMIT: return refuse_size(d, path);
    default: return fail(err, "%s", why);
    }
}

static int is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
           a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum tacit_err read_whole(struct document *d, const char *path)
{
    for (int i = 0; i < TRIES; i++) {
        struct stat before, after;
        int was_there = stat(path, &before) == 0;
        buf_clear(&d->file);
        enum tacit_err err = file_read(path, bytes_max(d), &d->file);
        if (err) return refuse_file(d, err, path);
        if (was_there && stat(path, &after) == 0 && is_same(&before, &after) &&
            (uintmax_t)after.st_size == d->file.len) {
            digest_of(&d->hash, d->file.data, d->file.len);
            return TACIT_OK;
        }
    }
    return refuse_change(path);
}

/* ---- handles --------------------------------------------------------------
 */

static enum tacit_err failed_read(const char *path)
{
    return fail_as(errno == ENOENT || errno == ENOTDIR ? E_DOCUMENT_MISSING
                                                       : E_DOCUMENT_UNREADABLE,
                   "%s: cannot open: %s", path, strerror(errno));
}

static enum tacit_err hash_handle(struct document *d, const char *path)
{
    struct digest_state state;
    unsigned char step[HASH_STEP];
    off_t at = 0;
    digest_begin(&state);
    for (;;) {
        ssize_t n = pread(d->handle, step, sizeof step, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed_read(path);
        if (n == 0) break;
        digest_add(&state, step, (size_t)n);
        at += n;
        if ((size_t)at > bytes_max(d)) return refuse_size(d, path);
    }
    digest_end(&state, &d->hash);
    d->file_bytes = (uint64_t)at;
    if (at > 0) return TACIT_OK;
    return fail_as(E_DOCUMENT_EMPTY, "%s: the file is empty", path);
}

static enum tacit_err read_handle(struct document *d, const char *path)
{
    struct stat before, after;
    /* O_NONBLOCK: a pipe without a writer must not stop us. */
    d->handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (d->handle < 0) return failed_read(path);
    for (int i = 0; i < TRIES; i++) {
        if (fstat(d->handle, &before) != 0) return failed_read(path);
        if (!S_ISREG(before.st_mode))
            return fail_as(E_DOCUMENT_KIND, "%s: not a regular file", path);
        if ((uintmax_t)before.st_size > bytes_max(d))
            return refuse_size(d, path);
        TRY(hash_handle(d, path));
        if (fstat(d->handle, &after) == 0 && is_same(&before, &after) &&
            (uint64_t)after.st_size == d->file_bytes) {
            d->opened_s = after.st_mtim.tv_sec;
            d->opened_ns = after.st_mtim.tv_nsec;
            return TACIT_OK;
        }
    }
    return refuse_change(path);
}

enum tacit_err document_input_recheck(const struct document *d,
                                      const char *name)
{
    struct stat now;
    if (d->handle < 0) return TACIT_OK;
    if (fstat(d->handle, &now) == 0 && now.st_mtim.tv_sec == d->opened_s &&
        now.st_mtim.tv_nsec == d->opened_ns &&
        (uint64_t)now.st_size == d->file_bytes)
        return TACIT_OK;
    return refuse_change(name);
}

/* ---- either ---------------------------------------------------------------
 */

static enum tacit_err settle(struct document *d, const char *path)
{
    d->file_bytes = d->file.len;
    if (is_text(d)) return check_text(d, path);
    if (d->file.len > 0) return TACIT_OK;
    return fail_as(E_DOCUMENT_EMPTY, "%s: the file is empty", path);
}

enum tacit_err document_input_read(struct document *d, const char *path)
{
    if (d->reader->input == INPUT_HANDLE) return read_handle(d, path);
    TRY(read_whole(d, path));
    return settle(d, path);
}

/* A file without a name, so that a reader of handles can read memory. */
static enum tacit_err copy_to_handle(struct document *d, const char *path,
                                     const void *bytes, size_t n)
{
    const char *p = bytes;
    struct stat st;
    d->handle = memfd_create("document", MFD_CLOEXEC);
    if (d->handle < 0) return failed_read(path);
    for (size_t at = 0; at < n;) {
        ssize_t k = write(d->handle, p + at, n - at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return failed_read(path);
        at += (size_t)k;
    }
    TRY(hash_handle(d, path));
    if (fstat(d->handle, &st) != 0) return failed_read(path);
    d->opened_s = st.st_mtim.tv_sec;
    d->opened_ns = st.st_mtim.tv_nsec;
    return TACIT_OK;
}

enum tacit_err document_input_copy(struct document *d, const char *path,
                                   const void *bytes, size_t n)
{
    if (n > bytes_max(d)) return refuse_size(d, path);
    if (d->reader->input == INPUT_HANDLE)
        return copy_to_handle(d, path, bytes, n);
    buf_put(&d->file, bytes, n);
    TRY(buf_end(&d->file));
    digest_of(&d->hash, d->file.data, d->file.len);
    return settle(d, path);
}
