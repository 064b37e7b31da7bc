/* ipc/mailbox_layout.h - private: a message of a mailbox, as it lies in the channel.  ipc/README.md draws it. */
#ifndef WEIR_IPC_MAILBOX_LAYOUT_H
#define WEIR_IPC_MAILBOX_LAYOUT_H

#include <stddef.h>

#include <weir/ipc/mailbox.h>

#define MAIL_MAGIC 0x31616d77u /* "wma1": the head's layout */

enum {
    MAIL_CALL = 1u,   /* its answer is waited for in a call; of an answer: what it answers was such */
    MAIL_ANSWER = 2u, /* it is an answer */
    MAIL_FLAGS = 3u
};

/* Written by the sender, once; every number in it is the peer's, and is checked. */
struct mail_head {
    uint32_t magic;
    uint8_t flags;
    uint8_t name_len; /* of the name behind the head; 0: the mailbox has none, its owner's number stands for it */
    uint16_t zero;
    uint32_t type;
    uint32_t target; /* generation of the owner that was the last to have come; 0: none yet */
    uint64_t correlation;
    uint64_t to;         /* an answer: the number of the owner it is for; else 0 */
    uint64_t owner;      /* of the mailbox for the answer; 0: none is wanted */
    uint32_t generation; /* that owner's in it */
    uint32_t zero_too;
};

_Static_assert(sizeof(struct mail_head) == WEIR_MAILBOX_HEAD, "layout");
_Static_assert(offsetof(struct mail_head, correlation) == 16, "layout");
_Static_assert(WEIR_NAME_TEXT_MAX <= UINT8_MAX, "a name's length fits its byte");

/* Bytes of the head with a name behind it, which is filled up with zeros. */
static inline uint32_t mail_head_bytes(uint32_t name_len)
{
    return (uint32_t)sizeof(struct mail_head) + (name_len + 7) / 8 * 8;
}

#define MAIL_HEAD_MAX (WEIR_MAILBOX_HEAD + (WEIR_NAME_TEXT_MAX + 7) / 8 * 8)

#endif
