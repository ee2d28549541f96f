/*-------------------------------------------------------------------------
 *
 * leak_mark.h
 *	  Decoy rows: what makes a leaked file name its export.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_LEAK_MARK_H
#define CPII_LEAK_MARK_H

#include "crypto/cipher.h"

/* a column of an export */
typedef struct CpiiMarkColumn
{
	int			class_id;		/* 0 = not protected */
	bool		number;			/* holds whole numbers */
	bool		unique;			/* no two rows have the same */
	int64		largest;		/* of a number column */
} CpiiMarkColumn;

/*
 * Texts of a decoy row, made after "model", a real row (NULL = null): protected
 * columns get invented values that look like the model's, unique numbers go on
 * behind the largest, everything else is the model's.
 */
extern char **cpii_decoy_row(CpiiMarkColumn *columns, int ncolumns,
							 char **model);

/*
 * Fingerprints of a row's fields, as they are kept of decoys and looked for in
 * leaked rows: of each field that is rare enough by itself, and of each pair of
 * fields.  protected_only skips other columns (NULL: all fields).  Returns the
 * number; the array has room for CPII_MAX_FINGERPRINTS.
 */
#define CPII_MAX_FINGERPRINTS 256
typedef struct CpiiFingerprint
{
	bool		pair;
	unsigned char bytes[16];
} CpiiFingerprint;

extern int	cpii_fingerprints(const char *const *fields, const bool *use, int n,
							  CpiiFingerprint *out);

#endif							/* CPII_LEAK_MARK_H */
