#include "retrieval/prepared.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/corpus_state.h"
#include "retrieval/places.h"

enum { MAX = PREPARED_PASSAGES_MAX };

enum tacit_err prepared_new(const char *path, size_t dim, struct prepared **out)
{
    struct prepared *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "out of memory");
    buf_init(&p->passages, MAX * sizeof(struct passage));
    buf_init(&p->headings, (size_t)MAX * CHUNK_HEADING_MAX);
    buf_init(&p->places, (size_t)MAX * PLACES_BYTES_MAX);
    buf_init(&p->vectors, MAX * dim * sizeof(float));
    enum tacit_err err = corpus_path(path, p->path);
    if (!err) err = document_open(&p->d, p->path);
    if (err) {
        free(p);
        return err;
    }
    *out = p;
    return TACIT_OK;
}

const struct passage *prepared_passage(const struct prepared *p, size_t i)
{
    return (const struct passage *)(const void *)p->passages.data + i;
}

const char *prepared_heading(const struct prepared *p,
                             const struct passage *one)
{
    return (const char *)p->headings.data + one->heading;
}

static enum tacit_err keep(struct prepared *p, const struct chunk *c)
{
    const struct passage *last = p->n ? prepared_passage(p, p->n - 1) : NULL;
    struct passage one = {.text_first = c->text_first,
                          .text_end = c->text_end,
                          .own_first = c->own_first,
                          .place = c->place,
                          .heading = p->headings.len,
                          .places = p->places.len};
    if (last && strcmp(prepared_heading(p, last), c->heading) == 0)
        one.heading = last->heading;
    else
        buf_put(&p->headings, c->heading, strlen(c->heading) + 1);
    places_encode(&p->places, c);
    one.n_places = p->places.len - one.places;
    buf_put(&p->passages, &one, sizeof one);
    p->n++;
    TRY(buf_end(&p->headings));
    TRY(buf_end(&p->places));
    return buf_end(&p->passages);
}

enum tacit_err prepared_cut(struct prepared *p, const struct chunk_sizes *sizes)
{
    struct chunker k;
    struct chunk chunk;
    chunker_init(&k, &p->d, sizes);
    while (chunker_next(&k, &chunk)) {
        if (p->n == MAX)
            return fail_as(E_DOCUMENT_TOO_LARGE,
                           "more than %d passages; split the file", MAX);
        TRY(keep(p, &chunk));
    }
    return TACIT_OK;
}

void prepared_free(struct prepared *p)
{
    document_release(&p->d);
    buf_release(&p->passages);
    buf_release(&p->headings);
    buf_release(&p->places);
    buf_release(&p->vectors);
    free(p);
}
