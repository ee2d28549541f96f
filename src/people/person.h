/*-------------------------------------------------------------------------
 *
 * person.h
 *	  What the files about registers share: arguments, statements whose
 *	  parameters are texts, and the row of one person.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PERSON_H
#define CPII_PERSON_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#define CPII_MAX_RUN_ARGS 12

/* one person of the staff register, palloc'd */
typedef struct CpiiPerson
{
	char	   *staff_no;
	Oid			login;			/* InvalidOid: has no login */
	char	   *org;
	char	   *post;
	char	   *client;
	char	   *status;
	TimestampTz departed_at;	/* DT_NOEND: not set */
} CpiiPerson;

/* ---- arguments ---- */
extern char *cpii_text_or_null(FunctionCallInfo fcinfo, int n);
/* a code that becomes a key: present, not empty, short enough for the roster */
extern char *cpii_code_argument(FunctionCallInfo fcinfo, int n,
								const char *name, int room);
extern char *cpii_text_argument(FunctionCallInfo fcinfo, int n,
								const char *name);
/* '{"key": "value", ...}' from pairs of strings, ended by NULL */
extern char *cpii_json_pairs(const char *key,...);

/* a role that exists */
extern Oid	cpii_role_argument(FunctionCallInfo fcinfo, int n);

/* ---- statements; SPI is connected ---- */
/*
 * Run a statement of the extension's own whose parameters are texts (NULL is
 * null); returns the number of rows.
 */
extern uint64 cpii_person_run(const char *sql, int nargs, const char **texts);
/* raise unless the organisation unit exists; argument names it in messages */
extern void cpii_require_org(const char *code, const char *argument);
/* lock the person's row and read it; the result outlives nothing but SPI */
extern void cpii_get_person(const char *staff_no, CpiiPerson *person);
/* write status, time and reason of a person whose rights are taken away */
extern void cpii_update_status(const CpiiPerson *person, const char *reason);
/* the role's name, or NULL when it is gone */
extern char *cpii_role_name(Oid role);

#endif							/* CPII_PERSON_H */
