/*-------------------------------------------------------------------------
 *
 * condition.c
 *	  The small language of row rules.  Pure.
 *
 *-------------------------------------------------------------------------
 */
#include "policy/condition.h"

#include <stddef.h>
#include <string.h>

typedef struct Reader
{
	const char *p;
	const char *problem;
} Reader;

static bool
fail(Reader *r, const char *problem)
{
	if (r->problem == NULL)
		r->problem = problem;
	return false;
}

static void
skip_blanks(Reader *r)
{
	while (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')
		r->p++;
}

static bool
is_name_start(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		c >= 0x80;
}

static bool
is_name_part(unsigned char c)
{
	return is_name_start(c) || (c >= '0' && c <= '9') || c == '$';
}

/* an identifier; *quoted tells whether it stood in double quotes */
static bool
read_name(Reader *r, char *out, bool *quoted)
{
	size_t		n = 0;

	skip_blanks(r);
	*quoted = (*r->p == '"');
	if (*quoted)
	{
		r->p++;
		for (;;)
		{
			if (*r->p == '\0')
				return fail(r, "a closing double quote is missing");
			if (*r->p == '"')
			{
				if (r->p[1] != '"')
					break;
				r->p++;
			}
			if (n + 1 >= CPII_CONDITION_NAME_LEN)
				return fail(r, "a name is too long");
			out[n++] = *r->p++;
		}
		r->p++;
		if (n == 0)
			return fail(r, "a name is empty");
	}
	else
	{
		if (!is_name_start((unsigned char) *r->p))
			return fail(r, "a name was expected");
		while (is_name_part((unsigned char) *r->p))
		{
			char		c = *r->p++;

			if (n + 1 >= CPII_CONDITION_NAME_LEN)
				return fail(r, "a name is too long");
			out[n++] = (c >= 'A' && c <= 'Z') ? (char) (c - 'A' + 'a') : c;
		}
	}
	out[n] = '\0';
	return true;
}

/* take the word if it comes next */
static bool
accept_word(Reader *r, const char *word)
{
	Reader		save = *r;
	char		name[CPII_CONDITION_NAME_LEN];
	bool		quoted;

	if (read_name(r, name, &quoted) && !quoted && strcmp(name, word) == 0)
		return true;
	*r = save;
	return false;
}

static bool
accept_char(Reader *r, char c)
{
	skip_blanks(r);
	if (*r->p != c)
		return false;
	r->p++;
	return true;
}

static bool
read_constant(Reader *r, CpiiValue *value)
{
	size_t		n = 0;

	for (;;)
	{
		if (*r->p == '\0')
			return fail(r, "a closing quote is missing");
		if (*r->p == '\'')
		{
			if (r->p[1] != '\'')
				break;
			r->p++;
		}
		if (n + 1 >= CPII_CONDITION_CONST_LEN)
			return fail(r, "a constant is too long");
		value->text[n++] = *r->p++;
	}
	r->p++;
	value->text[n] = '\0';
	value->kind = CPII_VALUE_CONST;
	return true;
}

static bool
read_value(Reader *r, CpiiValue *value)
{
	static const struct
	{
		const char *name;
		CpiiValueKind kind;
	}			facts[] =
	{
		{"staff_no", CPII_VALUE_STAFF_NO},
		{"login", CPII_VALUE_LOGIN},
		{"org", CPII_VALUE_ORG},
		{"client", CPII_VALUE_CLIENT},
	};
	char		name[CPII_CONDITION_NAME_LEN];
	bool		quoted;

	value->text[0] = '\0';
	if (accept_char(r, '\''))
		return read_constant(r, value);
	if (accept_word(r, "today"))
	{
		value->kind = CPII_VALUE_TODAY;
		return true;
	}
	if (!accept_word(r, "actor") || !accept_char(r, '.') ||
		!read_name(r, name, &quoted) || quoted)
		return fail(r, "a value is actor.staff_no, actor.login, actor.org, actor.client, today, or a quoted constant");
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
	{
		if (strcmp(name, facts[i].name) == 0)
		{
			value->kind = facts[i].kind;
			return true;
		}
	}
	return fail(r, "a value is actor.staff_no, actor.login, actor.org, actor.client, today, or a quoted constant");
}

/* the rest of a test whose column was read */
static bool
read_test(Reader *r, const char *column, CpiiTest *test)
{
	memcpy(test->column, column, CPII_CONDITION_NAME_LEN);
	if (accept_char(r, '='))
		test->kind = CPII_TEST_EQUAL;
	else if (accept_word(r, "within"))
		test->kind = CPII_TEST_WITHIN;
	else
		return fail(r, "\"=\", \"within\" or \"in\" was expected after the column");
	return read_value(r, &test->value);
}

static bool
read_in(Reader *r, CpiiCondition *c)
{
	bool		quoted;

	c->is_in = true;
	c->schema[0] = '\0';
	if (!read_name(r, c->table, &quoted) || !accept_char(r, '.') ||
		!read_name(r, c->table_column, &quoted))
		return fail(r, "\"in\" takes <table>.<column> or <schema>.<table>.<column>");
	if (accept_char(r, '.'))
	{
		memcpy(c->schema, c->table, CPII_CONDITION_NAME_LEN);
		memcpy(c->table, c->table_column, CPII_CONDITION_NAME_LEN);
		if (!read_name(r, c->table_column, &quoted))
			return false;
	}
	if (!accept_word(r, "where"))
		return fail(r, "\"where\" was expected");
	for (;;)
	{
		char		column[CPII_CONDITION_NAME_LEN];

		if (c->ntests >= CPII_CONDITION_MAX_TESTS)
			return fail(r, "too many tests after \"where\"");
		if (!read_name(r, column, &quoted) ||
			!read_test(r, column, &c->tests[c->ntests]))
			return false;
		c->ntests++;
		if (!accept_word(r, "and"))
			return true;
	}
}

bool
cpii_condition_parse(const char *text, CpiiCondition *condition,
					 const char **problem)
{
	Reader		r = {text, NULL};
	bool		quoted;
	bool		ok;

	memset(condition, 0, sizeof(*condition));
	ok = read_name(&r, condition->column, &quoted);
	if (ok)
	{
		if (accept_word(&r, "in"))
			ok = read_in(&r, condition);
		else
		{
			ok = read_test(&r, condition->column, &condition->tests[0]);
			condition->ntests = 1;
		}
	}
	if (ok)
	{
		skip_blanks(&r);
		if (*r.p != '\0')
			ok = fail(&r, "nothing more was expected");
	}
	*problem = r.problem;
	return ok;
}

/* ---- the way back ---- */

/* a name, in double quotes unless it reads as itself */
static char *
print_name(char *p, const char *name)
{
	bool		plain = name[0] >= 'a' && name[0] <= 'z';

	for (const char *c = name; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_'))
			plain = false;
	/* words of the language */
	if (strcmp(name, "in") == 0 || strcmp(name, "where") == 0 ||
		strcmp(name, "and") == 0 || strcmp(name, "within") == 0)
		plain = false;
	if (!plain)
		*p++ = '"';
	for (const char *c = name; *c; c++)
	{
		if (*c == '"')
			*p++ = '"';
		*p++ = *c;
	}
	if (!plain)
		*p++ = '"';
	*p = '\0';
	return p;
}

static char *
print_text(char *p, const char *text)
{
	size_t		len = strlen(text);

	memcpy(p, text, len + 1);
	return p + len;
}

static char *
print_value(char *p, const CpiiValue *value)
{
	static const char *const words[] = {
		"actor.staff_no", "actor.login", "actor.org", "actor.client", "today"
	};

	if (value->kind != CPII_VALUE_CONST)
		return print_text(p, words[value->kind]);
	*p++ = '\'';
	for (const char *c = value->text; *c; c++)
	{
		if (*c == '\'')
			*p++ = '\'';
		*p++ = *c;
	}
	*p++ = '\'';
	*p = '\0';
	return p;
}

static char *
print_test(char *p, const CpiiTest *test)
{
	p = print_name(p, test->column);
	p = print_text(p, test->kind == CPII_TEST_WITHIN ? " within " : " = ");
	return print_value(p, &test->value);
}

void
cpii_condition_print(const CpiiCondition *condition,
					 char out[CPII_CONDITION_TEXT_LEN])
{
	char	   *p = out;

	if (!condition->is_in)
	{
		(void) print_test(p, &condition->tests[0]);
		return;
	}
	p = print_name(p, condition->column);
	p = print_text(p, " in ");
	if (condition->schema[0] != '\0')
	{
		p = print_name(p, condition->schema);
		*p++ = '.';
	}
	p = print_name(p, condition->table);
	*p++ = '.';
	p = print_name(p, condition->table_column);
	for (int i = 0; i < condition->ntests; i++)
	{
		p = print_text(p, i == 0 ? " where " : " and ");
		p = print_test(p, &condition->tests[i]);
	}
}
