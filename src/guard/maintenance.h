/*-------------------------------------------------------------------------
 *
 * maintenance.h
 *	  After the duties are sealed: approved windows in which structure may be
 *	  changed, and the ways round the library that are closed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_MAINTENANCE_H
#define CPII_MAINTENANCE_H

#include "datatype/timestamp.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"

#include "base/compat.h"

/* ---- maintenance.c ---- */

typedef enum CpiiPower
{
	CPII_POWER_WINDOW,			/* allowed in a window */
	CPII_POWER_EMERGENCY		/* allowed in an opened emergency only */
} CpiiPower;

/*
 * Somebody wants to do what the seal forbids: passes in a window that covers
 * the object (NULL: none in particular), else records and raises PI006.
 */
extern void cpii_maintenance_require(CpiiPower power, const char *command,
									 const char *what, const char *object);

/* does the person have an emergency, or a window with no end of names? */
extern bool cpii_maintenance_emergency(void);

/* a statement of somebody in a window is recorded, once */
extern void cpii_maintenance_note(const char *command, const char *source);

/* do the rules of the sealed state hold for what runs now? */
extern bool cpii_maintenance_applies(void);

extern void cpii_maintenance_init(void);

/* ---- forbidden.c: what utility statements need a window ---- */
extern void cpii_forbidden_utility(Node *stmt);

/*
 * ---- prepared.c: roles with prepared transactions are not dropped, those of
 * people who left neither committed nor rolled back unseen ----
 */
extern void cpii_prepared_utility(Node *stmt);

/* ---- escape.c: functions, settings, catalogs ---- */
extern void cpii_escape_init(void);
/* a superuser calls a function, in the sealed state: raise when it must not be */
extern void cpii_escape_function(Oid function);
/* likewise for what a plan does to relations */
extern void cpii_escape_check_perms(CPII_CHECK_PERMS_PARAMS);

#endif							/* CPII_MAINTENANCE_H */
