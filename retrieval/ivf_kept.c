#include "retrieval/ivf_state.h"

#include <stdlib.h>

/*
 * What a search has read, for the next: of each entry its bits, scalars and
 * words, without ids, which the rows have, too. A page of the store holds more
 * than that, is seldom full, and costs ten times as much to fetch as to scan.
 *
 *   blocks of copies   as in a segment
 *   other blocks       ix->lean: codes, add, mul, words
 *
 * Lists are kept while the store's stamp stays as it is: any write, by anyone,
 * ends them all. Only a search that finds the stamp of the one before adds to
 * them, so that nothing is copied in vain where writes and searches alternate.
 * What finds no memory, or no room below KEPT_MAX, is read as ever.
 */
enum { KEPT_MAX = 60 << 20, ROOM_MIN = 256 };

struct ivf_kept {
    uint64_t stamp;
    bool is_stamped, grows;
    size_t bytes, n, room;
    struct ivf_kept_list *lists; /* [room], open addressing; a power of two */
    /* the list that is being read */
    uint8_t *draft; /* [draft_room] */
    size_t draft_room, draft_bytes, copies, firsts;
    bool is_whole;
};

static void lists_drop(struct ivf_kept *k)
{
    for (size_t i = 0; i < k->room && k->n > 0; i++) {
        if (k->lists[i].list == 0) continue;
        free(k->lists[i].data);
        k->lists[i] = (struct ivf_kept_list){0};
        k->n--;
    }
    k->bytes = 0;
}

void ivf_kept_free(struct ivf_kept *k)
{
    if (k == NULL) return;
    lists_drop(k);
    free(k->lists);
    free(k->draft);
    free(k);
}

size_t ivf_kept_bytes(const struct ivf_kept *k)
{
    if (k == NULL) return 0;
    return sizeof *k + k->bytes + k->room * sizeof *k->lists + k->draft_room;
}

enum tacit_err ivf_kept_begin(struct ivf *ix)
{
    uint64_t now;
    if (ix->store->stamp == NULL) return TACIT_OK;
    TRY(ix->store->stamp(ix->store->ctx, &now));
    if (ix->kept == NULL) ix->kept = calloc(1, sizeof *ix->kept);
    struct ivf_kept *k = ix->kept;
    if (k == NULL) return TACIT_OK;
    k->grows = k->is_stamped && k->stamp == now;
    if (!k->grows) lists_drop(k);
    k->stamp = now;
    k->is_stamped = true;
    return TACIT_OK;
}

/* The place of a list, or the empty one where it would be. */
static struct ivf_kept_list *place_of(const struct ivf_kept *k, uint32_t list)
{
    size_t i = (size_t)(list * UINT32_C(0x9e3779b1));
    while (k->lists[i & (k->room - 1)].list != 0 &&
           k->lists[i & (k->room - 1)].list != list)
        i++;
    return &k->lists[i & (k->room - 1)];
}

const struct ivf_kept_list *ivf_kept_find(const struct ivf *ix, uint32_t list)
{
    const struct ivf_kept *k = ix->kept;
    if (k == NULL || k->n == 0) return NULL;
    const struct ivf_kept_list *l = place_of(k, list);
    return l->list == list ? l : NULL;
}

/* ---- adding a list ------------------------------------------------------- */

void ivf_kept_start(struct ivf *ix)
{
    struct ivf_kept *k = ix->kept;
    if (k == NULL) return;
    k->draft_bytes = k->copies = k->firsts = 0;
    k->is_whole = k->grows;
}

static bool draft_reserve(struct ivf_kept *k, size_t more)
{
    size_t want = k->draft_bytes + more;
    if (want <= k->draft_room) return true;
    uint8_t *grown = realloc(k->draft, 2 * want);
    if (grown == NULL) return false;
    k->draft = grown;
    k->draft_room = 2 * want;
    return true;
}

void ivf_kept_add(struct ivf *ix, uint32_t seg, const uint8_t *data)
{
    struct ivf_kept *k = ix->kept;
    const struct ivf_shape *s = &ix->shape;
    size_t n = ivf_blocks(data), words = s->block - s->words;
    if (k == NULL || !k->is_whole) return;
    bool copies = seg < IVF_SEG_FIRST;
    /* a slot's number is counted from the list's first block */
    k->is_whole =
        draft_reserve(k, n * s->block) &&
        (copies || (seg - IVF_SEG_FIRST) * s->blocks_max == k->firsts);
    if (!k->is_whole) return;
    *(copies ? &k->copies : &k->firsts) += n;
    for (size_t b = 0; b < n; b++) {
        const uint8_t *from = ivf_block(s, data, b);
        uint8_t *to = k->draft + k->draft_bytes;
        memcpy(to, from, copies ? s->block : s->ids);
        if (!copies) memcpy(to + ix->lean.words, from + s->words, words);
        k->draft_bytes += copies ? s->block : ix->lean.block;
    }
}

static bool lists_reserve(struct ivf_kept *k)
{
    if (4 * k->n < 3 * k->room) return true;
    struct ivf_kept grown = {.room = k->room ? 2 * k->room : ROOM_MIN};
    grown.lists = calloc(grown.room, sizeof *grown.lists);
    if (grown.lists == NULL) return false;
    for (size_t i = 0; i < k->room; i++)
        if (k->lists[i].list != 0)
            *place_of(&grown, k->lists[i].list) = k->lists[i];
    free(k->lists);
    k->lists = grown.lists;
    k->room = grown.room;
    return true;
}

void ivf_kept_end(struct ivf *ix, uint32_t list)
{
    struct ivf_kept *k = ix->kept;
    if (k == NULL || !k->is_whole || k->draft_bytes == 0 ||
        k->bytes + k->draft_bytes > KEPT_MAX || !lists_reserve(k))
        return;
    struct ivf_kept_list l = {.list = list,
                              .copies = (uint32_t)k->copies,
                              .firsts = (uint32_t)k->firsts,
                              .data = malloc(k->draft_bytes)};
    if (l.data == NULL) return;
    memcpy(l.data, k->draft, k->draft_bytes);
    *place_of(k, list) = l;
    k->n++;
    k->bytes += k->draft_bytes;
}
