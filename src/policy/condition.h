/*-------------------------------------------------------------------------
 *
 * condition.h
 *	  The small language of row rules.  Pure: a condition is data, not SQL.
 *
 *	  <column> = <value>
 *	  <column> within <value>
 *	  <column> in [<schema>.]<table>.<column> where <test> and <test> ...
 *
 * A test is one of the first two forms.  A value is actor.staff_no,
 * actor.login, actor.org, actor.client, today, or a constant in single quotes
 * (doubled inside).  Names are as in SQL: folded to lower case unless in
 * double quotes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CONDITION_H
#define CPII_CONDITION_H

#include <stdbool.h>

#define CPII_CONDITION_NAME_LEN 64
#define CPII_CONDITION_CONST_LEN 256
#define CPII_CONDITION_MAX_TESTS 8

typedef enum CpiiValueKind
{
	CPII_VALUE_STAFF_NO,
	CPII_VALUE_LOGIN,
	CPII_VALUE_ORG,
	CPII_VALUE_CLIENT,
	CPII_VALUE_TODAY,
	CPII_VALUE_CONST
} CpiiValueKind;

typedef struct CpiiValue
{
	CpiiValueKind kind;
	char		text[CPII_CONDITION_CONST_LEN]; /* CONST only, unquoted */
} CpiiValue;

typedef enum CpiiTestKind
{
	CPII_TEST_EQUAL,
	CPII_TEST_WITHIN
} CpiiTestKind;

typedef struct CpiiTest
{
	CpiiTestKind kind;
	char		column[CPII_CONDITION_NAME_LEN];
	CpiiValue	value;
} CpiiTest;

typedef struct CpiiCondition
{
	bool		is_in;			/* the third form; else tests[0] alone */
	char		column[CPII_CONDITION_NAME_LEN];	/* third form */
	char		schema[CPII_CONDITION_NAME_LEN];	/* "" when not given */
	char		table[CPII_CONDITION_NAME_LEN];
	char		table_column[CPII_CONDITION_NAME_LEN];
	int			ntests;
	CpiiTest	tests[CPII_CONDITION_MAX_TESTS];
} CpiiCondition;

/*
 * Parse text (terminated).  On failure returns false and sets *problem to a
 * constant phrase that says what was expected.
 */
extern bool cpii_condition_parse(const char *text, CpiiCondition *condition,
								 const char **problem);

/* enough for the text of any condition */
#define CPII_CONDITION_TEXT_LEN 8192

/* the text of a condition; parsing it gives the same condition again */
extern void cpii_condition_print(const CpiiCondition *condition,
								 char out[CPII_CONDITION_TEXT_LEN]);

#endif							/* CPII_CONDITION_H */
