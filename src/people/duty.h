/*-------------------------------------------------------------------------
 *
 * duty.h
 *	  Separation of duties: who may not hold what together, the end of set-up,
 *	  and emergencies.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_DUTY_H
#define CPII_DUTY_H

#include "datatype/timestamp.h"
#include "nodes/nodes.h"

/* ---- duty.c ---- */

/*
 * Around a utility statement: what conflicts of duties are there before it
 * (NULL when the statement can make none), and did it make a new one?  Raises
 * PI006 then, after a record.  Works in every database of the server.
 */
typedef struct CpiiDutyConflicts CpiiDutyConflicts;
extern CpiiDutyConflicts *cpii_duty_before(Node *stmt);
extern void cpii_duty_after(CpiiDutyConflicts *before, Node *stmt);

/*
 * A statement that separation of duties forbids: record it, then raise PI006;
 * under courier_pii.enforcement = warn a warning is all.  what: message, such
 * as "command LOAD is not allowed"; object: a name for the record, or NULL.
 */
extern void cpii_duty_refuse(const char *command, const char *what,
							 const char *object, const char *hint);

/* is the role a duty role, or one that rights of duties hang on? */
extern bool cpii_duty_is_role(const char *name);
/* a dump fills the register of the seal: it counts from the next start */
extern void cpii_duties_restored(void);
/* is the role a member of one of the three duties, directly or through groups? */
extern bool cpii_holds_duty(Oid role);

/* ---- seal_duties.c ---- */

/* make shared memory follow the register; SPI is not connected */
extern void cpii_duties_follow(void);
extern void cpii_duties_init(void);

#endif							/* CPII_DUTY_H */
