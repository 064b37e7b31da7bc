/* ipc/mailbox.h - messages from many senders to one owner, found by name; each says where its answer goes.
 *
 *   weir_mailbox_open     owns a mailbox; weir_mailbox_receive gets a message, weir_mailbox_reply answers it
 *   weir_sender_open      sends to one: weir_sender_send, weir_sender_call (sends, and waits for the answer)
 *   weir_sender_wait      until the owner is there: "until the owner of Local/clock is there, at most 2 s"
 *
 * A mailbox is a channel of many producers and one consumer (channel.h) that says it is one: opened as a bare channel,
 * or the other way round, it is WEIR_E_MISMATCH.  Either side may come first.  Answers go to a mailbox of the sender's
 * own, which a message names by its name, its owner's number, which no other has, and generation.
 *
 * Callers:  a handle is one thread's at a time; a sender and the mailbox that its answers go to are one thread's.
 *           send, receive and call are async-signal-safe, the latter two once the mailbox has had a message and, with
 *           other timeouts than WEIR_NOWAIT, has slept in such a call; inside another call on the same handle they
 *           return WEIR_E_BUSY.
 * Progress, Waiting: as channel.h.
 * Order:    each sender's messages in order.
 * The end:  an owner that leaves or is killed is told to a sender once: by a send (within 20 ms of sends), by a call
 *           that waits for it within 50 ms, mostly within 5.  What nobody has
 *           received stays for the next owner (WEIR_KEEP), or is dropped by it (WEIR_DISCARD).  A killed owner receives
 *           nothing twice, but its successor may what it had not released: the message in hand, and all since a call
 *           kept messages (weir_sender_call).
 * Users:    as sections (section.h): an owner answers into mailboxes of its own user or root, whose mode is no wider than
 *           what it stated for its own; others are WEIR_E_PERMISSION.  Another user's Local one, and so one without a
 *           name, it cannot find: WEIR_CLOSED.
 * Fork:     in a child every call on a handle of the parent returns WEIR_E_FORKED, but close, which frees the child's
 *           copy.
 * Hostile:  every message is copied before it is looked at.  One whose head no weir writes is dropped and counted.  An
 *           address makes its receiver open a mailbox of that name that is there, no other section, and makes none;
 *           the worst of it is a reply that waits: give it a timeout. */
#ifndef WEIR_IPC_MAILBOX_H
#define WEIR_IPC_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/ipc/channel.h>
#include <weir/naming/name.h>

WEIR_BEGIN_DECLS

typedef struct weir_mailbox weir_mailbox; /* an owner's handle */
typedef struct weir_sender weir_sender;

/* What the next owner gets of what the last one has not received. */
typedef enum weir_undelivered {
    WEIR_KEEP = 1,   /* all of it */
    WEIR_DISCARD = 2 /* nothing: a message is for the owner that was the last to have come when send was called.  What
                      * was sent before there was any is for the first */
} weir_undelivered;

#define WEIR_MAILBOX_HEAD 48u /* bytes before a message in the channel; the name of the sender's mailbox, if it has one
                               * (rounded up to 8), comes behind it */
#define WEIR_MAILBOX_PRIVATE (UINT64_C(64) * 1024) /* capacity of a mailbox without a name, if none is stated */
#define WEIR_MAILBOX_KEPT (UINT64_C(64) * 1024)
#define WEIR_MAILBOX_KEPT_MAX (UINT64_C(1) << 30)
#define WEIR_MAILBOX_REPLIES 64u /* mailboxes that an owner holds open to answer; the one used longest ago goes first */

/* What an opener states; 0 or NULL states nothing.  Values that several state must agree. */
typedef struct weir_mailbox_options {
    weir_undelivered undelivered; /* the first to open fixes it: WEIR_KEEP, if it states nothing */
    uint64_t capacity;      /* bytes for each sender, as weir_channel_options */
    uint32_t message_bytes; /* the longest message this side will send; see weir_channel_options.record_bytes */
    weir_type type;         /* of the messages */
    weir_wait wait;         /* this handle's own, as mode */
    uint32_t mode;
    uint32_t senders;    /* how many at once there must be room for: at most WEIR_MEMBERS_MAX */
    uint64_t identity;   /* a sender's own: a number that no other live one may have stated */
    uint64_t kept_bytes; /* an owner's own: room for what comes while it calls; 0: WEIR_MAILBOX_KEPT; at most
                          * WEIR_MAILBOX_KEPT_MAX */
} weir_mailbox_options;

/* Where an answer goes; filled by receive. */
typedef struct weir_address {
    uint64_t owner;      /* the number of the mailbox's owner; 0: no answer is wanted */
    uint32_t generation; /* of that owner in its mailbox */
    uint32_t call;       /* it waits for the answer in weir_sender_call */
    char name[WEIR_NAME_TEXT_MAX]; /* "": a mailbox without a name */
} weir_address;

/* What is known of a message. */
typedef struct weir_mail {
    uint64_t correlation; /* the sender's number for it; of an answer: of what it answers */
    uint32_t type;        /* the sender's tag */
    uint32_t len;         /* bytes */
    uint32_t sender;      /* its place among the mailbox's senders; another may have it later */
    bool answer;          /* by weir_mailbox_reply */
    weir_address from;
} weir_mail;

typedef struct weir_mailbox_facts {
    weir_channel_facts channel; /* producers are the senders */
    char name[WEIR_NAME_TEXT_MAX];
    weir_undelivered undelivered;
    uint64_t owner;       /* this owner's number */
    uint32_t message_max; /* bytes of the longest message from a sender whose mailbox has no name; 0: not known yet */
    uint32_t kept;        /* messages that came during calls and were not received yet */
    uint32_t replies;     /* mailboxes held open to answer */
    uint64_t received, answered;
    uint64_t discarded; /* sent to an owner before this one (WEIR_DISCARD) */
    uint64_t late;      /* answers to calls that had ended, or to an owner before this one */
    uint64_t malformed;
} weir_mailbox_facts;

/* ---- owner ---- */

/* weir_mailbox_open makes this handle the owner of the mailbox of that name, making it if it is not there.  name NULL:
 * one without a name, for answers.  options NULL states nothing.
 *
 * Returns:  WEIR_OK; WEIR_E_IN_USE (it has a live owner); WEIR_E_INVALID (options); WEIR_E_MISMATCH (it is no mailbox,
 *           or other values are stated); otherwise as weir_channel_open.
 * If killed: nothing is there, or a mailbox whose owner was killed; one that was not yet announced never was. */
WEIR_API weir_status weir_mailbox_open(weir_mailbox **out, const char *name, const weir_mailbox_options *options);

/* weir_mailbox_close leaves the mailbox and frees the handle.  NULL is accepted.
 *
 * Returns:  WEIR_OK; WEIR_E_BUSY (inside another call on the handle, or senders' answers go here: close them first;
 *           nothing was done).
 * If killed: senders see a death, or the leaving. */
WEIR_API weir_status weir_mailbox_close(weir_mailbox *mailbox);

/* weir_mailbox_receive copies the next message into buffer, waiting for one up to timeout.
 *
 * Ordering: acquire; what the sender wrote before send is visible.
 * Returns:  WEIR_OK; WEIR_EMPTY (WEIR_NOWAIT); WEIR_TIMEOUT; WEIR_CLOSED, WEIR_DIED (nothing is left, and the last of
 *           the senders has gone, as weir_peek); WEIR_AGAIN (WEIR_NOWAIT; 65,536 messages were dropped, and there may be
 *           more); WEIR_CANCELLED; WEIR_E_TOO_SMALL (mail->len is its length; it stays
 *           the next); WEIR_E_CORRUPT; WEIR_E_MISMATCH; WEIR_E_NO_MEMORY; WEIR_E_BUSY; WEIR_E_FORKED.
 * If killed: the message was received, or the next owner has it, unless they are discarded. */
WEIR_API weir_status weir_mailbox_receive(weir_mailbox *mailbox, weir_mail *mail, void *buffer, uint64_t size_bytes,
                                          weir_timeout timeout);

/* weir_mailbox_reply answers a message that this handle received, now or later: the answer has its correlation.  It
 * goes to the owner that asked, not to its successor.
 *
 * Callers:  not async-signal-safe: it opens and closes mailboxes.
 * Returns:  WEIR_OK (it is in the sender's mailbox); WEIR_CLOSED (the sender's mailbox has left, or was killed and
 *           nothing tells it any more); WEIR_DIED (it was killed); WEIR_FULL, WEIR_TIMEOUT (its mailbox takes no more);
 *           WEIR_E_STATE (no answer is wanted); WEIR_E_TOO_LARGE; WEIR_E_INVALID (an address of the mailbox itself);
 *           WEIR_E_BUSY; WEIR_E_FORKED; otherwise as weir_channel_open, of the sender's mailbox.  None of them is the
 *           mailbox's fault, and others' messages come as before.
 * If killed: there is no answer, or it is whole. */
WEIR_API weir_status weir_mailbox_reply(weir_mailbox *mailbox, const weir_mail *mail, uint32_t type, const void *msg,
                                        uint64_t len, weir_timeout timeout);

/* weir_mailbox_info.  Returns: as weir_channel_info. */
WEIR_API weir_status weir_mailbox_info(weir_mailbox *mailbox, weir_mailbox_facts *facts);

/* weir_mailbox_cancel makes a receive or a call that waits for this mailbox return WEIR_CANCELLED: as
 * weir_channel_cancel. */
WEIR_API weir_status weir_mailbox_cancel(weir_mailbox *mailbox);

/* ---- sender ---- */

/* weir_sender_open opens the mailbox of that name to send to it, making it if it is not there.  Answers go to replies;
 * NULL: none are wanted.
 *
 * Returns:  WEIR_OK; WEIR_E_IN_USE (as many senders as there is room for, or one with that identity); WEIR_E_INVALID
 *           (options; replies is the same mailbox); WEIR_E_MISMATCH; otherwise as weir_channel_open.
 * If killed: as a sender killed between two calls, or as if it had not been called. */
WEIR_API weir_status weir_sender_open(weir_sender **out, const char *name, weir_mailbox *replies,
                                      const weir_mailbox_options *options);

/* weir_sender_close leaves and frees the handle; what it has sent stays.  NULL is accepted.
 *
 * Returns:  WEIR_OK; WEIR_E_BUSY (inside another call on the handle; nothing was done). */
WEIR_API weir_status weir_sender_close(weir_sender *sender);

/* weir_sender_wait waits until a live owner is there.
 *
 * Returns:  WEIR_OK; WEIR_TIMEOUT; WEIR_EMPTY (WEIR_NOWAIT); WEIR_CANCELLED; WEIR_E_BUSY; WEIR_E_FORKED; WEIR_E_OS. */
WEIR_API weir_status weir_sender_wait(weir_sender *sender, weir_timeout timeout);

/* weir_sender_send puts a message into the mailbox, waiting for room up to timeout.  type and correlation are the
 * caller's; an answer has the correlation.
 *
 * Ordering: release.
 * Returns:  WEIR_OK; WEIR_CLOSED, WEIR_DIED (the owner that this sender knew has left, or it, or one since, was killed:
 *           once for each that it knew; nothing was sent, the next call sends to whoever comes); WEIR_FULL
 *           (WEIR_NOWAIT and no room); WEIR_TIMEOUT; WEIR_CANCELLED; nothing was sent with any of these.  WEIR_E_TOO_LARGE; WEIR_E_INVALID;
 *           WEIR_E_CORRUPT; WEIR_E_BUSY; WEIR_E_FORKED.
 * If killed: the message was never sent, or it is whole. */
WEIR_API weir_status weir_sender_send(weir_sender *sender, uint32_t type, uint64_t correlation, const void *msg,
                                      uint64_t len, weir_timeout timeout);

/* weir_sender_call sends a message and waits for its answer, which it copies into buffer; all of it up to timeout.  It
 * waits for an owner first where none is there.  Other messages that come meanwhile are kept for weir_mailbox_receive,
 * in order, in kept_bytes of memory and, until they all were received, in the mailbox as well: killed before that, this
 * owner's successor gets them, and those received since the first of them came, again.  *answer, unless it is NULL,
 * tells of the answer; it may be the mail of a message.
 *
 * Returns:  WEIR_OK; WEIR_TIMEOUT; WEIR_CLOSED, WEIR_DIED (the owner it was sent to has left, was killed: within 50 ms;
 *           or, once, an owner that this sender knew, as weir_sender_send); WEIR_CANCELLED; with these, a message that
 *           was sent may still be received, and an answer that comes later is dropped and counted (late).  WEIR_FULL
 *           (what came meanwhile fills its room: receive it, then call again; if that was so before, nothing was sent).
 *           WEIR_E_TOO_SMALL (the answer is a message to receive, its correlation and length are in *answer);
 *           WEIR_E_STATE (a sender without replies); WEIR_E_TOO_LARGE; WEIR_E_CORRUPT; WEIR_E_INVALID; WEIR_E_BUSY;
 *           WEIR_E_FORKED.
 * If killed: as a sender and an owner killed between two calls. */
WEIR_API weir_status weir_sender_call(weir_sender *sender, uint32_t type, const void *msg, uint64_t len,
                                      weir_mail *answer, void *buffer, uint64_t size_bytes, weir_timeout timeout);

/* weir_sender_info tells of the channel: producers are the senders, the consumer is the owner.  Returns: as
 * weir_channel_info. */
WEIR_API weir_status weir_sender_info(weir_sender *sender, weir_channel_facts *facts);

/* weir_sender_cancel makes a call that waits for room or for an owner return WEIR_CANCELLED: as weir_channel_cancel. */
WEIR_API weir_status weir_sender_cancel(weir_sender *sender);

WEIR_END_DECLS

#endif
