/* peers: one process. */
#include <stddef.h>

#include "sims/peers.h"

enum tacit_err peers_begin(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return TACIT_OK;
}

const struct fleet_peers *peers(void)
{
    return NULL;
}

unsigned peers_rank(void)
{
    return 0;
}

unsigned peers_here(void)
{
    return 1;
}

void peers_wait_at_most(int64_t ms)
{
    (void)ms;
}

int peers_end(int code)
{
    return code;
}
