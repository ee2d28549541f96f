/*-------------------------------------------------------------------------
 *
 * log_hygiene.c
 *	  No literals of statements where administrators read along.
 *
 * In sessions of the protected database:
 * - the server log gets statements without literals, and messages, details and
 *	 contexts without the values that a statement failed on; the client gets
 *	 its messages as they are;
 * - pg_stat_activity shows statements that touch protected relations, and
 *	 statements that failed, without literals;
 * - pg_stat_statements and auto_explain are given the text of such statements
 *	 without literals (positions in it stay true), and utility statements with
 *	 literals have no query identifier, so that the former skips them.
 * The price is that a log tells which statement failed, not with which values.
 *
 * Messages are written in error states: nothing here uses a catalog, and what
 * it writes goes to static memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/execdesc.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"

#include "audit/redact.h"
#include "audit/statement.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/session.h"
#include "base/port.h"
#include "base/settings.h"
#include "guard/guard.h"
#include "policy/relation.h"

#define MAX_TEXT 8192

static emit_log_hook_type prev_emit_log_hook = NULL;
static post_parse_analyze_hook_type prev_post_parse_analyze_hook = NULL;

/* the statement without literals; debug_query_string points to it */
static char statement_text[MAX_TEXT];

/* is this a session of the protected database? */
static bool
applies(void)
{
	static int	home = -1;

	if (!cpii_redact_log || !IsUnderPostmaster)
		return false;
	if (IsParallelWorker())
		return true;			/* another database's loses readability only */
	if (home < 0 && MyProcPort != NULL && MyProcPort->database_name != NULL)
		home = strcmp(MyProcPort->database_name, cpii_database) == 0;
	return home == 1;
}

/* ---- the statement as others see it ---- */

static void
redact_debug_string(void)
{
	if (debug_query_string != NULL && debug_query_string != statement_text)
	{
		(void) cpii_redact(debug_query_string, strlen(debug_query_string),
						   statement_text, sizeof(statement_text));
		debug_query_string = statement_text;
	}
}

/* what others see is this text, and there is nothing to hide in it */
static bool
may_be_seen(const char *source)
{
	size_t		len = strlen(source);

	return MyBEEntry != NULL && pgstat_track_activities &&
		len < (size_t) pgstat_track_activity_query_size &&
		memcmp(MyBEEntry->st_activity_raw, source, len + 1) == 0 &&
		cpii_redact_unneeded(source, len);
}

static void
show_activity(const char *source)
{
	char		text[MAX_TEXT];
	uint64		query_id;

	if (may_be_seen(source))
		return;
	query_id = pgstat_get_my_query_id();
	(void) cpii_redact(source, strlen(source), text, sizeof(text));
	cpii_report_activity(text);
	pgstat_report_query_id(query_id, true);
}

void
cpii_hygiene_plan(QueryDesc *queryDesc)
{
	const char *source = queryDesc->sourceText;
	char	   *copy;

	if (source == NULL || !applies())
		return;
	if (cpii_executor_depth == 0 && !IsParallelWorker())
		show_activity(source);
	if (cpii_redact_unneeded(source, strlen(source)))
		return;
	copy = pstrdup(source);
	cpii_redact_in_place(copy, strlen(copy));
	queryDesc->sourceText = copy;
}

void
cpii_hygiene_run(const QueryDesc *queryDesc)
{
	if (queryDesc->sourceText != NULL && applies())
		show_activity(queryDesc->sourceText);
}

/*
 * Does the query name anything protected, or call code that may?  Such a
 * statement's text is taken out of sight before it is planned.
 */
static bool
is_sensitive(Query *query)
{
	ListCell   *lc;

	if (query->commandType == CMD_UTILITY || query->hasSubLinks ||
		query->cteList != NIL)
		return true;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION)
		{
			/* of a view it is not known yet what it shows */
			if (rte->relkind == RELKIND_VIEW || cpii_relation_flags(rte->relid) != 0)
				return true;
		}
		else if (rte->rtekind != RTE_JOIN && rte->rtekind != RTE_RESULT &&
				 !CPII_IS_GROUP(rte))
			return true;
	}
	return false;
}

static bool
has_literals(const char *text, size_t len)
{
	return memchr(text, '\'', len) != NULL || memchr(text, '$', len) != NULL ||
		strcspn(text, "0123456789") < len;
}

/*
 * A comment with numbers or other than ASCII letters: pg_stat_statements keeps
 * comments as they are.
 */
static bool
has_telling_comment(const char *text, size_t len)
{
	bool		comment = false;
	int			digits = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (i + 1 < len && ((text[i] == '-' && text[i + 1] == '-') ||
							(text[i] == '/' && text[i + 1] == '*')))
			comment = true;
		digits = isdigit((unsigned char) text[i]) ? digits + 1 : 0;
		if (comment && (digits >= 4 || IS_HIGHBIT_SET(text[i])))
			return true;
	}
	return false;
}

/* is there something in the text that pg_stat_statements would not take out? */
static bool
is_telling(ParseState *pstate, Query *query)
{
	const char *text = pstate->p_sourcetext + Max(query->stmt_location, 0);
	size_t		len = query->stmt_len > 0 ? (size_t) query->stmt_len : strlen(text);

	return (query->commandType == CMD_UTILITY && has_literals(text, len)) ||
		has_telling_comment(text, len);
}

static void
cpii_post_parse_analyze(ParseState *pstate, Query *query, JumbleState *jstate)
{
	if (cpii_internal_depth == 0 && cpii_executor_depth == 0 &&
		pstate->p_sourcetext != NULL && applies() && IsTransactionState() &&
		is_sensitive(query))
	{
		if (is_telling(pstate, query))
			query->queryId = UINT64CONST(0);
		show_activity(pstate->p_sourcetext);
	}
	if (prev_post_parse_analyze_hook)
		prev_post_parse_analyze_hook(pstate, query, jstate);
}

/* ---- messages ---- */

/*
 * Where the statement begins in a report of the server: "statement: ...",
 * "execute name: ...", "duration: 1.2 ms  bind name: ..."; NULL when the message
 * is no such report.
 */
static const char *
reported_statement(const ErrorData *edata)
{
	const char *p = edata->message;

	if (!edata->hide_stmt)
		return NULL;
	if (strncmp(p, "duration: ", 10) == 0 && (p = strstr(p, " ms  ")) == NULL)
		return NULL;
	p = strstr(p, ": ");
	return p != NULL ? p + 2 : NULL;
}

static char *
clean_message(const ErrorData *edata, char *buf, size_t size)
{
	const char *raised = "message withheld: its statement may have been shown personal data";
	const char *message = edata->message;
	const char *part;

	if (message == NULL)
		return NULL;
	if (edata->hide_stmt && (part = strstr(message, "  plan:\n")) != NULL)
	{
		strlcpy(buf, message, Min((size_t) (part - message) + 1, size));
		(void) cpii_redact_plan(part, strlen(part), buf + strlen(buf), size - strlen(buf));
	}
	else if ((part = reported_statement(edata)) != NULL)
	{
		strlcpy(buf, message, Min((size_t) (part - message) + 1, size));
		(void) cpii_redact(part, strlen(part), buf + strlen(buf), size - strlen(buf));
	}
	else if (edata->funcname != NULL && strcmp(edata->funcname, "exec_stmt_raise") == 0)
	{
		/* whatever a function says that may have read personal data */
		if (cpii_statement.disclosed == 0 && cpii_statement.nrelations == 0)
			return edata->message;
		strlcpy(buf, raised, size);
	}
	else if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_DATA_EXCEPTION ||
			 edata->sqlerrcode == ERRCODE_SYNTAX_ERROR ||
			 (edata->funcname != NULL && CPII_TELLS_SKIPPED_VALUE(edata->funcname)) ||
			 cpii_statement.disclosed > 0)
		(void) cpii_redact_message(message, strlen(message), buf, size);
	else
		return edata->message;
	return buf;
}

/* "Key (a)=(b) already exists." and "Failing row contains (...)." */
static char *
clean_detail(const char *detail, char *buf, size_t size)
{
	const char *open;

	if (detail == NULL)
		return NULL;
	open = strstr(detail, ")=(");
	open = open != NULL ? open + 2 : strchr(detail, '(');
	if (open != NULL && strrchr(open, ')') != NULL)
	{
		snprintf(buf, size, "%.*s(?%s", (int) Min(open - detail, 1024), detail,
				 strrchr(open, ')'));
		return buf;
	}
	(void) cpii_redact_message(detail, strlen(detail), buf, size);
	return buf;
}

static bool
differs(const char *a, const char *b)
{
	return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

/*
 * Write the log's copy of a message by reporting it once more, to the server
 * log only; the client gets the original afterwards.
 */
static void
emit_log(ErrorData *edata)
{
	static bool inside = false;
	static char message[MAX_TEXT];
	static char detail[MAX_TEXT];
	static char context[MAX_TEXT];
	static char query[MAX_TEXT];
	ErrorData	save;
	bool		changed;

	/* our own statements, too: the context around them is the client's */
	if (inside || !edata->output_to_server || edata->elevel >= FATAL ||
		!applies())
	{
		if (prev_emit_log_hook)
			prev_emit_log_hook(edata);
		return;
	}
	redact_debug_string();
	if (edata->elevel == ERROR && debug_query_string != NULL &&
		cpii_executor_depth == 0 && !IsParallelWorker())
		cpii_report_activity(debug_query_string);

	save = *edata;
	edata->message = clean_message(edata, message, sizeof(message));
	if (edata->detail_log != NULL)
		edata->detail_log = clean_detail(edata->detail_log, detail, sizeof(detail));
	else
		edata->detail = clean_detail(edata->detail, detail, sizeof(detail));
	if (edata->context != NULL)
	{
		(void) cpii_redact_message(edata->context, strlen(edata->context),
								   context, sizeof(context));
		edata->context = context;
	}
	if (edata->internalquery != NULL)
	{
		(void) cpii_redact(edata->internalquery, strlen(edata->internalquery),
						   query, sizeof(query));
		edata->internalquery = query;
	}
	changed = differs(edata->message, save.message) ||
		differs(edata->detail, save.detail) ||
		differs(edata->detail_log, save.detail_log) ||
		differs(edata->context, save.context) ||
		differs(edata->internalquery, save.internalquery);
	if (changed)
	{
		edata->output_to_client = false;
		inside = true;
		EmitErrorReport();
		inside = false;
		edata->output_to_client = save.output_to_client;
		edata->output_to_server = false;
	}
	/* the originals: for the client, and to be freed */
	edata->message = save.message;
	edata->detail = save.detail;
	edata->detail_log = save.detail_log;
	edata->context = save.context;
	edata->internalquery = save.internalquery;
	if (!changed && prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

void
cpii_hygiene_init(void)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = emit_log;
	prev_post_parse_analyze_hook = post_parse_analyze_hook;
	post_parse_analyze_hook = cpii_post_parse_analyze;
}
