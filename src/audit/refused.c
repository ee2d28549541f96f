/*-------------------------------------------------------------------------
 *
 * refused.c
 *	  Records of the spool that do not go into the table: who is told.
 *
 * Only the worker calls this, inside the transaction that ingests.  What is
 * recorded goes to the spool at once; a batch that is tried again does not say
 * it again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "lib/stringinfo.h"
#include "utils/json.h"

#include "audit/ingest.h"
#include "audit/record.h"
#include "audit/refused.h"
#include "audit/segment.h"

/* of which nothing more is said */
static uint64 told_segment = 0;
static uint64 told_seq = 0;

/* records of this batch that could not be checked */
static uint64 unprotected_from = 0;
static uint64 unprotected_to = 0;
static uint64 unprotected_life = 0;
static uint64 told_life = 0;
static bool told_any_life = false;

static void
note(const char *command, const char *problem, const CpiiSegment *segment,
	 uint64 from, uint64 to)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"node\": ");
	escape_json(&buf, segment->node);
	appendStringInfo(&buf, ", \"segment\": %llu, \"from\": %llu, \"to\": %llu, \"problem\": \"%s\"}",
					 (unsigned long long) segment->segment, (unsigned long long) from,
					 (unsigned long long) to, problem);
	cpii_audit_note(CPII_ACT_SYSTEM, command, "error", buf.data);
	pfree(buf.data);
}

/* the segment as it is, for whoever has to find out what happened */
static void
keep_segment(uint64 number)
{
	char		path[MAXPGPATH];
	char		kept[MAXPGPATH + 16];

	cpii_segment_path(path, number);
	snprintf(kept, sizeof(kept), "%s.refused", path);
	/* another server's piece has no file here */
	if (link(path, kept) != 0 && errno != EEXIST && errno != ENOENT)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not link file \"%s\" to \"%s\": %m", path, kept)));
}

static void
tell(const CpiiSegment *segment, uint64 from, uint64 to, const char *problem)
{
	if (told_segment == segment->segment && told_seq == from)
		return;
	told_segment = segment->segment;
	told_seq = from;
	ereport(LOG,
			(errmsg("audit records %llu to %llu of server \"%s\" are not taken from the spool: %s",
					(unsigned long long) from, (unsigned long long) to,
					segment->node, problem),
			 errdetail("They are in segment %llu.", (unsigned long long) segment->segment),
			 errhint("Somebody may have changed the files of the audit directory.  See courier_pii.alerts.")));
	keep_segment(segment->segment);
	note(CPII_COMMAND_REFUSED, problem, segment, from, to);
}

static const char *
problem_of(const CpiiSpoolRecord *record)
{
	return record->changed_before ? "changed" :
		record->reordered_before ? "reordered" :
		record->damaged_before ? "damaged" : "missing";
}

void
cpii_refused_look(const CpiiSegment *segment, uint64 last_seq,
				  const CpiiSpoolRecord *record)
{
	if (record->seq != last_seq + 1)
		tell(segment, last_seq + 1, record->seq - 1, problem_of(record));
	else if (record->changed_before || record->reordered_before)
		tell(segment, record->seq, record->seq, "inserted");
	if (record->unprotected)
	{
		if (unprotected_from == 0)
			unprotected_from = record->seq;
		unprotected_to = record->seq;
		unprotected_life = record->life;
	}
}

void
cpii_refused_end(const CpiiSegment *segment)
{
	if (unprotected_from == 0)
		return;
	/* one for each life is enough */
	if (!told_any_life || told_life != unprotected_life)
	{
		ereport(LOG,
				(errmsg("audit records from number %llu on of server \"%s\" cannot be authenticated",
						(unsigned long long) unprotected_from, segment->node),
				 errdetail("The server had no key when they were written, or the key is not available.")));
		note(CPII_COMMAND_UNPROTECTED, "unprotected", segment,
			 unprotected_from, unprotected_to);
	}
	told_any_life = true;
	told_life = unprotected_life;
	unprotected_from = 0;
}

void
cpii_refused_tail(const CpiiSegment *segment, uint64 last_seq,
				  const CpiiSpoolRecord *record)
{
	tell(segment, last_seq + 1, last_seq + 1, problem_of(record));
}
