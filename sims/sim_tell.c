/* tacit-sim patients, report: invented rows, and a folder's page. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "sims/commands.h"
#include "sims/report.h"
#include "sims/run_page.h"
#include "sims/runlog.h"
#include "sims/story.h"
#include "sims/world.h"

enum { PATIENTS_MAX = 10000000 };

enum tacit_err sim_patients(const struct options *o)
{
    size_t site = 0;
    int64_t rows = 0, seed = 1, first = 0;
    struct buf b;
    TRY(world_site_find(o->args[0], &site));
    TRY(options_int(o, "rows", 1, PATIENTS_MAX, (int64_t)world_site_rows(site),
                    &rows));
    TRY(options_int(o, "first", 0, INT32_MAX, 0, &first));
    TRY(options_int(o, "seed", 0, INT64_MAX, 1, &seed));
    buf_init(&b, 0);
    enum tacit_err err =
        world_csv((uint64_t)seed, site, (uint64_t)first, (size_t)rows, &b);
    if (!err && options_flag(o, "json"))
        err = json_print_ok(stdout,
                            json_pack("{s:s, s:I, s:s%}", "site", o->args[0],
                                      "rows", (json_int_t)rows, "csv", b.data,
                                      b.len));
    else if (!err && fwrite(b.data, 1, b.len, stdout) != b.len)
        err = fail(TACIT_IO, "writing: %s", strerror(errno));
    buf_release(&b);
    return err;
}

/* A run's page: of a finished one, or of what a killed or running one has. */
static enum tacit_err page_of_run(const char *folder, struct buf *out)
{
    struct runlog r;
    TRY(runlog_read(folder, &r));
    enum tacit_err err =
        r.n_rounds > 0
            ? run_page(&r, out)
            : fail(TACIT_NOTFOUND, "%s: the run has no finished round to tell",
                   folder);
    runlog_release(&r);
    return err;
}

static enum tacit_err page_of_story(const char *folder, struct buf *out)
{
    struct report r;
    TRY(story_tell(folder, &r));
    buf_put(out, r.out.data, r.out.len);
    report_release(&r);
    return buf_end(out);
}

enum tacit_err sim_report(const struct options *o)
{
    const char *folder = o->args[0];
    char path[SIM_PATH], run[SIM_PATH], rounds[SIM_PATH];
    struct buf page;
    TRY(file_join(path, sizeof path, folder, "report.html"));
    TRY(file_join(run, sizeof run, folder, "run.json"));
    TRY(file_join(rounds, sizeof rounds, folder, "rounds.json"));
    if (!file_exists(run) && !file_exists(rounds))
        return fail(TACIT_NOTFOUND,
                    "%s: neither a run (run.json) nor the results of a "
                    "federation (rounds.json); of several runs, tacit-sim "
                    "compare makes one page",
                    folder);
    buf_init(&page, 0);
    enum tacit_err err = file_exists(run) ? page_of_run(folder, &page)
                                          : page_of_story(folder, &page);
    if (!err) err = file_write(path, page.data, page.len, 0644);
    buf_release(&page);
    if (err) return err;
    if (options_flag(o, "json"))
        return json_print_ok(stdout, json_pack("{s:s}", "file", path));
    printf("%s\n", path);
    return TACIT_OK;
}
