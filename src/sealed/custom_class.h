/*-------------------------------------------------------------------------
 *
 * custom_class.h
 *	  A company's own data classes: rows of courier_pii.custom_class.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CUSTOM_CLASS_H
#define CPII_CUSTOM_CLASS_H

#include "mask/mask.h"

typedef struct CpiiCustomClass
{
	int			class_id;
	char		name[NAMEDATALEN];
	CpiiMaskProfile mask;
} CpiiCustomClass;

/*
 * The class, or NULL when it is not registered (not restored yet).  Valid until
 * the next call of this room.  Reads the register without the caller's rights.
 */
extern const CpiiCustomClass *cpii_custom_class(int class_id);
extern const CpiiCustomClass *cpii_custom_class_by_name(const char *name);

/* all classes, by number; the array belongs to the cache */
extern const CpiiCustomClass *cpii_custom_classes(int *count);

/* make every backend read the register again at commit */
extern void cpii_custom_class_changed(void);

/* cpii_looks_masked for any class, by the mask of a company's own */
extern bool cpii_value_looks_masked(int class_id, const char *utf8, size_t len);

#endif							/* CPII_CUSTOM_CLASS_H */
