#include "retrieval/document_zip.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "common/base/codes.h"

enum {
    STEP = 1 << 16,
    END_BYTES = 22,                     /* of the record at the end */
    END_WITHIN = END_BYTES + UINT16_MAX /* with the longest comment */
};

struct archive {
    zip_t *zip;
    uint64_t left; /* bytes that may still be unpacked */
};

/* The library allocates for every entry that the record at the end counts, so
 * the count is looked at before. Whatever looks like that record has to pass.
 */
static enum tacit_err check_entries(int handle)
{
    static uint8_t const mark[4] = {'P', 'K', 5, 6};
    struct stat st;
    if (fstat(handle, &st) != 0)
        return fail_as(E_DOCUMENT_UNREADABLE, "cannot be read");
    size_t n = st.st_size < END_WITHIN ? (size_t)st.st_size : END_WITHIN;
    uint8_t *end = malloc(n + 1);
    if (!end) return fail(TACIT_NOMEM, "out of memory");
    ssize_t got = pread(handle, end, n, st.st_size - (off_t)n);
    unsigned most = 0, n_marks = 0;
    for (size_t i = 0; got == (ssize_t)n && i + END_BYTES <= n; i++) {
        if (memcmp(end + i, mark, sizeof mark) != 0) continue;
        unsigned count = end[i + 10] | (unsigned)end[i + 11] << 8;
        if (count > most) most = count;
        n_marks++;
    }
    int is_ole = n >= 8 && got == (ssize_t)n && pread(handle, end, 8, 0) == 8 &&
                 memcmp(end, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8) == 0;
    free(end);
    if (is_ole)
        return fail_as(E_DOCUMENT_ENCRYPTED,
                       "an encrypted or very old (.doc) document; open it and "
                       "save it as .docx without a password");
    if (n_marks == 0)
        return fail_as(E_DOCUMENT_DAMAGED,
                       "not a container (ZIP), or cut off at its end");
    if (most > ZIP_ENTRIES_MAX)
        return fail_as(E_DOCUMENT_MARKUP,
                       "a container of %u entries; the limit is %d", most,
                       ZIP_ENTRIES_MAX);
    return TACIT_OK;
}

enum tacit_err archive_open(int handle, struct archive **out)
{
    int why = 0;
    TRY(check_entries(handle));
    struct archive *a = calloc(1, sizeof *a);
    int fd = fcntl(handle, F_DUPFD_CLOEXEC, 3);
    if (!a || fd < 0) {
        free(a);
        if (fd >= 0) close(fd);
        return fail(TACIT_NOMEM, "out of memory or handles");
    }
    lseek(fd, 0, SEEK_SET);
    a->zip = zip_fdopen(fd, 0, &why);
    a->left = ZIP_TOTAL_MAX;
    if (!a->zip) {
        close(fd);
        free(a);
        return fail_as(E_DOCUMENT_DAMAGED, "a damaged container (ZIP error %d)",
                       why);
    }
    *out = a;
    return TACIT_OK;
}

void archive_close(struct archive *a)
{
    if (!a) return;
    zip_discard(a->zip);
    free(a);
}

int archive_has(const struct archive *a, const char *name)
{
    return zip_name_locate(a->zip, name, ZIP_FL_ENC_RAW) >= 0;
}

static enum tacit_err refuse_growth(const char *name)
{
    return fail_as(E_DOCUMENT_MARKUP,
                   "part %.80s unpacks to more than %d MiB, or to more than "
                   "%d times its size",
                   name, ZIP_PART_MAX >> 20, ZIP_RATIO_MAX);
}

/* Unpack until the end or a bound. */
static enum tacit_err unpack(struct archive *a, zip_file_t *f, const char *name,
                             uint64_t packed, struct buf *out)
{
    uint64_t most = ZIP_FREE_BYTES + packed * ZIP_RATIO_MAX, got = 0;
    if (most > ZIP_PART_MAX) most = ZIP_PART_MAX;
    if (most > a->left) most = a->left;
    for (;;) {
        uint8_t step[STEP];
        zip_int64_t n = zip_fread(f, step, sizeof step);
        if (n < 0)
            return fail_as(E_DOCUMENT_DAMAGED, "part %.80s is damaged", name);
        if (n == 0) break;
        got += (uint64_t)n;
        if (got > most) return refuse_growth(name);
        buf_put(out, step, (size_t)n);
    }
    a->left -= got;
    return buf_end(out);
}

enum tacit_err archive_read(struct archive *a, const char *name,
                            struct buf *out)
{
    zip_stat_t st;
    zip_int64_t i = zip_name_locate(a->zip, name, ZIP_FL_ENC_RAW);
    const zip_uint64_t wanted =
        ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (i < 0 || zip_stat_index(a->zip, (zip_uint64_t)i, 0, &st) != 0 ||
        (st.valid & wanted) != wanted)
        return fail_as(E_DOCUMENT_DAMAGED, "the part %.80s is not in it", name);
    if (st.encryption_method != ZIP_EM_NONE)
        return fail_as(E_DOCUMENT_ENCRYPTED,
                       "part %.80s is encrypted; save a copy without a "
                       "password",
                       name);
    if (st.comp_method != ZIP_CM_STORE && st.comp_method != ZIP_CM_DEFLATE)
        return fail_as(E_DOCUMENT_DAMAGED,
                       "part %.80s is packed in a way that "
                       "no document is",
                       name);
    zip_file_t *f = zip_fopen_index(a->zip, (zip_uint64_t)i, 0);
    if (!f) return fail_as(E_DOCUMENT_DAMAGED, "part %.80s is damaged", name);
    enum tacit_err err = unpack(a, f, name, st.comp_size, out);
    zip_fclose(f);
    return err;
}
