/*
 * ann_sql: one step of a measurement on a vector table of SQLite, ours or
 * another extension's, in a process of its own, so that its memory is the
 * step's. Prints one JSON object.
 *
 *   ann_sql EXTENSION DB PRAGMAS STEP ...
 *     run    SQL                     statements, e.g. CREATE, VACUUM; the last
 *                                    row's first value
 *     write  DIR SQL FIRST N STRIDE BATCH
 *                                    SQL for N rows FIRST, FIRST + STRIDE, ...
 *                                    ?1 rowid, ?2 vector, ?3 dept, as used;
 *                                    a commit every BATCH rows
 *     query  DIR SQL ROUNDS IDS      SQL with ?1 a query's vector, for each
 *                                    query once unmeasured and ROUNDS times;
 *                                    the first ten rowids go to the file IDS
 *     cold   DIR SQL                 the file is dropped from the page cache;
 *                                    then open, load, prepare and one query;
 *                                    how often that waited for something
 *
 * Times are of whole statements, from binding to reset, in ms: wall time, and
 * CPU time of the thread; memory is this process's. DIR: see ann_data.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/ann.h"
#include "tests/bench/bench.h"

enum { PATH_BYTES = 4096, VALUE_BYTES = 256, SLOW_QUERIES = 50 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "ann_sql: %s: %s\n", what, why);
    exit(1);
}

static void sql(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL)) die(text, sqlite3_errmsg(db));
}

static int keep_value(void *out, int n, char **values, char **names)
{
    (void)names;
    if (n > 0) snprintf(out, VALUE_BYTES, "%s", values[0] ? values[0] : "");
    return 0;
}

static void do_run(sqlite3 *db, const char *text)
{
    char value[VALUE_BYTES] = "";
    double begin = now_ms();
    if (sqlite3_exec(db, text, keep_value, value, NULL))
        die(text, sqlite3_errmsg(db));
    printf("\"ms\": %.3f, \"value\": \"%s\"", now_ms() - begin, value);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *text)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, text, -1, &s, NULL))
        die(text, sqlite3_errmsg(db));
    return s;
}

static sqlite3 *open_db(const char *extension, const char *path,
                        const char *pragmas)
{
    sqlite3 *db;
    char *why = NULL;
    if (sqlite3_open(path, &db)) die(path, sqlite3_errmsg(db));
    sqlite3_enable_load_extension(db, 1);
    if (*extension && sqlite3_load_extension(db, extension, NULL, &why))
        die(extension, why ? why : "does not load");
    sql(db, pragmas);
    return db;
}

/* Resident memory now and at its highest, MiB, of which of files. */
static void print_memory(void)
{
    static const char *const keys[] = {"VmRSS:", "VmHWM:", "RssFile:"};
    static const char *const names[] = {"rss_mib", "hwm_mib", "rss_file_mib"};
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        for (int i = 0; i < 3; i++)
            if (!strncmp(line, keys[i], strlen(keys[i])))
                printf(", \"%s\": %.1f", names[i],
                       strtod(line + strlen(keys[i]), NULL) / 1024);
    if (f) fclose(f);
}

static void print_file(const char *path)
{
    struct stat st;
    if (!stat(path, &st))
        printf(", \"file_mb\": %.1f", (double)st.st_size / 1e6);
}

static const float *map_rows(const char *dir, const char *name, size_t *n)
{
    char path[PATH_BYTES];
    struct stat st;
    void *p;
    int fd;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st)) die(path, "can't be read");
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) die(path, "can't be mapped");
    close(fd);
    *n = (size_t)st.st_size / (ANN_DIM * sizeof(float));
    return p;
}

static void bind_vector(sqlite3_stmt *s, int at, const float *v)
{
    if (at <= sqlite3_bind_parameter_count(s))
        sqlite3_bind_blob(s, at, v, ANN_DIM * (int)sizeof *v, SQLITE_STATIC);
}

/* ---- steps ----------------------------------------------------------------
 */

static void do_write(sqlite3 *db, char **words)
{
    size_t n_rows, n = strtoul(words[3], NULL, 10);
    const float *base = map_rows(words[0], "base.f32", &n_rows);
    size_t row = strtoul(words[2], NULL, 10);
    size_t stride = strtoul(words[4], NULL, 10);
    size_t batch = strtoul(words[5], NULL, 10), n_commits = 0;
    sqlite3_stmt *s = prepare(db, words[1]);
    double *commit = malloc((n / batch + 1) * sizeof *commit);
    double begin = now_ms(), cpu = bench_cpu_ms(), mark = begin, in_sql = 0;
    if (!commit) die("memory", "none");
    for (size_t i = 0; i < n; i++, row += stride) {
        if (row >= n_rows) die("write", "more rows than the set has");
        if (i % batch == 0) mark = now_ms();
        if (i % batch == 0 && batch > 1) sql(db, "BEGIN");
        in_sql -= bench_cpu_ms();
        sqlite3_bind_int64(s, 1, (sqlite3_int64)row);
        bind_vector(s, 2, base + row * ANN_DIM);
        if (sqlite3_bind_parameter_count(s) > 2)
            sqlite3_bind_int(s, 3, ann_dept(row));
        if (sqlite3_step(s) != SQLITE_DONE) die(words[1], sqlite3_errmsg(db));
        sqlite3_reset(s);
        in_sql += bench_cpu_ms();
        if (i % batch == batch - 1 || i == n - 1) {
            if (batch > 1) sql(db, "COMMIT");
            commit[n_commits++] = now_ms() - mark;
        }
    }
    printf("\"rows\": %zu, \"ms\": %.3f, \"cpu_ms\": %.3f", n, now_ms() - begin,
           bench_cpu_ms() - cpu);
    printf(", \"statement_cpu_ms\": %.3f", in_sql);
    printf(", \"commit_ms\": %.4f", bench_median(commit, n_commits));
    printf(", \"commit_99_ms\": %.4f, \"commit_max_ms\": %.4f",
           commit[n_commits * 99 / 100], commit[n_commits - 1]);
    free(commit);
    sqlite3_finalize(s);
}

static void ask(sqlite3 *db, sqlite3_stmt *s, const float *q, int64_t *ids)
{
    int rc, n = 0;
    bind_vector(s, 1, q);
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        if (n < ANN_BEST) ids[n++] = sqlite3_column_int64(s, 0);
    if (rc != SQLITE_DONE) die("query", sqlite3_errmsg(db));
    while (n < ANN_BEST) ids[n++] = -1;
    sqlite3_reset(s);
}

static void print_times(const char *kind, double *ms, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += ms[i];
    printf(", \"%s_mean_ms\": %.4f, \"%s_median_ms\": %.4f", kind,
           sum / (double)n, kind, bench_median(ms, n));
    printf(", \"%s_95_ms\": %.4f, \"%s_99_ms\": %.4f", kind, ms[n * 95 / 100],
           kind, ms[n * 99 / 100]);
}

static void do_query(sqlite3 *db, char **words)
{
    size_t n, rounds = strtoul(words[2], NULL, 10), n_times;
    const float *query = map_rows(words[0], "query.f32", &n);
    sqlite3_stmt *s = prepare(db, words[1]);
    int64_t *ids;
    double *wall, *cpu;
    FILE *out = fopen(words[3], "wb");
    /* A slow index: fewer queries, one unmeasured. */
    if (rounds == 0) n = n < SLOW_QUERIES ? n : SLOW_QUERIES;
    n_times = n * (rounds ? rounds : 1);
    ids = malloc(n * ANN_BEST * sizeof *ids);
    wall = malloc(n_times * sizeof *wall);
    cpu = malloc(n_times * sizeof *cpu);
    if (!ids || !wall || !cpu || !out) die(words[3], "can't be written");
    for (size_t i = 0; i < (rounds ? n : 1); i++)
        ask(db, s, query + i * ANN_DIM, ids + i * ANN_BEST);
    for (size_t i = 0; i < n_times; i++) {
        double begin = now_ms(), cpu_begin = bench_cpu_ms();
        ask(db, s, query + i % n * ANN_DIM, ids + i % n * ANN_BEST);
        cpu[i] = bench_cpu_ms() - cpu_begin;
        wall[i] = now_ms() - begin;
    }
    fwrite(ids, sizeof *ids, n * ANN_BEST, out);
    if (fclose(out)) die(words[3], "can't be written");
    printf("\"queries\": %zu", n_times);
    print_times("cpu", cpu, n_times);
    print_times("wall", wall, n_times);
    free(wall);
    free(cpu);
    free(ids);
    sqlite3_finalize(s);
}

static void drop_from_cache(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) die(path, "can't be read");
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

static void do_cold(char **argv)
{
    size_t n;
    const float *query = map_rows(argv[5], "query.f32", &n);
    int64_t ids[ANN_BEST];
    double begin, opened, first, cpu;
    struct rusage before, after;
    sqlite3_stmt *s;
    sqlite3 *db;
    volatile float touched = query[0];
    (void)touched;
    drop_from_cache(argv[2]);
    getrusage(RUSAGE_SELF, &before);
    cpu = bench_cpu_ms();
    begin = now_ms();
    db = open_db(argv[1], argv[2], argv[3]);
    s = prepare(db, argv[6]);
    opened = now_ms();
    ask(db, s, query, ids);
    first = now_ms();
    cpu = bench_cpu_ms() - cpu;
    getrusage(RUSAGE_SELF, &after);
    printf("\"open_ms\": %.3f, \"first_ms\": %.3f, \"ms\": %.3f",
           opened - begin, first - opened, first - begin);
    printf(", \"cpu_ms\": %.3f, \"waits\": %ld", cpu,
           after.ru_nvcsw - before.ru_nvcsw);
    sqlite3_finalize(s);
    sqlite3_close(db);
}

int main(int argc, char **argv)
{
    sqlite3 *db;
    const char *step = argc > 4 ? argv[4] : "";
    if (argc == 7 && !strcmp(step, "cold")) {
        printf("{");
        do_cold(argv);
        print_memory();
        printf("}\n");
        return 0;
    }
    if (!(argc == 6 && !strcmp(step, "run")) &&
        !(argc == 11 && !strcmp(step, "write")) &&
        !(argc == 9 && !strcmp(step, "query"))) {
        fprintf(stderr, "ann_sql EXTENSION DB PRAGMAS run|write|query|cold "
                        "...; see ann_sql.c\n");
        return 2;
    }
    db = open_db(argv[1], argv[2], argv[3]);
    printf("{");
    if (!strcmp(step, "run")) {
        do_run(db, argv[5]);
    } else if (!strcmp(step, "write")) {
        do_write(db, argv + 5);
    } else {
        do_query(db, argv + 5);
    }
    print_memory();
    /* Some extension keeps statements open, which plain close refuses. */
    sqlite3_close_v2(db);
    print_file(argv[2]);
    printf("}\n");
    return 0;
}
