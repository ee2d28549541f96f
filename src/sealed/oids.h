/*-------------------------------------------------------------------------
 *
 * oids.h
 *	  Objects of the extension that planning needs, looked up once.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_OIDS_H
#define CPII_OIDS_H

#define CPII_MAX_QUIET 24

/* objects of the extension that planning needs; all invalid without it */
typedef struct CpiiOids
{
	Oid			sealed;			/* base type */
	Oid			sealed_array;
	Oid			eq_operator;	/* sealed = sealed */
	Oid			eq_function;
	Oid			ne_operator;	/* sealed <> sealed */
	Oid			eq_text_operator;	/* sealed = text */
	Oid			ne_text_operator;	/* sealed <> text */
	Oid			search_key_sealed;	/* search_key(sealed, int4) */
	Oid			search_key_text;	/* search_key(text, int4, bool) */
	Oid			search_keys_sealed; /* search_keys(sealed[], int4) */
	Oid			search_keys_text;	/* search_keys(text[], int4, bool) */
	Oid			show;			/* show(sealed) */
	Oid			show_column;	/* show_column(sealed, regclass, int2, bool) */
	Oid			tail4;			/* tail4(sealed) */
	Oid			tail4_text;		/* tail4(text), of a masked view's column */
	Oid			tail4_of;
	Oid			search_tag;		/* search_tag(sealed) */
	Oid			search_tags;	/* search_tags(sealed[]) */
	Oid			acts_as;		/* acts_as(name) */

	/* functions that plans over masked views call and that send nothing to the
	 * client by themselves */
	int			nquiet;
	uint32		quiet[CPII_MAX_QUIET];	/* as plans name them: hash values */
} CpiiOids;

/* NULL when the extension is not in this database */
extern const CpiiOids *cpii_oids(void);

#endif							/* CPII_OIDS_H */
