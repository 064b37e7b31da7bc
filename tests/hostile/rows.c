/* The table of rings: a new one is its row_NAME.c and a line here (README.md). */
#include "hostile.h"

extern const hostile_row hostile_row_spsc, hostile_row_mpsc, hostile_row_mpsc_ordered, hostile_row_broadcast,
    hostile_row_latest, hostile_row_mpmc, hostile_row_broadcast_gated;

/* In the order of their numbers in corpus/fuzz_attach: a new one comes last. */
const hostile_row *const hostile_rows[] = {
    &hostile_row_spsc, &hostile_row_mpsc, &hostile_row_mpsc_ordered, &hostile_row_broadcast, &hostile_row_latest,
    &hostile_row_mpmc, &hostile_row_broadcast_gated,
};
const unsigned hostile_row_count = HOSTILE_COUNT(hostile_rows);
