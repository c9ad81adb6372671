/* sessions: see sessions.h. */
#include "coordinator/sessions.h"

#include <stdlib.h>
#include <string.h>

void sessions_init(struct sessions *s)
{
    memset(s, 0, sizeof *s);
}

void sessions_release(struct sessions *s)
{
    free(s->list);
    memset(s, 0, sizeof *s);
}

static int by_dh(const void *a, const void *b)
{
    const struct session *x = a, *y = b;
    return memcmp(x->member.dh, y->member.dh, KEYS_PUBLIC);
}

struct loading {
    struct session *list;
    size_t n, cap;
};

static enum tacit_err load_one(void *ctx, const struct store_member *m)
{
    struct loading *l = ctx;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct session *list = realloc(l->list, cap * sizeof *list);
        if (!list) return fail(TACIT_NOMEM, "%zu members", cap);
        l->list = list;
        l->cap = cap;
    }
    l->list[l->n++] = (struct session){.member = *m, .seen_ms = -1};
    return TACIT_OK;
}

static int by_enrolment(const void *a, const void *b)
{
    const struct session *x = a, *y = b;
    if (x->member.enrolled_s != y->member.enrolled_s)
        return x->member.enrolled_s < y->member.enrolled_s ? -1 : 1;
    int order = strcmp(x->member.name, y->member.name);
    return order ? order : memcmp(x->member.id, y->member.id, KEYS_ID);
}

enum tacit_err sessions_reload(struct sessions *s, struct store *store)
{
    struct loading l = {0};
    enum tacit_err err = store_members(store, load_one, &l);
    if (err != TACIT_OK) {
        free(l.list);
        return err;
    }
    if (l.n) qsort(l.list, l.n, sizeof *l.list, by_enrolment);
    for (size_t i = 0; i < l.n; i++) l.list[i].rank = (uint32_t)i;
    if (l.n) qsort(l.list, l.n, sizeof *l.list, by_dh);
    for (size_t i = 0; i < l.n; i++) {
        struct session *old = sessions_find(s, l.list[i].member.dh);
        if (!old) continue;
        struct session fresh = l.list[i];
        l.list[i] = *old;
        l.list[i].member = fresh.member;
        l.list[i].rank = fresh.rank;
    }
    free(s->list);
    s->list = l.list;
    s->n = l.n;
    return TACIT_OK;
}

struct session *sessions_find(struct sessions *s, const uint8_t dh[KEYS_PUBLIC])
{
    if (s->n == 0) return NULL;
    struct session key = {0};
    memcpy(key.member.dh, dh, KEYS_PUBLIC);
    return bsearch(&key, s->list, s->n, sizeof *s->list, by_dh);
}

int sessions_note_link(struct session *m, const struct link_peer *peer)
{
    uint64_t link = (uint64_t)peer->generation << 32 | peer->slot;
    link++; /* 0 means none */
    if (link != m->link) {
        /* Back on the link it used before: a device that restarts never does
         * that. One warning for each of the two. */
        if (link == m->link_before) m->n_clones = 2;
        m->link_before = m->link;
        m->link = link;
        m->told = IDLE_NO_WORK; /* whoever is there now knows nothing yet */
    }
    if (m->n_clones == 0) return 0;
    m->n_clones--;
    return 1;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, KEYS_ID);
}

void sessions_roster(const struct sessions *s, struct buf *out)
{
    size_t start = out->len, n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct store_member *m = &s->list[i].member;
        if (m->state != MEMBER_APPROVED) continue;
        buf_put(out, m->id, KEYS_ID);
        buf_put(out, m->identity, KEYS_PUBLIC);
        n++;
    }
    if (n && !out->err) qsort(out->data + start, n, SESSIONS_ROSTER_ROW, by_id);
}

size_t sessions_n_approved(const struct sessions *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->list[i].member.state == MEMBER_APPROVED;
    return n;
}

enum tacit_err sessions_save_seen(struct sessions *s, struct store *store)
{
    struct store_seen *list = malloc((s->n ? s->n : 1) * sizeof *list);
    if (!list) return fail(TACIT_NOMEM, "%zu members", s->n);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->list[i].seen_s) continue;
        memcpy(list[n].id, s->list[i].member.id, KEYS_ID);
        list[n++].seen_s = s->list[i].seen_s;
    }
    enum tacit_err err = n ? store_seen(store, list, n) : TACIT_OK;
    if (err == TACIT_OK)
        for (size_t i = 0; i < s->n; i++) s->list[i].seen_s = 0;
    free(list);
    return err;
}
