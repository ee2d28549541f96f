/*-------------------------------------------------------------------------
 *
 * starter.h
 *	  The starter policy: what the two files of load_starter_policy share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_STARTER_H
#define CPII_STARTER_H

#include "funcapi.h"
#include "nodes/pg_list.h"

typedef enum CpiiPost
{
	CPII_POST_COURIER,
	CPII_POST_SORTER,
	CPII_POST_SERVICE,
	CPII_POST_MANAGER,
	CPII_POST_FRANCHISE,
	CPII_POST_ENTRY,
	CPII_POST_CLIENT,
	CPII_POST_FINANCE,
	CPII_POST_ANALYST,
	CPII_POST_DBA,
	CPII_POST_SECURITY_ADMIN,
	CPII_POST_AUDITOR,
	CPII_POST_REGULATOR,
	CPII_POST_LIAISON,
	CPII_POST_LABEL
} CpiiPost;

#define CPII_NPOSTS 15

/* one row rule that a table should have */
typedef struct CpiiStarterRule
{
	CpiiPost	post;
	char	   *name;
	List	   *visible;		/* of char * */
	List	   *scope;
	List	   *scope_columns;	/* NIL: all */
} CpiiStarterRule;

/*
 * The rules for a table, by the names of its columns and of the tables beside
 * it: a list of CpiiStarterRule.  Needs SPI.
 */
extern List *cpii_starter_rules(Oid relid);

#endif							/* CPII_STARTER_H */
