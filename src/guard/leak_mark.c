/*-------------------------------------------------------------------------
 *
 * leak_mark.c
 *	  Decoy rows, their fingerprints, and finding the export of a leaked file.
 *
 * A decoy is an invented row that looks like the rows around it.  Of each decoy
 * the register keeps keyed fingerprints only: of every protected field that is
 * rare by itself (not masked, long enough), and of every pair of protected
 * fields.  Whoever reads the register cannot tell which rows are decoys, and a
 * leaked excerpt names its export by whatever columns and order it kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "audit/record.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/internal.h"
#include "base/secret.h"
#include "base/session.h"
#include "crypto/keyring.h"
#include "guard/leak_mark.h"
#include "mask/mask.h"

#define FINGERPRINT_PURPOSE "courier_pii decoy fingerprint 1"
#define MIN_RARE 7				/* characters of a field that is rare by itself */
#define MAX_FIELDS 64

PG_FUNCTION_INFO_V1(cpii_identify_leak);
CPII_EXPORT Datum cpii_identify_leak(PG_FUNCTION_ARGS);

/* ---- inventing ---- */

static unsigned int
random_below(unsigned int n)
{
	unsigned char bytes[4];

	if (!cpii_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not generate random bytes")));
	return (((unsigned int) bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) % n;
}

/*
 * Invent a text of the model's shape: digits become other digits, small and
 * capital letters others of their kind, and Chinese characters common ones of
 * names and streets.  Stars, punctuation and the first three digits stay.
 */
static char *
invent(const char *model)
{
	static const char *const common[] = {
		"林", "雨", "建", "国", "敏", "华", "春", "江", "海", "云",
		"文", "明", "东", "芳", "志", "强", "丽", "平", "安", "和"
	};
	StringInfoData out;
	int			digits = 0;

	initStringInfo(&out);
	for (const char *p = model; *p != '\0';)
	{
		int			len = pg_mblen(p);
		unsigned char c = (unsigned char) *p;

		if (len > 1)
		{
			if (GetDatabaseEncoding() == PG_UTF8 && len == 3)
				appendStringInfoString(&out, common[random_below(lengthof(common))]);
			else
				appendBinaryStringInfo(&out, p, len);
		}
		else if (isdigit(c))
		{
			/* numbers of a kind begin alike */
			appendStringInfoChar(&out, digits++ < 3 ? c : '0' + random_below(10));
		}
		else if (islower(c))
			appendStringInfoChar(&out, 'a' + random_below(26));
		else if (isupper(c))
			appendStringInfoChar(&out, 'A' + random_below(26));
		else
			appendStringInfoChar(&out, c);
		p += len;
	}
	return out.data;
}

char **
cpii_decoy_row(CpiiMarkColumn *columns, int ncolumns, char **model)
{
	char	  **row = palloc(sizeof(char *) * ncolumns);

	for (int i = 0; i < ncolumns; i++)
	{
		if (model[i] == NULL)
			row[i] = NULL;
		else if (columns[i].unique && columns[i].number)
		{
			columns[i].largest += 1 + random_below(9);
			row[i] = psprintf(INT64_FORMAT, columns[i].largest);
		}
		else if (columns[i].class_id != 0 || columns[i].unique)
			row[i] = invent(model[i]);
		else
			row[i] = model[i];
	}
	return row;
}

/* ---- fingerprints ---- */

static CpiiMac *
fingerprint_mac(void)
{
	unsigned char audit[CPII_KEY_LEN];
	unsigned char key[CPII_KEY_LEN];
	CpiiMac    *mac = NULL;

	if (!cpii_keyring_audit_key(audit))
		ereport(ERROR,
				(errcode(CPII_ERRCODE_KEY_UNAVAILABLE),
				 errmsg("no key is available for the marks of exports")));
	if (cpii_hkdf(audit, sizeof(audit),
				  (const unsigned char *) FINGERPRINT_PURPOSE, strlen(FINGERPRINT_PURPOSE),
				  (const unsigned char *) FINGERPRINT_PURPOSE, strlen(FINGERPRINT_PURPOSE), key))
		mac = cpii_mac_new(key, sizeof(key));
	cpii_wipe(audit, sizeof(audit));
	cpii_wipe(key, sizeof(key));
	if (mac == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	return mac;
}

static bool
is_rare(const char *field)
{
	return strchr(field, '*') == NULL &&
		pg_mbstrlen(field) >= MIN_RARE;
}

static void
fingerprint(CpiiMac *mac, const char *a, const char *b, CpiiFingerprint *out)
{
	StringInfoData buf;
	unsigned char full[CPII_MAC_LEN];

	/* a pair is the same in either order: columns may have been moved */
	if (b != NULL && strcmp(a, b) > 0)
	{
		const char *swap = a;

		a = b;
		b = swap;
	}
	initStringInfo(&buf);
	appendStringInfo(&buf, "%zu:%s,%s", strlen(a), a, b ? b : "");
	if (!cpii_mac(mac, (unsigned char *) buf.data, buf.len, full))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("cryptographic operation could not be completed")));
	out->pair = b != NULL;
	memcpy(out->bytes, full, sizeof(out->bytes));
	pfree(buf.data);
}

int
cpii_fingerprints(const char *const *fields, const bool *use, int n,
				  CpiiFingerprint *out)
{
	CpiiMac    *mac = fingerprint_mac();
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		if (fields[i] == NULL || fields[i][0] == '\0' || (use && !use[i]))
			continue;
		if (is_rare(fields[i]) && count < CPII_MAX_FINGERPRINTS)
			fingerprint(mac, fields[i], NULL, &out[count++]);
		for (int j = i + 1; j < n && count < CPII_MAX_FINGERPRINTS; j++)
		{
			if (fields[j] == NULL || fields[j][0] == '\0' || (use && !use[j]) ||
				strcmp(fields[i], CPII_HIDDEN_TEXT) == 0 || strcmp(fields[j], CPII_HIDDEN_TEXT) == 0)
				continue;
			fingerprint(mac, fields[i], fields[j], &out[count++]);
		}
	}
	cpii_mac_free(mac);
	return count;
}

/* ---- finding ---- */

/* split a leaked line at commas, tabs, semicolons and bars; quotes are taken off */
static int
split_line(char *line, const char **fields)
{
	int			n = 0;
	char	   *p = line;

	while (n < MAX_FIELDS)
	{
		char	   *out;

		while (*p == ' ')
			p++;
		fields[n++] = out = p;
		if (*p == '"')
		{
			p++;
			while (*p != '\0')
			{
				if (*p == '"' && *++p != '"')
					break;
				*out++ = *p++;
			}
		}
		while (*p != '\0' && strchr(",\t;|\r\n", *p) == NULL)
			*out++ = *p++;
		if (*p == '\0')
		{
			*out = '\0';
			break;
		}
		p++;
		*out = '\0';
	}
	return n;
}

/*
 * identify_leak(rows): export, ticket, person, exported_at, matched decoys,
 * decoys in all, and whether a rare field was among the matches
 */
Datum
cpii_identify_leak(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum	   *elems;
	bool	   *nulls;
	int			nlines;
	Datum	   *found;
	int			nfound = 0;
	int			room = 1024;
	Oid			types[1] = {BYTEAARRAYOID};
	Datum		args[1];
	StringInfoData detail;

	if (!cpii_session_has_duty("pii_auditor"))
		cpii_require_duty("pii_security_admin");
	InitMaterializedSRF(fcinfo, 0);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT,
					  &elems, &nulls, &nlines);
	found = palloc(sizeof(Datum) * room);
	for (int i = 0; i < nlines; i++)
	{
		const char *fields[MAX_FIELDS];
		CpiiFingerprint prints[CPII_MAX_FINGERPRINTS];
		int			n;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		n = split_line(TextDatumGetCString(elems[i]), fields);
		n = cpii_fingerprints(fields, NULL, n, prints);
		if (nfound + n > room)
		{
			room = (nfound + n) * 2;
			found = repalloc_huge(found, sizeof(Datum) * room);
		}
		for (int p = 0; p < n; p++)
			found[nfound++] = cpii_bytea(prints[p].bytes, sizeof(prints[p].bytes));
	}
	args[0] = PointerGetDatum(construct_array(found, nfound, BYTEAOID, -1, false,
											  TYPALIGN_INT));
	SPI_connect();
	/* an export that was rolled back has its marks in the audit trail only */
	cpii_internal_execute("SELECT h.export_id, pg_catalog.max(h.ticket), pg_catalog.max(h.person),"
						  " pg_catalog.min(h.at), pg_catalog.count(DISTINCT h.decoy),"
						  " pg_catalog.max(h.decoys)::bigint, pg_catalog.bool_or(h.rare)"
						  " FROM (SELECT e.export_id, e.ticket, e.person, e.exported_at AS at,"
						  " d.decoy, e.decoys, NOT d.pair AS rare"
						  " FROM courier_pii.export_decoy d"
						  " JOIN courier_pii.export_register e ON e.export_id = d.export_id"
						  " WHERE d.fingerprint = ANY ($1)"
						  " UNION ALL SELECT a.detail ->> 'export', (a.detail ->> 'ticket')::bigint,"
						  " coalesce(a.staff_no, a.login_role), a.at, (a.detail ->> 'decoy')::integer,"
						  " (a.detail ->> 'decoys')::integer, pg_catalog.left(m.mark, 1) = 'r'"
						  " FROM courier_pii.audit_record a,"
						  " LATERAL pg_catalog.jsonb_array_elements_text(a.detail -> 'marks') m(mark)"
						  " WHERE a.command = 'export_mark' AND a.action = 'EXPORT'"
						  " AND pg_catalog.decode(pg_catalog.substr(m.mark, 3), 'hex') = ANY ($1)) h"
						  " GROUP BY 1 ORDER BY 7 DESC, 5 DESC, 1",
						  1, types, args, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[7];
		bool		isnull[7];

		for (int c = 0; c < 7; c++)
			values[c] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
									  c + 1, &isnull[c]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
	}
	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"lines\": %d, \"exports\": " UINT64_FORMAT "}",
					 nlines, SPI_processed);
	SPI_finish();
	cpii_audit_note(CPII_ACT_SYSTEM, "identify_leak", "ok", detail.data);
	return (Datum) 0;
}
