#include "retrieval/document_charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>

#include "common/base/utf8.h"

enum { STEP = 4096 };
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* What documents call it -> what iconv calls it. */
static const char *const charsets[][2] = {
    {"ascii", "WINDOWS-1252"},
    {"us-ascii", "WINDOWS-1252"},
    {"iso-8859-1", "WINDOWS-1252"},
    {"latin1", "WINDOWS-1252"},
    {"iso-8859-2", "ISO-8859-2"},
    {"iso-8859-3", "ISO-8859-3"},
    {"iso-8859-4", "ISO-8859-4"},
    {"iso-8859-5", "ISO-8859-5"},
    {"iso-8859-6", "ISO-8859-6"},
    {"iso-8859-7", "ISO-8859-7"},
    {"iso-8859-8", "ISO-8859-8"},
    {"iso-8859-9", "ISO-8859-9"},
    {"iso-8859-10", "ISO-8859-10"},
    {"iso-8859-13", "ISO-8859-13"},
    {"iso-8859-14", "ISO-8859-14"},
    {"iso-8859-15", "ISO-8859-15"},
    {"iso-8859-16", "ISO-8859-16"},
    {"windows-1250", "WINDOWS-1250"},
    {"windows-1251", "WINDOWS-1251"},
    {"windows-1252", "WINDOWS-1252"},
    {"windows-1253", "WINDOWS-1253"},
    {"windows-1254", "WINDOWS-1254"},
    {"windows-1255", "WINDOWS-1255"},
    {"windows-1256", "WINDOWS-1256"},
    {"windows-1257", "WINDOWS-1257"},
    {"windows-1258", "WINDOWS-1258"},
    {"cp1252", "WINDOWS-1252"},
    {"koi8-r", "KOI8-R"},
    {"koi8-u", "KOI8-U"},
    {"macintosh", "MACINTOSH"},
    {"gb2312", "GB18030"},
    {"gbk", "GB18030"},
    {"gb18030", "GB18030"},
    {"big5", "BIG5"},
    {"shift_jis", "CP932"},
    {"sjis", "CP932"},
    {"euc-jp", "EUC-JP"},
    {"iso-2022-jp", "ISO-2022-JP"},
    {"euc-kr", "UHC"},
    {"ks_c_5601-1987", "UHC"},
    {"tis-620", "TIS-620"},
    {"utf-16", "UTF-16"},
    {"utf-16le", "UTF-16LE"},
    {"utf-16be", "UTF-16BE"},
    {"utf-32le", "UTF-32LE"},
    {"utf-32be", "UTF-32BE"},
};

static const char *find(const char *name)
{
    for (size_t i = 0; i < sizeof charsets / sizeof *charsets; i++)
        if (strcasecmp(charsets[i][0], name) == 0) return charsets[i][1];
    return NULL;
}

int document_charset_known(const char *name)
{
    return strcasecmp(name, "utf-8") == 0 || strcasecmp(name, "utf8") == 0 ||
           find(name) != NULL;
}

/* UTF-8 that may be broken. */
static void copy_utf8(struct buf *out, const char *s, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i < n && !out->err;) {
        size_t k = utf8_next(s + i, n - i, NULL);
        if (k) {
            i += k;
            continue;
        }
        buf_put(out, s + from, i - from);
        buf_put(out, replacement, sizeof replacement - 1);
        from = ++i;
    }
    buf_put(out, s + from, n - from);
}

static void convert(struct buf *out, const char *charset, const void *bytes,
                    size_t n)
{
    char step[STEP];
    union { /* iconv takes a pointer to what it does not write */
        const void *from;
        char *p;
    } in = {bytes};
    iconv_t cd = iconv_open("UTF-8", charset);
    if (cd == (iconv_t)-1) { /* the system lacks this one */
        copy_utf8(out, bytes, n);
        return;
    }
    while (n > 0 && !out->err) {
        char *to = step;
        size_t room = sizeof step;
        size_t rc = iconv(cd, &in.p, &n, &to, &room);
        buf_put(out, step, sizeof step - room);
        if (rc != (size_t)-1 || errno == E2BIG) continue;
        buf_put(out, replacement, sizeof replacement - 1);
        if (errno != EILSEQ) break; /* half a character at the end */
        in.p++;
        n--;
        iconv(cd, NULL, NULL, NULL, NULL);
    }
    iconv_close(cd);
}

void document_charset(struct buf *out, const char *name, const void *bytes,
                      size_t n)
{
    const char *charset = find(name);
    /* Much mail says ASCII and is UTF-8. */
    if ((!charset || strcmp(charset, "WINDOWS-1252") == 0) &&
        utf8_find_bad(bytes, n) == n)
        buf_put(out, bytes, n);
    else if (strcasecmp(name, "utf-8") == 0 || strcasecmp(name, "utf8") == 0)
        copy_utf8(out, bytes, n);
    else
        convert(out, charset ? charset : "WINDOWS-1252", bytes, n);
}
