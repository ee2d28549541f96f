/*-------------------------------------------------------------------------
 *
 * ticket_state.h
 *	  A request as its register knows it; shared by the ticket files only.
 *
 * Invariants:
 * - The digest covers everything that was asked for: number, kind, purpose,
 *	 details, named objects, requester, beneficiaries, time, approvals needed.
 * - A seal is an HMAC with a key that is not in the database.  The request and
 *	 each approval carry one over the digest, so that nobody who changes the
 *	 register can make or change a ticket.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_TICKET_STATE_H
#define CPII_TICKET_STATE_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "base/session.h"
#include "crypto/cipher.h"
#include "crypto/signature.h"

/*
 * Somebody who asks or decides.  Persons are compared by staff number when
 * both have one, by login role otherwise.
 */
typedef struct CpiiPerson
{
	char	   *staff_no;		/* "" = not in the roster */
	Oid			login;
	char	   *name;			/* what is shown: staff number, else login role */
} CpiiPerson;

extern CpiiPerson cpii_acting_person(void);
extern bool cpii_same_person(const CpiiPerson *a, const CpiiPerson *b);

typedef struct CpiiRequest
{
	int64		id;
	char	   *kind;
	char	   *purpose;
	Jsonb	   *details;
	char	   *details_text;
	CpiiPerson	requester;
	int			nbeneficiaries;
	char	  **beneficiaries;	/* staff numbers or login roles */
	int			nobjects;
	char	  **objects;		/* as named, relations in full */
	Oid		   *object_oids;	/* of relations when asked; else InvalidOid */
	int64		estimated_rows; /* -1 = not known */
	TimestampTz requested_at;
	TimestampTz decide_before;
	int			needed;			/* approvals */
	char	   *state;			/* as stored: a clock may have run out since */
	TimestampTz decided_at;		/* 0 = not */
	unsigned char digest[CPII_SHA256_LEN];
	unsigned char seal[CPII_MAC_LEN];
} CpiiRequest;

typedef struct CpiiApproval
{
	CpiiPerson	approver;
	TimestampTz approved_at;
	unsigned char seal[CPII_MAC_LEN];
} CpiiApproval;

/* ---- ticket_state.c ---- */

/*
 * Read a request, in a snapshot of this moment whatever the transaction's
 * isolation; "lock" locks its row until the transaction ends.  Allocates in the
 * current context.  False when there is none.
 */
extern bool cpii_request_load(int64 id, bool lock, CpiiRequest *request);

/* its approvals, oldest first; returns their number */
extern int	cpii_request_approvals(int64 id, CpiiApproval **approvals);

extern void cpii_request_digest(const CpiiRequest *request,
								unsigned char digest[CPII_SHA256_LEN]);

/* the seals; raise PI004 without a key */
extern void cpii_request_seal(const CpiiRequest *request,
							  unsigned char seal[CPII_MAC_LEN]);
extern void cpii_approval_seal(const CpiiRequest *request,
							   const CpiiApproval *approval,
							   unsigned char seal[CPII_MAC_LEN]);

/* is the register's row as it was asked for? */
extern bool cpii_request_intact(const CpiiRequest *request);
/* raise PI002 unless it is */
extern void cpii_request_check(const CpiiRequest *request);

/* a text of the details, or NULL */
extern char *cpii_request_detail(const CpiiRequest *request, const char *key);
/* a whole number of the details, or "missing" */
extern int64 cpii_request_number(const CpiiRequest *request, const char *key,
								 int64 missing);

/* texts of one key: a string, a number, or an array of them; their number */
extern int	cpii_request_texts(const CpiiRequest *request, const char *key,
							   char ***texts);

/* is the person one of those whom the request is for? */
extern bool cpii_request_benefits(const CpiiRequest *request,
								  const CpiiPerson *person);

/*
 * The name of an object in full: a relation's (with column) when the text names
 * one under the current search_path, else the text itself.  *relid is set to
 * the relation or InvalidOid.
 */
extern char *cpii_object_name(const char *text, Oid *relid);

/* approvals that the rules of now ask of a request */
extern int	cpii_quorum(const char *kind, int64 rows);

static inline TimestampTz
cpii_seconds_after(TimestampTz at, int64 seconds)
{
	return at + seconds * USECS_PER_SEC;
}

/* seconds that an approved ticket may be used, a request be decided */
extern int	cpii_use_seconds(void);
extern int	cpii_decide_seconds(void);

#endif							/* CPII_TICKET_STATE_H */
