/* sorted: numbers in rising order. A header alone, so that the loops that ask
 * for one number after another have it in place. */
#ifndef TACIT_BASE_SORTED_H
#define TACIT_BASE_SORTED_H

#include <stddef.h>
#include <stdint.h>

/* The place of v in list [n], rising, each number once; n when it is not
 * there. list may be NULL when n is 0. */
static inline size_t sorted_find(const int64_t *list, size_t n, int64_t v)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (list[mid] < v)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && list[low] == v ? low : n;
}

#endif
