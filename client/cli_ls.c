/* Commands for documents that are there: ls, rm. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/folders.h"
#include "client/generator.h"
#include "client/shown.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"
#include "retrieval/corpus.h"

struct listing {
    json_t *list;
    int header;
};

static enum tacit_err list_one(const struct corpus_document *doc, void *ctx)
{
    struct listing *l = ctx;
    char size[32], when[21];
    tick_iso8601(doc->added_s, when);
    if (l->list) {
        json_array_append_new(l->list,
                              json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:s}",
                                        "path", doc->path, "title", doc->title,
                                        "kind", doc->kind, "bytes",
                                        (json_int_t)doc->size_bytes, "passages",
                                        (json_int_t)doc->n_chunks, "added",
                                        when, "note", doc->note));
        return TACIT_OK;
    }
    if (!l->header++)
        printf("%8s %10s %-10s %s\n", "PASSAGES", "SIZE", "KIND", "DOCUMENT");
    printf("%8" PRId64 " %10s %-10s ", doc->n_chunks,
           cli_size((uint64_t)doc->size_bytes, size), doc->kind);
    shown_path(doc->path);
    putchar('\n');
    return TACIT_OK;
}

typedef enum tacit_err opener(const struct options *o, struct device *d);

static enum tacit_err with_corpus(const struct options *o, opener *open,
                                  struct device *d, struct encoder **e,
                                  struct corpus **c)
{
    TRY(open(o, d));
    enum tacit_err err = embedding_open(d, e);
    if (!err) err = corpus_open(&d->db, *e, c);
    if (!err) return TACIT_OK;
    encoder_free(*e);
    device_close(d);
    return err;
}

/* A folder is a line of stdout as it is; what it lacks is for the person. */
static enum tacit_err list_folder(const struct options *o, struct device *d,
                                  const char *path, json_t *list)
{
    char shown[FOLDER_PATH_MAX];
    int64_t device = 0;
    utf8_printable(shown, sizeof shown, path);
    TRY(folders_device(&d->db, path, &device));
    if (list)
        json_array_append_new(list, json_string(shown));
    else
        puts(shown);
    if (!folders_is_there(path, &device))
        cli_hint(o, "%s: %s", shown, folders_why_away);
    return TACIT_OK;
}

static enum tacit_err list_folders(const struct options *o)
{
    struct device d;
    struct buf paths;
    buf_init(&paths, 0);
    TRY(cli_open_to_read(o, &d));
    enum tacit_err err = folders_list(&d.db, &paths);
    json_t *list = cli_json(o) ? json_array() : NULL;
    for (size_t at = 0; !err && at < paths.len;) {
        const char *path = (const char *)paths.data + at;
        err = list_folder(o, &d, path, list);
        at += strlen(path) + 1;
    }
    if (!err && list)
        err = json_print_ok(stdout, json_pack("{s:O}", "folders", list));
    else if (!err && !paths.len)
        cli_hint(o, "No folders yet: `tacit add FOLDER` remembers one.");
    json_decref(list);
    buf_release(&paths);
    device_close(&d);
    return err;
}

enum tacit_err cli_ls(const struct options *o)
{
    if (options_flag(o, "folders")) return list_folders(o);
    struct device d;
    struct encoder *e = NULL;
    struct corpus *c = NULL;
    struct listing l = {0};
    TRY(with_corpus(o, cli_open_to_read, &d, &e, &c));
    if (cli_json(o)) l.list = json_array();
    enum tacit_err err = corpus_list(c, list_one, &l);
    if (!err && l.list)
        err = json_print_ok(stdout, json_pack("{s:O}", "documents", l.list));
    else if (!err && !l.header)
        cli_hint(o, "No documents yet: `tacit add FOLDER`.");
    json_decref(l.list);
    corpus_close(c);
    encoder_free(e);
    device_close(&d);
    return err;
}

/* Documents and folders at or below a path. */
static enum tacit_err forget(struct device *d, struct corpus *c,
                             const char *name, size_t *n_documents,
                             size_t *n_folders)
{
    char path[CORPUS_PATH_MAX], folder[FOLDER_PATH_MAX];
    size_t n = 0, m = 0;
    TRY(cli_full_path(name, path, sizeof path));
    TRY(corpus_remove(c, path, &n));
    if (folders_path(path, folder)) {
        err_clear(); /* it is gone, so it has only this name */
        snprintf(folder, sizeof folder, "%s", path);
    }
    TRY(folders_forget(&d->db, folder, &m));
    *n_documents += n;
    *n_folders += m;
    if (n || m) return TACIT_OK;
    return fail(TACIT_NOTFOUND,
                "%s: no such document; `tacit ls` lists "
                "them",
                name);
}

enum tacit_err cli_rm(const struct options *o)
{
    struct device d;
    struct encoder *e = NULL;
    struct corpus *c = NULL;
    size_t n_documents = 0, n_folders = 0;
    TRY(with_corpus(o, cli_open, &d, &e, &c));
    enum tacit_err err = TACIT_OK;
    for (int i = 0; !err && i < o->n_args; i++)
        err = forget(&d, c, o->args[i], &n_documents, &n_folders);
    generator_forget(&d); /* prompts hold what documents say */
    if (!err && cli_json(o))
        err =
            json_print_ok(stdout, json_pack("{s:I, s:I}", "removed",
                                            (json_int_t)n_documents, "folders",
                                            (json_int_t)n_folders));
    else if (!err)
        printf("%zu removed\n", n_documents);
    corpus_close(c);
    encoder_free(e);
    device_close(&d);
    return err;
}
