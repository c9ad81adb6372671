/* Any bytes as JSON: refused with a message, or one value without leaks. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *v = NULL;
    if (json_parse((const char *)data, size, &v) != TACIT_OK) {
        assert(!v && err_message()[0] != '\0');
        err_clear();
        return 0;
    }
    json_decref(v);
    return 0;
}
