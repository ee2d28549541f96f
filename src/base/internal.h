/*-------------------------------------------------------------------------
 *
 * internal.h
 *	  Statements that the extension itself runs.
 *
 * They run with the extension owner's rights, are exempt from accounting and
 * from the guard's refusal of direct changes to our registers, and must name
 * every object with its schema (operators of pg_catalog only; search_path is
 * pinned while they run).  Values are passed as parameters, never spliced.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_INTERNAL_H
#define CPII_INTERNAL_H

#include "nodes/pg_list.h"

/* > 0 while the extension runs a statement of its own */
extern PGDLLIMPORT int cpii_internal_depth;

/* all that this process does from now on is internal, over commits and errors */
extern void cpii_internal_process(void);
extern bool cpii_is_internal_process(void);

/*
 * > 0 while the planner runs and no executor runs below it: functions that
 * disclose or probe must then do neither, for the planner evaluates stable
 * functions to estimate.
 */
extern int	cpii_planning_depth;

/* true when the library came through shared_preload_libraries */
extern bool cpii_preloaded;

/* raises 55000 with a hint when the library was not preloaded */
extern void cpii_require_preload(void);

/* OID of an object of schema courier_pii; InvalidOid when missing_ok */
extern Oid	cpii_schema_oid(bool missing_ok);
/* an oid[] of a list of them */
extern Datum cpii_oid_array(List *oids);
/* a bytea of these bytes */
extern Datum cpii_bytea(const void *data, size_t len);

extern Oid	cpii_relation_oid(const char *name, bool missing_ok);
/* owner of the extension (a superuser) */
extern Oid	cpii_owner_oid(void);

/*
 * Raised identity and "internal" mark.  Begin/end pairs nest; on error the
 * (sub)transaction abort restores everything by itself.
 */
typedef struct CpiiInternalState
{
	Oid			userid;
	int			sec_context;
	int			guc_nestlevel;
} CpiiInternalState;

extern void cpii_internal_begin(CpiiInternalState *state);
extern void cpii_internal_end(CpiiInternalState *state);

/*
 * Is this session in the database that courier_pii.database names?  By its name:
 * another database can have a schema called like ours.
 */
extern bool cpii_in_protected_database(void);

/*
 * SPI_execute_with_args between cpii_internal_begin and _end; the caller has
 * called SPI_connect().  Returns the SPI code; raises when it is negative.
 */
extern int	cpii_internal_execute(const char *sql, int nargs, Oid *argtypes,
								  Datum *values, const char *nulls,
								  bool read_only, long count);

/*
 * A value of the last statement's result, by its row from 0 and its column from
 * 1.  A text is made in the current memory context, NULL for null; a number
 * is 0 for null.
 */
extern char *cpii_result_text(uint64 row, int column);
extern Oid	cpii_result_oid(uint64 row, int column);
extern int64 cpii_result_int64(uint64 row, int column);

/*
 * The object numbers in the first column of a query's result, in its order;
 * the list lives in the caller's memory context.  Connects to SPI by itself;
 * the query sees what the transaction has done so far.
 */
extern List *cpii_internal_oids(const char *sql, int nargs, Oid *argtypes,
								Datum *values);

extern void cpii_internal_init(void);

#endif							/* CPII_INTERNAL_H */
