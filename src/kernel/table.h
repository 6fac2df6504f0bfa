/* The kernel seam. A slot (family.slot, e.g. attn.dense) says what is computed; a row of kernels.def says by whom. A table holds
 * one row for each slot, chosen for one device and one activation format: later rows of the list win over earlier ones, and
 * `--kernels 'attn.dense=ref,linear.bf16=ref'` overrides the choice. A slot that no row fills is an error when it is asked for. */
#ifndef SWAN_KERNEL_TABLE_H
#define SWAN_KERNEL_TABLE_H

#include "base/pool.h"
#include "base/status.h"
#include "kernel/args.h"

/* Architectures, as a mask: what a row is picked on, and what it has been tested on. */
#define SWAN_ARCH_CPU 1u
#define SWAN_ARCH_SM80 2u
#define SWAN_ARCH_SM86 4u
#define SWAN_ARCH_SM89 8u
#define SWAN_ARCH_SM90 16u
#define SWAN_ARCH_SM100 32u
#define SWAN_ARCH_SM120 64u
#define SWAN_ARCH_CUDA (SWAN_ARCH_SM80 | SWAN_ARCH_SM86 | SWAN_ARCH_SM89 | SWAN_ARCH_SM90 | SWAN_ARCH_SM100 | SWAN_ARCH_SM120)

/* CPU features that a row needs, as a mask; 0: any x86-64 or other processor. */
#define SWAN_CPU_AVX2 1u   /* AVX2, FMA, F16C */
#define SWAN_CPU_AVX512 2u /* AVX-512 F, BW, DQ, VL, and the above */

/* Where a kernel runs: the pool on the CPU, a stream on a GPU. */
typedef struct swan_stream {
    swan_pool *pool;
    const atomic_bool *cancel; /* may be NULL */
    void *cuda;                /* cudaStream_t */
} swan_stream;

#define SWAN_SLOTS(X)                                                                                                  \
    X(linear, f32)                                                                                                     \
    X(linear, bf16)                                                                                                    \
    X(linear, f16)                                                                                                     \
    X(linear, gelu_mul)                                                                                                \
    X(norm, layer)                                                                                                     \
    X(norm, rms)                                                                                                       \
    X(attn, dense)                                                                                                     \
    X(attn, block_sparse)                                                                                              \
    X(vsa, pool)                                                                                                       \
    X(vsa, coarse)                                                                                                     \
    X(vsa, combine)                                                                                                    \
    X(embed, rows)                                                                                                     \
    X(embed, timestep)                                                                                                 \
    X(embed, patchify)                                                                                                 \
    X(embed, unpatchify)                                                                                               \
    X(elem, combine)                                                                                                   \
    X(elem, map)                                                                                                       \
    X(conv, conv3x3)                                                                                                   \
    X(conv, up2x2)                                                                                                     \
    X(image, from_latent)                                                                                              \
    X(image, to_rgb8)                                                                                                  \
    X(image, to_i420)

typedef enum swan_slot {
#define SWAN_SLOT_ENUM(family, slot) SWAN_SLOT_##family##_##slot,
    SWAN_SLOTS(SWAN_SLOT_ENUM)
#undef SWAN_SLOT_ENUM
    SWAN_SLOT_COUNT
} swan_slot;

/* One row of kernels.def. run and workspace are cast back by the slot's typed access below. */
typedef struct swan_kernel_row {
    const char *family, *slot, *variant; /* "attn", "dense", "avx512" */
    swan_slot id;
    swan_dtype format;       /* of activations */
    unsigned picked, tested; /* SWAN_ARCH_* */
    unsigned cpu;            /* SWAN_CPU_* */
    void (*run)(void);
    void (*workspace)(void); /* NULL: none */
} swan_kernel_row;

/* A filled slot: run(stream, args), and the bytes of workspace that it wants for these args (NULL: none). */
typedef struct swan_kernels {
    unsigned arch;
    swan_dtype format;
#define SWAN_SLOT_MEMBER(family_, slot_)                                                                               \
    struct {                                                                                                           \
        swan_status (*run)(swan_stream *, const swan_##family_##_##slot_##_args *);                                    \
        size_t (*workspace)(const swan_##family_##_##slot_##_args *, const swan_stream *);                             \
        const swan_kernel_row *row; /* NULL: empty */                                                                  \
    } family_##_##slot_;
    SWAN_SLOTS(SWAN_SLOT_MEMBER)
#undef SWAN_SLOT_MEMBER
} swan_kernels;

/* Every row, in the order of kernels.def; NULL past the end. */
const swan_kernel_row *swan_kernel_row_at(size_t i);
/* The CPU features of this machine, SWAN_CPU_*. */
unsigned swan_kernel_cpu_features(void);
/* Fills a table for arch (one SWAN_ARCH_ bit) and format. overrides: NULL or "family.slot=variant,…"; an unknown slot or a
 * variant that does not exist for this device fails with SWAN_E_INVALID and lists what there is. */
swan_status swan_kernels_pick(unsigned arch, swan_dtype format, unsigned cpu_features, const char *overrides,
                              swan_kernels *out);
/* The row in a slot of a table, NULL when it is empty. */
const swan_kernel_row *swan_kernels_row(const swan_kernels *k, swan_slot slot);

#endif
