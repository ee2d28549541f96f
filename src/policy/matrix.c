/*-------------------------------------------------------------------------
 *
 * matrix.c
 *	  The disclosure levels and how several of them combine.  Pure.
 *
 *-------------------------------------------------------------------------
 */
#include "policy/matrix.h"

#include <stddef.h>
#include <string.h>

static const char *const level_names[CPII_NLEVELS] = {
	"hidden", "token", "masked", "label", "scoped", "clear"
};

const char *
cpii_level_name(CpiiLevel level)
{
	return level_names[level];
}

bool
cpii_level_by_name(const char *name, CpiiLevel *level)
{
	for (int i = 0; i < CPII_NLEVELS; i++)
	{
		if (strcmp(level_names[i], name) == 0)
		{
			*level = (CpiiLevel) i;
			return true;
		}
	}
	return false;
}

void
cpii_matrix_add(CpiiGranted *granted, CpiiLevel level, bool searchable)
{
	if (!granted->any || level > granted->widest)
		granted->widest = level;
	granted->any = true;
	if (level == CPII_LEVEL_HIDDEN)
		granted->hidden = true;
	if (searchable || level == CPII_LEVEL_CLEAR)
		granted->searchable = true;
}

CpiiGranted
cpii_matrix_join(CpiiGranted a, CpiiGranted b)
{
	if (!a.any)
		return b;
	if (!b.any)
		return a;
	if (b.widest > a.widest)
		a.widest = b.widest;
	a.hidden |= b.hidden;
	a.searchable |= b.searchable;
	return a;
}

CpiiLevel
cpii_matrix_decide(CpiiGranted granted, bool default_hidden, bool *searchable)
{
	*searchable = granted.any && granted.searchable;
	if (granted.hidden)
		return CPII_LEVEL_HIDDEN;
	if (granted.any)
		return granted.widest;
	return default_hidden ? CPII_LEVEL_HIDDEN : CPII_LEVEL_MASKED;
}

CpiiLevel
cpii_matrix_shown(CpiiLevel level, bool in_scope, bool no_clear)
{
	if (level == CPII_LEVEL_SCOPED)
		level = in_scope ? CPII_LEVEL_CLEAR : CPII_LEVEL_MASKED;
	if (level == CPII_LEVEL_CLEAR && no_clear)
		level = CPII_LEVEL_MASKED;
	return level;
}
