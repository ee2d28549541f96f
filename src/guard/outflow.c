/*-------------------------------------------------------------------------
 *
 * outflow.c
 *	  Nothing leaves the send buffer before its record is written.
 *
 * A small result stays in the send buffer until the statement has ended and
 * its record is written.  Two things flush the buffer earlier: any message to
 * the client (a notice, a debug message), and the last words of a backend that
 * is told to quit at once because another one crashed.  Before the former a
 * BEGIN record is written; the latter runs in a signal handler, where no
 * record can be written, so there the buffer is not sent at all.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "base/port.h"
#include "libpq/libpq.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"

#include "base/errcodes.h"
#include "guard/guard.h"

static const PQcommMethods *server_methods = NULL;
static PQcommMethods our_methods;

static int
flush_after_record(void)
{
	/* without a record the rows stay where they are */
	if (!cpii_account_recorded() && !cpii_account_begin_noerror())
		return 0;
	return server_methods->flush();
}

static int
flush_if_writable_after_record(void)
{
	if (!cpii_account_recorded() && !cpii_account_begin_noerror())
		return 0;
	return server_methods->flush_if_writable();
}

static void
quit_silently(SIGNAL_ARGS)
{
	if (!cpii_account_recorded())
		whereToSendOutput = DestNone;
	quickdie(postgres_signal_arg);
}

void
cpii_outflow_abandon(void)
{
	static const char fields[] = "SFATAL\0VFATAL\0CPI003\0"
		"Maudit record could not be stored\0"
		"DThe rows of this statement were discarded, and the connection is closed.\0";
	char		message[5 + sizeof(fields)];
	uint32		length = pg_hton32(4 + sizeof(fields));

	if (whereToSendOutput == DestRemote && MyProcPort != NULL)
	{
		message[0] = 'E';
		memcpy(message + 1, &length, 4);
		memcpy(message + 5, fields, sizeof(fields));
		(void) secure_write(MyProcPort, message, sizeof(message));
		whereToSendOutput = DestNone;
	}
	ereport(FATAL,
			(errcode(CPII_ERRCODE_AUDIT_FAILURE),
			 errmsg("audit record could not be stored"),
			 errdetail("The rows of this statement were discarded, and the connection is closed.")));
	pg_unreachable();
}

/* the server has set its own handler by the time of the first statement */
void
cpii_outflow_start_backend(void)
{
	if (IsUnderPostmaster && MyBackendType == B_BACKEND)
		pqsignal(SIGQUIT, quit_silently);
}

void
cpii_outflow_init(void)
{
	server_methods = PqCommMethods;
	our_methods = *PqCommMethods;
	our_methods.flush = flush_after_record;
	our_methods.flush_if_writable = flush_if_writable_after_record;
	PqCommMethods = &our_methods;
}
