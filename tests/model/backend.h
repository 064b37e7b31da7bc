/* tests/model/backend.h - base/atomic.h's atomics, as calls of the explorer.  WEIR_ATOMIC_BACKEND names this file.
 *
 * Values live in the explorer (memory.c); the words here are only addresses, and what they hold at first. */
#ifndef MODEL_BACKEND_H
#define MODEL_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#define WEIR_OS_HANDLE_APART 4096u /* a model keeps and clears what lies between a handle's parts, too */

typedef struct weir_atomic_u64 { uint64_t word; } weir_atomic_u64;
typedef struct weir_atomic_u32 { uint32_t word; } weir_atomic_u32;

enum model_order { MODEL_RELAXED = 0, MODEL_ACQUIRE = 1, MODEL_RELEASE = 2, MODEL_ACQ_REL = 3 };
enum model_rmw { MODEL_EXCHANGE, MODEL_ADD, MODEL_OR, MODEL_AND };
enum model_fence { MODEL_FENCE_ACQ, MODEL_FENCE_REL, MODEL_FENCE_SC, MODEL_FENCE_COMPILER, MODEL_FENCE_OTHERS };

uint64_t model_load(const void *word, unsigned size, enum model_order order);
void model_store(void *word, unsigned size, uint64_t value, enum model_order order);
uint64_t model_rmw(void *word, unsigned size, enum model_rmw operation, uint64_t operand, enum model_order order);
bool model_cas(void *word, unsigned size, void *expected, uint64_t desired, enum model_order order);
void model_fence(enum model_fence fence);
void model_payload_write(void *to, const void *from, uint64_t len);
void model_payload_read(void *to, const void *from, uint64_t len);

/* model_weaken takes the order from this thread's next load, store or read-modify-write.  weaken.sh puts it there. */
void model_weaken(enum model_order lost);

/* The word's type without its qualifiers. */
#define MODEL_TYPE(a) __typeof__((a)->word | 0u)
#define MODEL_WORD(a) &(a)->word, sizeof(a)->word

#define WEIR_ATOMIC_LOAD(a, order) ((MODEL_TYPE(a))model_load(MODEL_WORD(a), MODEL_##order))
#define WEIR_ATOMIC_STORE(a, value, order) model_store(MODEL_WORD(a), (value), MODEL_##order)
#define MODEL_RMW(a, op, value, order) ((MODEL_TYPE(a))model_rmw(MODEL_WORD(a), (op), (value), MODEL_##order))
#define WEIR_ATOMIC_EXCHANGE(a, value, order) MODEL_RMW(a, MODEL_EXCHANGE, value, order)
#define WEIR_ATOMIC_ADD(a, value, order) MODEL_RMW(a, MODEL_ADD, value, order)
#define WEIR_ATOMIC_OR(a, bits, order) MODEL_RMW(a, MODEL_OR, bits, order)
#define WEIR_ATOMIC_AND(a, bits, order) MODEL_RMW(a, MODEL_AND, bits, order)
/* Strong; order is that of success, a failure is relaxed. */
#define WEIR_ATOMIC_CAS(a, expected, desired, order) model_cas(MODEL_WORD(a), (expected), (desired), MODEL_##order)
#define WEIR_ATOMIC_TALLY(a, more) ((void)(a), (void)(more))
#define WEIR_ATOMIC_FENCE_ACQ() model_fence(MODEL_FENCE_ACQ)
#define WEIR_ATOMIC_FENCE_REL() model_fence(MODEL_FENCE_REL)
#define WEIR_ATOMIC_FENCE_SC() model_fence(MODEL_FENCE_SC)
#define WEIR_ATOMIC_FENCE_COMPILER() model_fence(MODEL_FENCE_COMPILER)
#define WEIR_PAYLOAD_WRITE(to, from, len) model_payload_write((to), (from), (len))
#define WEIR_PAYLOAD_READ(to, from, len) model_payload_read((to), (from), (len))

#endif
