/*-------------------------------------------------------------------------
 *
 * tap.h
 *	  A tiny printer of the Test Anything Protocol.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_TAP_H
#define CPII_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

extern int	tap_count;
extern int	tap_failures;

#define TAP_PRINTF __attribute__((format(printf, 2, 3)))

/* one result; the text is its name */
static inline bool TAP_PRINTF
tap_ok(bool good, const char *format,...)
{
	va_list		args;

	printf("%s %d - ", good ? "ok" : "not ok", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (!good)
		tap_failures++;
	return good;
}

extern void run_mask_cases(void);
extern void run_normalise_cases(void);
extern void run_properties(void);

#endif							/* CPII_TAP_H */
