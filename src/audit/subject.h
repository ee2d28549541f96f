/*-------------------------------------------------------------------------
 *
 * subject.h
 *	  Whose data a statement showed or searched for: a short list of keyed tags
 *	  in its audit record, never the values.
 *
 * A tag is HMAC(token key of the class, a fixed text || normalised value), so
 * whoever asks for a value finds its records, and nobody reads a value from a
 * record or links it to a sealed value without the key.  The list is bounded:
 * what a bulk read showed is told by its relations and classes only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_AUDIT_SUBJECT_H
#define CPII_AUDIT_SUBJECT_H

/* tags in a record, of values shown and of values searched for */
#define CPII_MAX_SUBJECTS 24
/* values of a statement that are looked at, repeated ones included */
#define CPII_MAX_SUBJECT_LOOKS 64

/* characters of a tag: 12 bytes as base64url */
#define CPII_SUBJECT_TAG_LEN 16

typedef struct CpiiSubjects
{
	int			looks;			/* values met */
	int			n;				/* tags kept */
	char		tag[CPII_MAX_SUBJECTS][CPII_SUBJECT_TAG_LEN];
} CpiiSubjects;

typedef struct CpiiSubjectLists
{
	CpiiSubjects shown;
	CpiiSubjects searched;
	int			walk;			/* waybill numbers searched for one after another */
} CpiiSubjectLists;

extern CpiiSubjectLists cpii_subjects;

/* the tag of a value, UTF-8; no terminator.  Raises PI004 without the key */
extern void cpii_subject_tag(int class_id, const char *value, size_t len,
							 char tag[CPII_SUBJECT_TAG_LEN]);

/* false when the list has it already */
extern bool cpii_subject_add(CpiiSubjects *list, int class_id,
							 const char *value, size_t len);

/* a value is shown in clear; usually a comparison */
static inline void
cpii_subject_shown(int class_id, const char *value, size_t len)
{
	if (cpii_subjects.shown.looks++ < CPII_MAX_SUBJECT_LOOKS)
		(void) cpii_subject_add(&cpii_subjects.shown, class_id, value, len);
}

/* put what one list holds into another one */
extern void cpii_subject_merge(CpiiSubjects *list, const CpiiSubjects *more);

extern void cpii_subject_searched(int class_id, const char *value, size_t len);

/*
 * Is the value known as one that the statement has searched for?  False when
 * it searched for more values than are kept.
 */
extern bool cpii_subject_was_searched(int class_id, const char *value, size_t len);

static inline void
cpii_subject_reset(void)
{
	cpii_subjects.shown.looks = cpii_subjects.shown.n = 0;
	cpii_subjects.searched.looks = cpii_subjects.searched.n = 0;
	cpii_subjects.walk = 0;
}

/*
 * The detail of a record with the lists put into it: members "shown",
 * "shown_more" (true: not all are listed), "searched", "searched_more" and
 * "walk".  Static memory, or the given detail itself.
 */
extern const char *cpii_subject_detail(const char *detail);

#endif							/* CPII_AUDIT_SUBJECT_H */
