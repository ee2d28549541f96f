/*-------------------------------------------------------------------------
 *
 * redact.h
 *	  Removes literals and comments from a statement's text.  Pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_REDACT_H
#define CPII_AUDIT_REDACT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Write a copy of sql (len bytes) to out, with every string, bit, dollar-quoted
 * and numeric literal replaced by "?" and comments by one space; identifiers
 * (quoted ones too) and parameters ($1) stay.  At most outcap - 1 bytes and a
 * terminator are written, cut at a UTF-8 character boundary; an unterminated
 * literal swallows the rest, and so does a literal whose end depends on
 * standard_conforming_strings.  Returns the length written.
 */
extern size_t cpii_redact(const char *sql, size_t len, char *out, size_t outcap);

/* is there nothing to take out?  Texts that were asked for lately cost little. */
extern bool cpii_redact_unneeded(const char *sql, size_t len);

/*
 * The same without changing the length: literals in plain quotes become stars
 * between them, other literals zeros, comments blanks.  Positions in the text stay what they were.
 */
extern void cpii_redact_in_place(char *sql, size_t len);

/*
 * A copy of a plan as EXPLAIN prints it, in any format: on lines that are not a
 * node's cost, what stands between the first and the last single quote goes,
 * and so do numbers of four digits and more.  Returns the length written.
 */
extern size_t cpii_redact_plan(const char *text, size_t len, char *out,
							   size_t outcap);

/*
 * A copy of a message's text without what stands in quotes (from the first to
 * the last quotation mark of a kind) and without numbers of four digits and
 * more: values that a statement failed on.  Returns the length written.
 */
extern size_t cpii_redact_message(const char *text, size_t len, char *out,
								  size_t outcap);

#endif							/* CPII_AUDIT_REDACT_H */
