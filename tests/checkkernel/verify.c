/* The cases as `swan verify` runs them. */
#include "cli/verify.h"

#include <stdio.h>

#include "base/pool.h"
#include "run.h"

#define MOST_AT_ONCE 6 /* each holds half a gigabyte of a GPU */

int verify_kernels(const verify_options *o)
{
    int cores = swan_pool_cores();
    check_options run = {.only = o->only, .seed = o->seed, .threads = 2, .each = true, .cpu = o->cpu, .gpu = o->gpu,
                         .jobs = cores < MOST_AT_ONCE ? cores : MOST_AT_ONCE};
    if (!check_take_shapes("shapes", swan_embedded_shapes)) return 2;
    bool found = o->gpu && check_find_gpu(o->index);
    if (o->gpu && !o->cpu && !found) {
        printf("no GPU number %d that this build has kernels for (see: swan --list-devices)\n", o->index);
        return 2;
    }
    run.gpu = found; /* where there is none, its rows are not even skipped */
    return check_run_all(&run);
}
