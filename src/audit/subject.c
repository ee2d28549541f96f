/*-------------------------------------------------------------------------
 *
 * subject.c
 *	  Tags of the values that a statement showed or searched for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "audit/statement.h"
#include "audit/subject.h"
#include "audit/walk.h"
#include "base/base64url.h"
#include "base/classes.h"
#include "base/compat.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "crypto/keyring.h"
#include "sealed/normalise.h"
#include "sealed/seal.h"

#define TAG_BYTES 12
#define SMALL_VALUE 256

CpiiSubjectLists cpii_subjects;

CPII_EXPORT Datum cpii_audit_subject(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_subject);

void
cpii_subject_tag(int class_id, const char *value, size_t len,
				 char tag[CPII_SUBJECT_TAG_LEN])
{
	CpiiMac    *key = cpii_keyring_mac(class_id, CPII_MAC_SUBJECT, 0);
	unsigned char mac[CPII_MAC_LEN];
	char		encoded[CPII_BASE64URL_BOUND(TAG_BYTES)];
	char		small[SMALL_VALUE];
	size_t		bound = CPII_NORMALISE_BOUND(len);
	char	   *text = bound <= SMALL_VALUE ? small : palloc(bound);
	size_t		used;
	bool		ok;

	used = cpii_normalise(class_id, value, len, text);
	ok = cpii_mac(key, (unsigned char *) text, used, mac);
	cpii_wipe(text, used);
	if (text != small)
		pfree(text);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	cpii_base64url_encode(mac, TAG_BYTES, encoded);
	memcpy(tag, encoded, CPII_SUBJECT_TAG_LEN);
}

static bool
is_listed(const CpiiSubjects *list, const char tag[CPII_SUBJECT_TAG_LEN])
{
	for (int i = 0; i < list->n; i++)
		if (memcmp(list->tag[i], tag, CPII_SUBJECT_TAG_LEN) == 0)
			return true;
	return false;
}

bool
cpii_subject_add(CpiiSubjects *list, int class_id, const char *value, size_t len)
{
	char		tag[CPII_SUBJECT_TAG_LEN];

	/* nothing tells one empty value from another */
	if (len == 0 || cpii_internal_depth > 0)
		return true;
	/* one more look than there is room for: the list is not complete */
	if (list->n == CPII_MAX_SUBJECTS)
	{
		list->looks = CPII_MAX_SUBJECT_LOOKS + 1;
		return true;
	}
	cpii_subject_tag(class_id, value, len, tag);
	if (is_listed(list, tag))
		return false;
	memcpy(list->tag[list->n++], tag, sizeof(tag));
	return true;
}

void
cpii_subject_merge(CpiiSubjects *list, const CpiiSubjects *more)
{
	for (int i = 0; i < more->n; i++)
	{
		if (is_listed(list, more->tag[i]))
			continue;
		if (list->n == CPII_MAX_SUBJECTS)
		{
			list->looks = CPII_MAX_SUBJECT_LOOKS + 1;
			break;
		}
		list->looks++;
		memcpy(list->tag[list->n++], more->tag[i], CPII_SUBJECT_TAG_LEN);
	}
}

bool
cpii_subject_was_searched(int class_id, const char *value, size_t len)
{
	char		tag[CPII_SUBJECT_TAG_LEN];

	if (cpii_subjects.searched.n == 0 || len == 0)
		return false;
	cpii_subject_tag(class_id, value, len, tag);
	return is_listed(&cpii_subjects.searched, tag);
}

void
cpii_subject_searched(int class_id, const char *value, size_t len)
{
	if (cpii_subjects.searched.looks++ < CPII_MAX_SUBJECT_LOOKS)
		(void) cpii_subject_add(&cpii_subjects.searched, class_id, value, len);
	if (class_id == CPII_CLASS_WAYBILL_NO)
		cpii_subjects.walk = Max(cpii_subjects.walk, cpii_walk_step(value, len));
}

static char *
append(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	return to + len;
}

#define APPEND(to, literal) append(to, literal, sizeof(literal) - 1)

/* "name": ["tag", ...], and "name_more": true behind it when the list is not complete */
static char *
append_list(char *to, const char *name, const CpiiSubjects *list)
{
	size_t		namelen = strlen(name);

	if (list->looks == 0)
		return to;
	if (to[-1] != '{')
		to = APPEND(to, ", ");
	to = APPEND(to, "\"");
	to = append(to, name, namelen);
	to = APPEND(to, "\": [");
	for (int i = 0; i < list->n; i++)
	{
		to = i == 0 ? APPEND(to, "\"") : APPEND(to, ", \"");
		to = append(to, list->tag[i], CPII_SUBJECT_TAG_LEN);
		to = APPEND(to, "\"");
	}
	to = APPEND(to, "]");
	if (list->looks > CPII_MAX_SUBJECT_LOOKS)
	{
		to = APPEND(to, ", \"");
		to = append(to, name, namelen);
		to = APPEND(to, "_more\": true");
	}
	return to;
}

const char *
cpii_subject_detail(const char *detail)
{
	static char buf[4096];
	char	   *to = buf;

	if ((cpii_subjects.shown.looks | cpii_subjects.searched.looks) == 0)
		return detail;
	*to++ = '{';
	to = append_list(to, "shown", &cpii_subjects.shown);
	to = append_list(to, "searched", &cpii_subjects.searched);
	if (cpii_subjects.walk > 1)
		to += sprintf(to, ", \"walk\": %d", cpii_subjects.walk);
	/* details of statements are objects of ours, and short */
	if (detail != NULL && detail[0] == '{' && detail[1] != '}')
	{
		size_t		rest = strlen(detail + 1);

		if (rest < sizeof(buf) - (to - buf) - 4)
		{
			to = APPEND(to, ", ");
			memcpy(to, detail + 1, rest + 1);
			return buf;
		}
	}
	strcpy(to, "}");
	return buf;
}

/* audit_subject(class text, value text): the tag of a value, for who_saw() */
Datum
cpii_audit_subject(PG_FUNCTION_ARGS)
{
	int			class_id;
	text	   *value = PG_GETARG_TEXT_PP(1);
	char		tag[CPII_SUBJECT_TAG_LEN];
	size_t		len;
	char	   *utf8;

	if (cpii_planning_depth > 0)
		PG_RETURN_NULL();
	cpii_require_preload();
	if (!cpii_session_has_duty("pii_auditor"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to look for persons in the audit trail"),
				 errdetail("Only members of \"pii_auditor\" read the audit trail.")));
	class_id = cpii_class_by_name_or_error(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (!cpii_class_is_sealed(class_id))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("values of class \"%s\" are not recorded",
						cpii_class_name(class_id))));
	/* asking for a person is a search like any other */
	cpii_statement_probe(class_id);
	utf8 = cpii_to_utf8(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &len);
	cpii_subject_searched(class_id, utf8, len);
	cpii_subject_tag(class_id, utf8, len, tag);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(tag, sizeof(tag)));
}
