/* hostile/aliased.h - the files of sections, changed under calls that map them by themselves: they are mapped here once more,
 * one behind the other. */
#ifndef WEIR_TESTS_HOSTILE_ALIASED_H
#define WEIR_TESTS_HOSTILE_ALIASED_H

#include "hostile.h"

extern hostile_ring aliased; /* its memory; nothing else of it is used */

/* aliased_begin makes room for row->bytes(), a multiple of 4096; its control words are what aliased_rest changes. */
void aliased_begin(const hostile_row *row);
void aliased_end(void);

/* aliased_map maps the first bytes of the file of Local/NAME to that place. */
void aliased_map(const char *dir, const char *name, uint64_t off, uint64_t bytes);

/* aliased_note remembers the words as they are, to replay them; aliased_good, as what aliased_mend brings back, too. */
void aliased_note(void);
void aliased_good(void);
void aliased_mend(void);

uint64_t aliased_word(uint64_t off);
uint64_t aliased_good_word(uint64_t off);
bool aliased_put(uint64_t off, uint64_t value); /* true: it was another one, and is counted */

/* aliased_rest changes a word at rest, of the control words, to a boundary value, or one 16-bit slice of it to anything. */
void aliased_rest(uint64_t n, uint64_t bits);

extern uint64_t aliased_mutations; /* those of put and rest */

#define S(name) HOSTILE_STATUS(WEIR_##name)

/* aliased_seen counts a call of that name, which was begun with aliased_call: its status is among those that it may have,
 * and it has made no more loads than that. */
void aliased_call(const char *op);
weir_status aliased_seen(weir_status status, uint64_t may, uint64_t loads_max);

#define CALL(op, call, may) (aliased_call(op), aliased_seen((call), (may), LOADS_MAX))

/* How a round begins: of four, one has some words changed at rest, one is armed before its ends open; two are for the caller
 * to arm behind that.  The mean number of loads between two changes is returned. */
unsigned aliased_round(uint64_t n, uint64_t *random);

#endif
