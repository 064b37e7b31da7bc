/* ipc/channel_look.h - private: looking at a channel, for a participant and for an observer alike.
 *
 * Of cold only what weir_terms_read_head and the opening fill is used: section, view, kind, own and peers. */
#ifndef WEIR_IPC_CHANNEL_LOOK_H
#define WEIR_IPC_CHANNEL_LOOK_H

#include <weir/ipc/kind.h>
#include <weir/ipc/observer.h>

/* weir_look_at_channel fills what is not one handle's own. */
weir_status weir_look_at_channel(struct channel_cold *cold, weir_channel_facts *facts);

weir_status weir_look_at_members(struct channel_cold *cold, weir_member *out, uint32_t max, uint32_t *count);

/* weir_look_at_position reads a place's position from the ring of that shape: only what lies in the view, and only
 * words of the ring's control blocks. */
weir_position weir_look_at_position(const struct channel_cold *cold, const struct channel_shape *shape, weir_role role,
                                    uint32_t place, uint64_t *position);

#endif
