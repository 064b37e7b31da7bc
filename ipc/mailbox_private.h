/* ipc/mailbox_private.h - private: the handles of a mailbox. */
#ifndef WEIR_IPC_MAILBOX_PRIVATE_H
#define WEIR_IPC_MAILBOX_PRIVATE_H

#include <weir/ipc/channel_private.h>
#include <weir/ipc/mailbox_layout.h>

/* The part of a handle that a fork clears. */
struct mailbox_front {
    uint32_t busy;  /* a call is under way */
    uint32_t alive; /* not so in a forked child */
};

/* A message in place in a lane: its head was copied and checked, its bytes are copied once. */
struct mail_in_place {
    weir_mail mail;
    const unsigned char *bytes; /* NULL: none is there */
};

/* Messages that came during calls, oldest first: a weir_mail and its bytes each. */
struct kept {
    unsigned char *memory;
    uint64_t size, first_off, end_off;
    uint32_t count;
};

/* A mailbox that is open to send answers to. */
struct reply_box {
    weir_channel *channel; /* NULL: the place is free */
    weir_address to;
    uint64_t used; /* when last, in replies */
    int64_t looked_ns;
};

/* It lies behind that part. */
struct mailbox_state {
    weir_channel *channel;
    uint64_t owner; /* this owner's number, */
    uint32_t generation; /* and generation */
    weir_undelivered undelivered;
    weir_wait wait;
    uint32_t mode; /* the widest that is accepted: of its own section, and of those that answers go to */
    bool is_private;
    uint32_t senders; /* whose answers come here */
    uint64_t calls;   /* number of the last one */
    uint64_t awaited; /* the call whose answer is waited for; 0: none */
    struct mail_in_place next; /* read and not handed out */
    bool next_is_answer;       /* to the call that is awaited */
    struct kept kept;
    weir_status end; /* of the senders, seen during a call; WEIR_OK: none */
    uint64_t received, answered, discarded, late, malformed;
    uint64_t replies; /* tried */
    struct reply_box *boxes; /* WEIR_MAILBOX_REPLIES of them */
    int64_t swept_ns;
};

struct weir_mailbox {
    struct mailbox_front front;
};

struct sender_state {
    weir_channel *channel;
    weir_mailbox *replies;
    uint32_t known;  /* generation of the owner that was seen last, */
    uint32_t deaths; /* and how many had been killed before it */
    bool told;       /* the caller knows that it has gone */
    uint64_t dead;   /* generation + 1 of an owner that the kernel says is dead; 0: none */
    int64_t looked_ns; /* when the kernel was last asked whether it lives, */
    uint64_t heard;    /* and how much news of deaths there had been */
    struct channel_beside owner; /* what a call looks at besides its answers */
    uint32_t head_bytes;
    union {
        struct mail_head head;
        unsigned char bytes[MAIL_HEAD_MAX]; /* with the name of replies behind it */
    } head;
};

struct weir_sender {
    struct mailbox_front front;
};

_Static_assert(sizeof(struct mailbox_state) <= WEIR_OS_HANDLE_PART, "a handle's parts fit their pages");
_Static_assert(sizeof(struct sender_state) <= WEIR_OS_HANDLE_PART, "a handle's parts fit their pages");

static inline struct mailbox_state *mailbox_state(weir_mailbox *mailbox)
{
    return (struct mailbox_state *)(void *)((unsigned char *)mailbox + WEIR_OS_HANDLE_APART);
}

static inline struct sender_state *sender_state(weir_sender *sender)
{
    return (struct sender_state *)(void *)((unsigned char *)sender + WEIR_OS_HANDLE_APART);
}

#define MAILBOX_PRIVATE_NAME "Local/mail-%016llx" /* of the owner's number */
#define MAILBOX_PROBE_NS INT64_C(10000000) /* how often a sender asks the kernel about the owner's lock */

/* weir_mailbox_enter marks the handle; a fork's child and a signal handler inside a call are told. */
weir_status weir_mailbox_enter(struct mailbox_front *front);
weir_status weir_mailbox_leave(struct mailbox_front *front, weir_status status);

/* weir_mailbox_channel opens the channel of a mailbox.  number: the owner's. */
weir_status weir_mailbox_channel(weir_channel **out, const char *name, weir_role role,
                                 const weir_mailbox_options *options, uint64_t number, uint32_t head_bytes);

/* weir_mailbox_owner tells who owns the mailbox of a sender's channel; ask: of the kernel too. */
weir_status weir_mailbox_owner(weir_channel *channel, bool ask, weir_participant *owner);

/* weir_mailbox_next reads the next message that is the owner's business into state->next, unless one is there.  *timeout
 * becomes a deadline where it has to wait, as in weir_channel_peek_by. */
weir_status weir_mailbox_next(struct mailbox_state *state, weir_timeout *timeout);

/* weir_mailbox_keep puts state->next behind those that are kept; false: there is no room. */
bool weir_mailbox_keep(struct mailbox_state *state);

/* weir_mailbox_hand copies state->next to the caller. */
weir_status weir_mailbox_hand(struct mailbox_state *state, weir_mail *mail, void *buffer, uint64_t size_bytes);

#endif
