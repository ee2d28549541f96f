/*-------------------------------------------------------------------------
 *
 * classes.h
 *	  The built-in data classes: stable numbers, names and properties.
 *
 * A class number is written into every sealed value and into the type
 * modifier of every sealed column, so numbers are never reused or changed.
 * The table is constant data and may be used by pure code.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_CLASSES_H
#define CPII_CLASSES_H

#include <stdbool.h>
#include <stdint.h>

typedef enum CpiiClass
{
	CPII_CLASS_NONE = 0,
	CPII_CLASS_PERSON_NAME = 1,
	CPII_CLASS_PHONE = 2,
	CPII_CLASS_ADDRESS = 3,
	CPII_CLASS_ID_NUMBER = 4,
	CPII_CLASS_UNIT_NAME = 5,
	CPII_CLASS_WAYBILL_NO = 6,
	CPII_CLASS_ITEM = 7,
	CPII_CLASS_NOTE = 8,
	CPII_CLASS_EMAIL = 9,
	CPII_CLASS_ACCOUNT_NO = 10,
	/* not sealed: native columns that masked views coarsen */
	CPII_CLASS_TIME = 11,
	CPII_CLASS_REGION = 12
} CpiiClass;

#define CPII_CLASS_FIRST 1
#define CPII_CLASS_LAST_SEALED 10
#define CPII_CLASS_LAST 12
/* class numbers below this one are ours, the rest a company's own */
#define CPII_CLASS_FIRST_CUSTOM 1000

#define CPII_CLASS_LAST_CUSTOM 65535

#define cpii_class_is_builtin(id) \
	((id) >= CPII_CLASS_FIRST && (id) <= CPII_CLASS_LAST)
#define cpii_class_is_custom(id) \
	((id) >= CPII_CLASS_FIRST_CUSTOM && (id) <= CPII_CLASS_LAST_CUSTOM)
/* is there a column type for it? */
#define cpii_class_is_sealed(id) \
	(cpii_class_is_custom(id) || \
	 ((id) >= CPII_CLASS_FIRST && (id) <= CPII_CLASS_LAST_SEALED))
/*
 * Do its values carry a search tag?  Of a company's own classes the odd numbers
 * do, so that values can be made and compared before the register of classes
 * is restored.
 */
#define cpii_class_is_searchable(id) \
	(cpii_class_is_custom(id) ? ((id) & 1) != 0 : \
	 cpii_class_is_builtin(id) && cpii_class_table[id].searchable)

/* a class in a set: bit n = class n, bit 0 = a company's own, all together */
static inline uint32_t
cpii_class_bit(int class_id)
{
	return cpii_class_is_builtin(class_id) ? ((uint32_t) 1) << class_id : 1;
}

typedef struct CpiiClassInfo
{
	const char *name;			/* SQL name of class and domain */
	bool		searchable;		/* values carry a search tag */
	bool		tail;			/* values carry a tag of the last 4 characters */
	bool		default_hidden; /* level without any entry: hidden, else masked */
} CpiiClassInfo;

/* indexed by class number; entry 0 is unused */
static const CpiiClassInfo cpii_class_table[CPII_CLASS_LAST + 1] = {
	{"", false, false, true},
	{"person_name", true, false, false},
	{"phone", true, true, false},
	{"address", false, false, false},
	{"id_number", true, false, true},
	{"unit_name", true, false, false},
	{"waybill_no", true, true, false},
	{"item", false, false, false},
	{"note", false, false, false},
	{"email", true, false, false},
	{"account_no", true, false, false},
	{"time", false, false, false},
	{"region", false, false, false},
};

#endif							/* CPII_CLASSES_H */
