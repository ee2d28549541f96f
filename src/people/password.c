/*-------------------------------------------------------------------------
 *
 * password.c
 *	  Which passwords may be set.
 *
 * Rules are applied in check_password_hook, whoever sets the password and by
 * whatever statement.  For roles of people the register is asked too (names,
 * numbers, history, age), so theirs can be changed in the protected database
 * only.  A password that arrives hashed cannot be judged: it is refused, or
 * tried with what anybody would guess first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/port.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/user.h"
#include "executor/spi.h"
#include "libpq/crypt.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "base/settings.h"
#include "base/ticket.h"
#include "people/held.h"
#include "people/password.h"
#include "people/password_rule.h"
#include "people/person.h"
#include "people/roster_table.h"

#define GUESS_TIME (500 * 1000)	/* microseconds for trying guesses */
#define SCRAM_MIN_ITERATIONS 4096
#define MAX_WORDS 4

bool		cpii_password_own_change = false;
static check_password_hook_type prev_check_password_hook = NULL;

/* what is known of the person whose password it is */
typedef struct Subject
{
	CpiiPasswordSubject rule;
	const char *words[MAX_WORDS];
	bytea	   *digests;
	bool		person;
	bool		must_change;
	bool		service;
	TimestampTz set_at;
	char	  **history;		/* verifiers, newest first */
	int			nhistory;
} Subject;

static bool
known_piece(const char *piece, size_t len, void *arg)
{
	return cpii_guess_known((bytea *) arg, piece, len);
}

static bool
in_home_database(void)
{
	return cpii_database != NULL && OidIsValid(MyDatabaseId) &&
		strcmp(get_database_name(MyDatabaseId), cpii_database) == 0 &&
		OidIsValid(cpii_schema_oid(true)) &&
		OidIsValid(cpii_relation_oid("password_history", true));
}

static void
read_register(Oid role, Subject *subject)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	char		role_text[16];
	const char *texts[2];
	bool		isnull;
	Datum		value;

	snprintf(role_text, sizeof(role_text), "%u", role);
	texts[0] = role_text;
	texts[1] = psprintf("%d", cpii_password_history);
	SPI_connect();
	if (cpii_person_run("SELECT s.display_name, s.details ->> 'pinyin', g.digests,"
				 " a.must_change, a.password_set_at, a.kind = 'service'"
				 " FROM courier_pii.account_register a"
				 " JOIN courier_pii.staff_register s ON s.staff_no = a.staff_no"
				 " LEFT JOIN courier_pii.person_guess g ON g.staff_no = a.staff_no"
				 " WHERE a.login_role = $1::pg_catalog.oid", 1, texts) > 0)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		old = MemoryContextSwitchTo(caller);
		subject->words[2] = SPI_getvalue(row, desc, 1);
		subject->words[3] = SPI_getvalue(row, desc, 2);
		value = SPI_getbinval(row, desc, 3, &isnull);
		if (!isnull)
			subject->digests = DatumGetByteaPCopy(value);
		subject->must_change = DatumGetBool(SPI_getbinval(row, desc, 4, &isnull));
		subject->set_at = DatumGetTimestampTz(SPI_getbinval(row, desc, 5, &isnull));
		subject->service = DatumGetBool(SPI_getbinval(row, desc, 6, &isnull));
		MemoryContextSwitchTo(old);
	}
	subject->nhistory = (int) cpii_person_run("SELECT h.verifier FROM courier_pii.password_history h"
									   " WHERE h.login_role = $1::pg_catalog.oid"
									   " ORDER BY h.set_at DESC, h.id DESC LIMIT $2::pg_catalog.int8",
									   2, texts);
	old = MemoryContextSwitchTo(caller);
	subject->history = palloc(Max(subject->nhistory, 1) * sizeof(char *));
	for (int i = 0; i < subject->nhistory; i++)
		subject->history[i] = cpii_result_text(i, 1);
	MemoryContextSwitchTo(old);
	SPI_finish();
}

/* collect what is known; raises where the register is needed and far away */
static void
get_subject(Oid role, const char *role_name, Subject *subject)
{
	RosterFacts facts;

	memset(subject, 0, sizeof(*subject));
	subject->words[0] = role_name;
	if (cpii_roster_person(role, &facts))
	{
		subject->person = true;
		subject->words[1] = pstrdup(facts.staff_no);
		if (!in_home_database())
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("password of role \"%s\" cannot be changed in this database",
							role_name),
					 errhint("Connect to database \"%s\".", cpii_database)));
		read_register(role, subject);
	}
	subject->rule.words = subject->words;
	subject->rule.nwords = MAX_WORDS;
	if (subject->digests != NULL)
	{
		subject->rule.known = known_piece;
		subject->rule.arg = subject->digests;
	}
}

/* ---- the dictionary ---- */

typedef const char *(*FascistCheckFunction) (const char *password,
											 const char *dictionary);

/*
 * cracklib is used where it is installed.  Some versions of it end the process
 * when they cannot open its files, so they are tried before; one whose files
 * are damaged refuses every password, so a refusal counts only where a password
 * that is no word at all is not refused.
 */
static const char *
dictionary_says(const char *password)
{
	static FascistCheckFunction check = NULL;
	static bool tried = false;
	static bool told = false;
	static const char *const endings[] = {"pwd", "pwi", "hwm"};
	static const char *const no_word = "xK7#qP2!vR9~mW4+";
	bool		usable = true;
	const char *why = NULL;

	if (cpii_password_dictionary == NULL || cpii_password_dictionary[0] == '\0')
		return NULL;
	if (!tried)
	{
		void	   *library = dlopen("libcrack.so.2", RTLD_NOW | RTLD_LOCAL);

		tried = true;
		if (library != NULL)
			check = (FascistCheckFunction) dlsym(library, "FascistCheck");
	}
	for (int i = 0; i < lengthof(endings) && usable; i++)
		usable = access(psprintf("%s.%s", cpii_password_dictionary, endings[i]),
						R_OK) == 0;
	usable = usable && check != NULL;
	if (usable)
	{
		why = check(password, cpii_password_dictionary);
		usable = why == NULL || check(no_word, cpii_password_dictionary) == NULL;
	}
	if (usable)
		return why;
	if (!told)
		ereport(NOTICE,
				(errmsg("the password is not looked up in a dictionary"),
				 errdetail("The library cracklib or its dictionary is not installed, or is damaged."),
				 errhint("Install cracklib, or set \"courier_pii.password_dictionary\" to an empty string.")));
	told = true;
	return NULL;
}

/* ---- rules ---- */

void
cpii_password_refuse_weak(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("password is too weak: %s", why),
			 errhint("Use at least %d characters of %d kinds, without names, dates, sequences or words.",
					 cpii_password_min_length, cpii_password_classes)));
}

/* was the password used before?  One slow comparison for each earlier one */
static void
refuse_reused(const Subject *subject, const char *role_name,
			  const char *password)
{
	for (int i = 0; i < subject->nhistory; i++)
	{
		const char *detail = NULL;

		CHECK_FOR_INTERRUPTS();
		if (plain_crypt_verify(role_name, subject->history[i], password,
							   &detail) == STATUS_OK)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("password was used before"),
					 errdetail("The last %d passwords cannot be used again.",
							   cpii_password_history)));
	}
}

/* people may not run through their history in an afternoon */
static void
refuse_too_soon(Oid role, const Subject *subject)
{
	if (!subject->person || subject->must_change || subject->service ||
		subject->nhistory == 0 || cpii_password_min_age == 0 ||
		cpii_session_actor()->login != role)
		return;
	if (GetCurrentTimestamp() < subject->set_at +
		cpii_password_min_age * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg_plural("password was changed less than %d day ago",
							   "password was changed less than %d days ago",
							   cpii_password_min_age, cpii_password_min_age),
				 errhint("Call courier_pii.suspect_leak() when somebody else may know it.")));
}

/* content of a password: what is known of the person, and the dictionary */
static void
refuse_content(Subject *subject, const char *password)
{
	CpiiPasswordRules rules;
	const char *why;
	char	   *utf8;

	rules.min_length = cpii_password_min_length;
	rules.classes = cpii_password_classes;
	rules.max_run = cpii_password_max_run;
	utf8 = pg_server_to_any(password, strlen(password), PG_UTF8);
	for (int i = 0; i < MAX_WORDS; i++)
		if (subject->words[i] != NULL)
			subject->words[i] = pg_server_to_any(subject->words[i],
												 strlen(subject->words[i]), PG_UTF8);
	why = cpii_password_weakness(&rules, &subject->rule, utf8);
	if (why != NULL)
		cpii_password_refuse_weak(why);
	why = dictionary_says(utf8);
	if (why != NULL)
		cpii_password_refuse_weak("it is based on a dictionary word");
}

void
cpii_password_check(Oid role, const char *role_name, const char *password)
{
	Subject		subject;

	get_subject(role, role_name, &subject);
	refuse_too_soon(role, &subject);
	refuse_content(&subject, password);
	refuse_reused(&subject, role_name, password);
}

void
cpii_password_check_half(Oid person, const char *role_name, const char *half)
{
	Subject		subject;
	char	   *name = GetUserNameFromId(person, false);
	char	   *verifier = cpii_held_verifier(person);
	const char *detail = NULL;

	get_subject(person, name, &subject);
	/* two names, of which the register's is the more telling */
	if (subject.words[3] == NULL)
		subject.words[3] = role_name;
	else
		subject.words[0] = role_name;
	refuse_content(&subject, half);
	if (verifier != NULL &&
		plain_crypt_verify(name, verifier, half, &detail) == STATUS_OK)
		cpii_password_refuse_weak("it is your own password");
}

void
cpii_password_check_reuse(Oid role, const char *role_name, const char *password)
{
	Subject		subject;

	memset(&subject, 0, sizeof(subject));
	read_register(role, &subject);
	refuse_reused(&subject, role_name, password);
}

/* ---- passwords that arrive hashed ---- */

/* does the verifier belong to something that anybody would try first? */
static void
refuse_guessed(const Subject *subject, const char *role_name,
			   const char *verifier)
{
	static const char *const tails[] = {
		"", "1", "123", "1234", "12345", "123456", "@123", "!", "2024", "2025",
		"2026", "@2026"
	};
	static const char *const common[] = {
		"password", "Password1", "123456", "12345678", "123456789", "1234567890",
		"admin", "admin123", "qwerty", "111111", "000000", "888888", "666666",
		"abc123", "a123456", "woaini", "5201314", "postgres", "changeme"
	};
	TimestampTz start = GetCurrentTimestamp();
	const char *detail = NULL;

	for (int w = -1; w < MAX_WORDS; w++)
	{
		int			n = w < 0 ? lengthof(common) : 2 * lengthof(tails);

		if (w >= 0 && (subject->words[w] == NULL || subject->words[w][0] == '\0'))
			continue;
		for (int i = 0; i < n; i++)
		{
			char	   *guess = w < 0 ? pstrdup(common[i])
				: psprintf("%s%s", subject->words[w], tails[i % lengthof(tails)]);

			if (w >= 0 && i >= lengthof(tails))
				guess[0] = pg_toupper((unsigned char) guess[0]);
			CHECK_FOR_INTERRUPTS();
			if (GetCurrentTimestamp() > start + GUESS_TIME)
				return;
			if (plain_crypt_verify(role_name, verifier, guess, &detail) == STATUS_OK)
				cpii_password_refuse_weak("it can be guessed");
		}
	}
}

static void
check_verifier(Oid role, const char *role_name, const char *verifier,
			   PasswordType type)
{
	Subject		subject;

	get_subject(role, role_name, &subject);
	refuse_too_soon(role, &subject);
	if (subject.person && cpii_password_prehashed != CPII_PREHASHED_ALLOW)
	{
		int			mode = subject.service ? CPII_PREHASHED_GUESS
			: cpii_password_prehashed;

		if (mode == CPII_PREHASHED_REJECT)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("password of role \"%s\" must not be hashed before it is sent",
							role_name),
					 errdetail("The rules cannot be applied to a hashed password."),
					 errhint("Use courier_pii.change_password() instead of \\password.")));
		if (type != PASSWORD_TYPE_SCRAM_SHA_256 ||
			atoi(strchr(verifier, '$') + 1) < SCRAM_MIN_ITERATIONS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("password of role \"%s\" is hashed too weakly", role_name),
					 errhint("Use SCRAM-SHA-256 with at least %d iterations.",
							 SCRAM_MIN_ITERATIONS)));
		for (int i = 0; i < subject.nhistory; i++)
			if (strcmp(subject.history[i], verifier) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("password was used before")));
	}
	if (cpii_password_prehashed != CPII_PREHASHED_ALLOW)
		refuse_guessed(&subject, role_name, verifier);
}

static void
check_password(const char *username, const char *shadow_pass,
			   PasswordType password_type, Datum validuntil_time,
			   bool validuntil_null)
{
	RosterFacts facts;
	Oid			role;

	if (prev_check_password_hook)
		prev_check_password_hook(username, shadow_pass, password_type,
								 validuntil_time, validuntil_null);
	if (cpii_password_own_change || cpii_roster_table == NULL)
		return;
	role = get_role_oid(username, true);
	/* while setting up, roles of applications come with what they have */
	if (!cpii_duties_sealed() && !cpii_roster_person(role, &facts))
	{
		cpii_password_noted(password_type != PASSWORD_TYPE_PLAINTEXT);
		return;
	}
	if (password_type == PASSWORD_TYPE_PLAINTEXT)
		cpii_password_check(role, username, shadow_pass);
	else
		check_verifier(role, username, shadow_pass, password_type);
	cpii_password_noted(password_type != PASSWORD_TYPE_PLAINTEXT);
}

bool
cpii_password_expired(Oid role)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		expired = false;
	bool		isnull;
	Datum		until;

	if (!HeapTupleIsValid(tup))
		return false;
	until = SysCacheGetAttr(AUTHOID, tup, Anum_pg_authid_rolvaliduntil, &isnull);
	if (!isnull)
		expired = DatumGetTimestampTz(until) < GetCurrentTimestamp();
	ReleaseSysCache(tup);
	return expired;
}

void
cpii_password_init(void)
{
	prev_check_password_hook = check_password_hook;
	check_password_hook = check_password;
}
