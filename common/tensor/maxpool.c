#include "common/tensor/vectorise.h"

#include "common/tensor/maxpool.h"

#include <string.h>

enum { WIDE = 8 };
typedef float line __attribute__((vector_size(WIDE * sizeof(float))));
typedef int32_t mask __attribute__((vector_size(WIDE * sizeof(int32_t))));

#define EVEN(a, b) __builtin_shufflevector((a), (b), 0, 2, 4, 6, 8, 10, 12, 14)
#define ODD(a, b)  __builtin_shufflevector((a), (b), 1, 3, 5, 7, 9, 11, 13, 15)
#define LOW(a, b)  __builtin_shufflevector((a), (b), 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector((a), (b), 4, 12, 5, 13, 6, 14, 7, 15)
/* where yes is all ones a, else b */
#define CHOOSE(yes, a, b) (line)(((yes) & (mask)(a)) | (~(yes) & (mask)(b)))

MANY_TARGETS
void pool_forward(const struct pool_plane *p, const float *plane, float *out,
                  uint32_t *winner)
{
    const line zero = {0};
    const mask none = zero != zero, one = none + 1;
    for (size_t y = 0; y < p->height; y++)
        for (size_t x = 0; x < p->width; x += WIDE) {
            line top[2], bottom[2], best, next;
            mask which = none, more;
            const float *from = plane + 2 * y * p->stride + 2 * x;
            memcpy(top, from, sizeof top);
            memcpy(bottom, from + p->stride, sizeof bottom);
            best = EVEN(top[0], top[1]);
            next = ODD(top[0], top[1]);
            more = next > best;
            best = CHOOSE(more, next, best);
            which = more & one;
            next = EVEN(bottom[0], bottom[1]);
            more = next > best;
            best = CHOOSE(more, next, best);
            which = (more & (one * 2)) | (~more & which);
            next = ODD(bottom[0], bottom[1]);
            more = next > best;
            best = CHOOSE(more, next, best);
            which = (more & (one * 3)) | (~more & which);
            best = best + p->bias;
            if (p->relu) {
                more = best <= zero;
                best = CHOOSE(more, zero, best);
                which = (more & (one * 4)) | (~more & which);
            }
            memcpy(out + y * p->width + x, &best, sizeof best);
            memcpy(winner + y * p->width + x, &which, sizeof which);
        }
}

MANY_TARGETS
void pool_backward(const struct pool_plane *p, const float *g,
                   const uint32_t *winner, float *plane)
{
    const mask lane = {0, 1, 2, 3, 4, 5, 6, 7};
    for (size_t y = 0; y < p->height; y++)
        for (size_t below = 0; below < 2; below++)
            for (size_t x = 0; x < p->width; x += WIDE) {
                line from, left, right, to[2];
                mask which, inside = lane < (int32_t)(p->width - x);
                int32_t first = 2 * (int32_t)below;
                memcpy(&from, g + y * p->width + x, sizeof from);
                memcpy(&which, winner + y * p->width + x, sizeof which);
                left = (line)((which == first) & inside & (mask)from);
                right = (line)((which == first + 1) & inside & (mask)from);
                to[0] = LOW(left, right);
                to[1] = HIGH(left, right);
                memcpy(plane + (2 * y + below) * p->stride + 2 * x, to,
                       sizeof to);
            }
}
