/*-------------------------------------------------------------------------
 *
 * channel.h
 *	  Requests to the key agent, through slots in shared memory.
 *
 * Each process has a slot of its own.  Keys and shares in a slot are sealed to
 * the two processes (see handover.h) and wiped when they have been taken, so
 * that nobody else who reads shared memory, or a dump of it, finds a key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CHANNEL_H
#define CPII_CHANNEL_H

#include "crypto/handover.h"

#define CPII_PAYLOAD_LEN 512

typedef enum CpiiRequestKind
{
	CPII_ASK_SEAL_KEY = 1,		/* active epoch of a class, made when missing */
	CPII_ASK_OPEN_KEY,			/* class and epoch */
	CPII_ASK_MAC_KEY,			/* class, epoch (0: scope of the class), arg = purpose */
	CPII_ASK_AUDIT_KEY,
	CPII_ASK_IDENTITY,			/* only that the installation is known */
	CPII_ASK_RESERVE,			/* more messages for class and epoch */
	CPII_ASK_NEW_EPOCH,			/* class; epoch = the active one now; arg = suite
								 * or 0, arg2 = tag scope or -1 */
	CPII_ASK_DESTROY,			/* class and epoch */
	CPII_ASK_UNSEAL,			/* payload: a share */
	CPII_ASK_CHANGE_MASTER		/* payload: a share of the new key, or none */
} CpiiRequestKind;

typedef enum CpiiAnswerStatus
{
	CPII_ANSWER_OK = 0,
	CPII_ANSWER_SEALED,			/* no master key; the table has the reason */
	CPII_ANSWER_ABSENT,			/* the agent does not run or does not answer */
	CPII_ANSWER_NO_SECRET,		/* not in the key store */
	CPII_ANSWER_DESTROYED,
	CPII_ANSWER_DAMAGED,		/* file of the key store */
	CPII_ANSWER_REFUSED,		/* not for this account */
	CPII_ANSWER_FULL,			/* no more epochs or messages */
	CPII_ANSWER_SHARE,			/* a share that cannot be used; detail */
	CPII_ANSWER_NO_STORE,		/* the key store is gone; the table has the reason */
	CPII_ANSWER_FAILED,			/* detail */
	CPII_ANSWER_RETRY			/* asked of an agent that is gone; not returned */
} CpiiAnswerStatus;

typedef struct CpiiRequest
{
	int			kind;
	int			class_id;
	int			epoch;
	int			arg;
	int			arg2;
	/* the server's word: the place and number of the process, and whether it is
	 * a background worker by itself */
	int			number;
	int			pid;
	bool		service;
	const unsigned char *payload;
	size_t		payload_len;
} CpiiRequest;

typedef struct CpiiAnswer
{
	int			status;
	int			epoch;			/* the epoch in question; or shares missing */
	unsigned char key[CPII_KEY_LEN];	/* of the kinds that ask for one */
	char		detail[192];
} CpiiAnswer;

/*
 * Ask and wait, for a few seconds at most.  Never raises because of keys: look
 * at the status.  Can be interrupted like any wait.  The caller wipes the key.
 */
extern void cpii_channel_ask(const CpiiRequest *request, CpiiAnswer *answer);

/* ---- the agent's side ---- */

/*
 * The agent is about to serve: a new key pair, requests that a predecessor
 * left half done are open again.
 */
extern void cpii_channel_open(void);
/* processes that can ask; their numbers are below */
extern int	cpii_channel_slots(void);
/* no more requests; waiting processes notice */
extern void cpii_channel_close(void);

/*
 * Serve every request that waits.  The callback gets the request (its payload
 * opened, in memory that is wiped afterwards), the login role as the server
 * knows it, and the session and outer roles as the process says.
 */
typedef void (*CpiiServe) (const CpiiRequest *request, Oid login, Oid session,
						   Oid outer, CpiiAnswer *answer);
extern void cpii_channel_serve(CpiiServe serve);

extern void cpii_channel_init(void);

#endif							/* CPII_CHANNEL_H */
