#include "common/model/tuned_base.h"

#include <stdio.h>
#include <sys/stat.h>

#include "common/base/codes.h"

enum { PATH_BYTES = 4096 };

static enum tacit_err base_missing(const struct model_base *b)
{
    char hex[DIGEST_HEX];
    hex_encode(hex, b->hash.b, DIGEST_BYTES);
    return fail_as(E_BASE_MISSING,
                   "the base model %s (%.16s) is not here; `tacit model "
                   "import` its file, in the type that the plan's author "
                   "names, or, to a coordinator or simulation, name it with "
                   "--base FILE",
                   b->name && *b->name ? b->name : "of the plan", hex);
}

static enum tacit_err find_base(const struct model_base *b, char *path)
{
    char hex[DIGEST_HEX];
    struct stat st;
    if (!b->where || stat(b->where, &st) != 0) return base_missing(b);
    hex_encode(hex, b->hash.b, DIGEST_BYTES);
    int n = S_ISDIR(st.st_mode)
                ? snprintf(path, PATH_BYTES, "%s/%s", b->where, hex)
                : snprintf(path, PATH_BYTES, "%s", b->where);
    if (n < 0 || n >= PATH_BYTES)
        return fail(TACIT_LIMIT, "%s: the path is too long", b->where);
    return stat(path, &st) == 0 ? TACIT_OK : base_missing(b);
}

static enum tacit_err check_hash(const struct model_base *b, const char *path,
                                 const struct model_files *f)
{
    struct digest got;
    uint64_t bytes;
    model_files_hash(f, &got, &bytes);
    if (digest_equal(&got, &b->hash)) return TACIT_OK;
    return fail(TACIT_FORMAT,
                "%s is not the base model %s that was named: its content has "
                "another hash",
                path, b->name ? b->name : "");
}

enum tacit_err tuned_base(const struct model_base *b, struct model_files **out)
{
    char path[PATH_BYTES];
    struct model_files *f = NULL;
    TRY(find_base(b, path));
    TRY(model_files_open(path, &f));
    enum tacit_err err = check_hash(b, path, f);
    if (err)
        model_files_close(f);
    else
        *out = f;
    return err;
}

struct net_options tuned_options(const struct model_base *b)
{
    static const enum net_training ways[] = {[MODEL_FFA] = NET_PAIRS_UP,
                                             [MODEL_LORA] = NET_PAIRS,
                                             [MODEL_FULL] = NET_FULL};
    return (struct net_options){.train = ways[b->adapter],
                                .targets = b->targets,
                                .rank = b->rank ? b->rank : 8,
                                .alpha = b->alpha,
                                .seed = b->seed};
}
