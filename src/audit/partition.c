/*-------------------------------------------------------------------------
 *
 * partition.c
 *	  Partitions of the audit table, one a month.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "audit/partition.h"
#include "base/compat.h"
#include "base/internal.h"

CPII_EXPORT Datum cpii_audit_make_partitions(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(cpii_audit_make_partitions);

static int
month_of(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "time is out of range");
	return tm.tm_year * 12 + tm.tm_mon - 1;
}

/*
 * Make the partition for a month (months counted from year 0), as a member of
 * the extension: dumps leave it out like the rest of the audit trail.
 */
static void
make_partition(int month_number)
{
	int			year = month_number / 12;
	int			month = month_number % 12 + 1;
	int			next_year = (month_number + 1) / 12;
	int			next_month = (month_number + 1) % 12 + 1;
	char		name[NAMEDATALEN];
	char		sql[512];

	snprintf(name, sizeof(name), "audit_record_%04d_%02d", year, month);
	if (OidIsValid(cpii_relation_oid(name, true)))
		return;
	snprintf(sql, sizeof(sql),
			 "SELECT 1 FROM courier_pii.audit_record_default"
			 " WHERE at OPERATOR(pg_catalog.>=) '%04d-%02d-01 00:00:00+00' AND at OPERATOR(pg_catalog.<) '%04d-%02d-01 00:00:00+00'",
			 year, month, next_year, next_month);
	cpii_internal_execute(sql, 0, NULL, NULL, NULL, true, 1);
	if (SPI_processed > 0)
		return;
	snprintf(sql, sizeof(sql),
			 "CREATE TABLE courier_pii.%s PARTITION OF courier_pii.audit_record"
			 " FOR VALUES FROM ('%04d-%02d-01 00:00:00+00') TO ('%04d-%02d-01 00:00:00+00')",
			 name, year, month, next_year, next_month);
	cpii_internal_execute(sql, 0, NULL, NULL, NULL, false, 0);
	snprintf(sql, sizeof(sql),
			 "COMMENT ON TABLE courier_pii.%s IS 'audit records of %04d-%02d (UTC)'",
			 name, year, month);
	cpii_internal_execute(sql, 0, NULL, NULL, NULL, false, 0);

	/* in the extension's script it is a member from the beginning */
	if (creating_extension)
		return;
	/* since 17 a table's row type is a member with it: the server knows */
	cpii_internal_execute(psprintf("ALTER EXTENSION courier_pii ADD TABLE courier_pii.%s", name),
						  0, NULL, NULL, NULL, false, 0);
}

void
cpii_partition_cover(TimestampTz first, TimestampTz last)
{
	int			newest = month_of(GetCurrentTimestamp()) + 1;
	int			from = Max(month_of(first), newest - 1200);
	int			to = Min(month_of(last), newest);

	for (int month = from; month <= to && month < from + 36; month++)
		make_partition(month);
}

void
cpii_partition_make(void)
{
	int			month_number = month_of(GetCurrentTimestamp());

	SPI_connect();
	make_partition(month_number);
	make_partition(month_number + 1);
	SPI_finish();
}

/* for the extension's script */
Datum
cpii_audit_make_partitions(PG_FUNCTION_ARGS)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to make audit partitions")));
	cpii_partition_make();
	PG_RETURN_VOID();
}
