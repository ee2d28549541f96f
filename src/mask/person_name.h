/*-------------------------------------------------------------------------
 *
 * person_name.h
 *	  The mask of a name that is a part of a text.  Private to src/mask.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_PERSON_NAME_H
#define CPII_PERSON_NAME_H

#include "mask/mask.h"
#include "mask/text.h"

/*
 * Write the mask of the name in [from, end).  When it is no name: false, and
 * nothing is written.
 */
extern bool cpii_person_name_span(const CpiiText *text, int from, int end,
								  CpiiMaskForm form, CpiiSink *sink);

/* is [from, end) the mask of a name, so that masking it again changes nothing? */
extern bool cpii_person_name_is_masked(const CpiiText *text, int from, int end,
									   CpiiMaskForm form);

#endif							/* CPII_PERSON_NAME_H */
