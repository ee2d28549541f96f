/*-------------------------------------------------------------------------
 *
 * password_scrub.c
 *	  Keeps passwords in statements out of the server log, of
 *	  pg_stat_activity and of pg_stat_statements.
 *
 * The text of a statement that sets a password is overwritten where it stands,
 * without a change of length: whoever reads it later (log_min_duration, other
 * hooks, the STATEMENT line of an error) finds stars.  It was parsed before.
 * Messages that are written earlier (log_statement, syntax errors) pass the
 * log hook, which removes the literals of whatever looks like such a statement.
 *
 * pg_stat_activity shows the text from the moment it arrives until it is
 * parsed; no hook is called before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"

#include "audit/redact.h"
#include "base/session.h"
#include "people/password.h"

/* case-insensitive strstr for ASCII needles in small letters */
static const char *
find(const char *text, const char *needle)
{
	size_t		len = strlen(needle);

	for (; *text != '\0'; text++)
		if (pg_strncasecmp(text, needle, len) == 0)
			return text;
	return NULL;
}

/* this session has prepared a call with a password as its parameter */
static bool call_prepared = false;

/*
 * Could the text hold a password?  One of these words and, after it, something
 * that opens a literal.
 */
static bool
holds_password(const char *text)
{
	static const char *const words[] = {
		"password", "alter role", "alter user", "create role", "create user",
		"user mapping", "subscription"
	};

	if (text == NULL)
		return false;
	for (int i = 0; i < lengthof(words); i++)
	{
		const char *at = find(text, words[i]);

		if (at != NULL && strpbrk(at, "'$") != NULL)
			return true;
	}
	return call_prepared && find(text, "execute") != NULL &&
		strpbrk(find(text, "execute"), "'$") != NULL;
}

static char *
redacted(const char *text)
{
	Size		size = strlen(text) + 1;
	char	   *copy = palloc(size);

	(void) cpii_redact(text, size - 1, copy, size);
	return copy;
}

static void
show_redacted_activity(const char *text)
{
	char	   *copy = redacted(text);

	cpii_report_activity(copy);
	pfree(copy);
}

void
cpii_password_scrub(const char *text, int location, int length)
{
	Size		size;

	if (text == NULL)
		return;
	size = strlen(text);
	if (location > 0 && (Size) location < size)
		size = length > 0 ? Min((Size) length, size - location) : size - location;
	else
	{
		location = 0;
		if (length > 0)
			size = Min((Size) length, size);
	}
	/* the memory is a message buffer or a copy of it, never a constant */
	cpii_redact_in_place(unconstify(char *, text) + location, size);
	if (debug_query_string != NULL)
		show_redacted_activity(debug_query_string);
}

void
cpii_password_scrub_if_any(const char *text, int location, int length,
						   bool prepare)
{
	if (!holds_password(text))
		return;
	if (prepare && find(text, "_password") != NULL)
		call_prepared = true;
	cpii_password_scrub(text, location, length);
}

void
cpii_password_scrub_call(void)
{
	/* EXECUTE of a prepared call shows the literals without any word of ours */
	if (debug_query_string != NULL && strpbrk(debug_query_string, "'$") != NULL)
		cpii_password_scrub(debug_query_string, 0, 0);
}

void
cpii_password_scrub_message(ErrorData *edata)
{
	bool		statement = holds_password(debug_query_string);

	if (edata->message != NULL && holds_password(edata->message))
		edata->message = redacted(edata->message);
	if (edata->context != NULL && holds_password(edata->context))
		edata->context = redacted(edata->context);
	if (edata->internalquery != NULL && holds_password(edata->internalquery))
		edata->internalquery = redacted(edata->internalquery);
	/* EXECUTE: the detail tells what was prepared, the message has the literals */
	if (edata->detail != NULL && edata->message != NULL &&
		find(edata->detail, "prepare: ") == edata->detail &&
		holds_password(edata->detail))
	{
		edata->message = redacted(edata->message);
		edata->detail = redacted(edata->detail);
	}
	/* parameters of an extended query that calls one of our functions */
	if (edata->detail != NULL && find(edata->detail, "$1 = ") != NULL &&
		(find(edata->message ? edata->message : "", "_password(") != NULL ||
		 (debug_query_string != NULL && find(debug_query_string, "_password(") != NULL)))
		edata->detail = NULL;
	if (edata->context != NULL && find(edata->context, "with parameters: ") != NULL &&
		debug_query_string != NULL && find(debug_query_string, "_password(") != NULL)
		edata->context = redacted(edata->context);
	if (statement)
	{
		edata->hide_stmt = true;
		if (edata->elevel >= ERROR && IsUnderPostmaster)
			show_redacted_activity(debug_query_string);
	}
}
