#include "retrieval/passage_reader.h"

#include <string.h>

#include "retrieval/corpus_state.h"

#define BUILT_IN "built-in"

const char *passage_reader_name(const struct search_query *q)
{
    return q->reader ? q->reader->name : BUILT_IN;
}

static enum tacit_err read_built_in(struct corpus *c,
                                    const struct reader_pair *pair,
                                    struct span_found *out)
{
    if (!c->reader) TRY(span_reader_new(NULL, 0, &c->reader));
    return span_reader_read(c->reader, pair, out);
}

enum tacit_err passage_reader_run(struct corpus *c,
                                  const struct search_query *q,
                                  const struct inquiry *inquiry,
                                  struct passage *passages, size_t n)
{
    const struct passage_reader *r = q->reader;
    const char *text = inquiry->question.text;
    for (size_t i = 0; i < n; i++) passages[i].is_read = 0;
    for (size_t i = 0; i < n && i < READING_PASSAGES; i++) {
        struct passage *p = &passages[i];
        const struct reader_pair pair = {text, p->hit->text, strlen(text),
                                         p->hit->text_len};
        TRY(r ? r->read(r->ctx, &pair, &p->answer)
              : read_built_in(c, &pair, &p->answer));
        p->is_read = p->answer.end > p->answer.first &&
                     p->answer.end <= p->hit->text_len;
    }
    return TACIT_OK;
}
