/*-------------------------------------------------------------------------
 *
 * record.h
 *	  One audit record: its fields, its binary form, and the call that stores it.
 *
 * The record room is the only place that knows field order and format version.
 * Person, time and place are filled in here from the session; the caller
 * supplies what happened.  Texts must already be free of literals.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_RECORD_H
#define CPII_AUDIT_RECORD_H

#include "datatype/timestamp.h"

#include "base/session.h"

typedef enum CpiiAction
{
	CPII_ACT_LOGIN = 1,
	CPII_ACT_LOGIN_DENIED,
	CPII_ACT_READ,
	CPII_ACT_SEARCH,
	CPII_ACT_EXPORT,
	CPII_ACT_COPY,
	CPII_ACT_DESTROY,
	CPII_ACT_WRITE,
	CPII_ACT_DENIED,
	CPII_ACT_POLICY,
	CPII_ACT_REQUEST,
	CPII_ACT_ACCOUNT,
	CPII_ACT_PASSWORD,
	CPII_ACT_KEY,
	CPII_ACT_DDL,
	CPII_ACT_MAINTENANCE,
	CPII_ACT_CANARY,
	CPII_ACT_SYSTEM
} CpiiAction;

typedef enum CpiiPhase
{
	CPII_PHASE_SINGLE = 1,		/* the whole event in one record */
	CPII_PHASE_BEGIN,			/* written before the first row may leave */
	CPII_PHASE_END				/* final counts of an event with a BEGIN */
} CpiiPhase;

/* every pointer may be NULL; nothing is kept after cpii_audit_write returns */
typedef struct CpiiAuditEvent
{
	CpiiPhase	phase;
	CpiiAction	action;
	const char *outcome;		/* ok, begun, denied, blocked, error,
								 * cancelled, timeout, client_lost,
								 * terminated, rollback, crash */
	int			sqlstate;		/* encoded as in ErrorData; 0 = none */
	const char *command;		/* command tag, such as SELECT or COPY */
	const char *const *relations;	/* qualified names */
	int			nrelations;
	uint32		classes;		/* bit n = class number n */
	int64		rows_returned;
	int64		rows_examined;
	int64		disclosed;
	int64		masked;
	int64		probes;
	uint64		query_id;
	const char *query;			/* literals removed */
	int64		duration;		/* microseconds */
	const char *detail;			/* a JSON object, without personal data */
	const CpiiActor *actor;		/* NULL: the session's own */
	uint64		begin_seq;		/* END: sequence number of its BEGIN */
} CpiiAuditEvent;

/*
 * Store one record in the spool.  "sync" asks for a flush to disk before the
 * call returns (subject to courier_pii.audit_sync).  Returns the record's
 * sequence number.
 *
 * When the record cannot be stored: raises PI003 if courier_pii.audit_on_failure
 * is "deny", else counts the loss and returns 0.  cpii_audit_write_noerror is
 * for places that must not raise (error paths, commit callbacks, process exit);
 * it logs at LOG level instead and returns 0.
 *
 * Uses no catalog and no transaction when the actor is known.
 */
extern uint64 cpii_audit_write(const CpiiAuditEvent *event, bool sync);
extern uint64 cpii_audit_write_noerror(const CpiiAuditEvent *event, bool sync);

/*
 * May a statement begin that discloses, masks or searches?  Raises PI003 when
 * its record could not be stored and courier_pii.audit_on_failure is "deny".
 * Asked before anything is shown: a refusal at the end would come when the rows
 * are in the send buffer already.
 */
extern void cpii_audit_admit(void);

/*
 * A short form for functions of the extension that change something:
 * action POLICY, ACCOUNT, ... with command = function name and a JSON detail.
 */
extern void cpii_audit_note(CpiiAction action, const char *command,
							const char *outcome, const char *detail);

extern const char *cpii_action_name(CpiiAction action);
extern const char *cpii_phase_name(CpiiPhase phase);

extern void cpii_audit_init(void);	/* shared memory, worker registration */

#endif							/* CPII_AUDIT_RECORD_H */
