/* tacit-sim patients, report: invented rows, and the demo's page. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "sims/commands.h"
#include "sims/report.h"
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

enum tacit_err sim_report(const struct options *o)
{
    char path[SIM_PATH];
    struct report r;
    TRY(file_join(path, sizeof path, o->args[0], "report.html"));
    TRY(story_tell(o->args[0], &r));
    enum tacit_err err = file_write(path, r.out.data, r.out.len, 0644);
    report_release(&r);
    if (err) return err;
    if (options_flag(o, "json"))
        return json_print_ok(stdout, json_pack("{s:s}", "file", path));
    printf("%s\n", path);
    return TACIT_OK;
}
