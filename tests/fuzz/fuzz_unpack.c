/* Any bytes as packed data: never more than the limit comes out. */
#include <assert.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/file.h"

enum { LIMIT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    buf_init(&out, 0);
    enum tacit_err err = file_decompress(data, size, LIMIT, &out);
    assert(out.len <= LIMIT && (err == TACIT_OK || out.len == 0));
    assert(out.cap <= 4 * LIMIT);
    err_clear();
    buf_release(&out);
    return 0;
}
