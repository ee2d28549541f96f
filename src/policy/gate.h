/*-------------------------------------------------------------------------
 *
 * gate.h
 *	  Conditions on the person that must hold before clear text is shown.
 *
 * A gate is off, warns (what was disclosed is recorded with the gate's name)
 * or is on (a person who does not pass is shown masks and may not search).
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_GATE_H
#define CPII_GATE_H

#include "datatype/timestamp.h"

#include "base/session.h"
#include "policy/matrix.h"

typedef enum CpiiGate
{
	CPII_GATE_TLS,				/* a remote connection is encrypted */
	CPII_GATE_PASSWORD,			/* the password is in date */
	CPII_GATE_AGREEMENT,		/* a confidentiality agreement is in force */
	CPII_GATE_TRAINING,			/* training is in date */
	CPII_GATE_CONTRACT			/* the person's or the organisation's contract */
} CpiiGate;

#define CPII_NGATES 5

/*
 * Work out which gates the person does not pass, from the registers, for
 * cpii_gate_level and the others below.  *deadline is moved forward to the
 * time when the answer may change by itself.  Called when the policy cache is
 * loaded.
 */
extern void cpii_gate_load(const CpiiActor *who, TimestampTz *deadline);

/* the level after the gates: at most masked when one that is on is not passed */
extern CpiiLevel cpii_gate_level(CpiiLevel level);
/* does a gate that is on withhold clear text and searches? */
extern bool cpii_gate_closed(void);
/* "gate "training" is not passed", or NULL; constant text */
extern const char *cpii_gate_reason(void);
/* JSON detail of a record: the gates that only warn; NULL when all are passed */
extern const char *cpii_gate_detail(void);

/*
 * Installed by the people room: is the password of the role in date?  Sets
 * *until to the time when that ends.  Catalog access is possible.
 */
typedef bool (*CpiiPasswordInDate) (Oid role, TimestampTz *until);
extern CpiiPasswordInDate cpii_password_in_date;

#endif							/* CPII_GATE_H */
