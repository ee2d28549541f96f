/*-------------------------------------------------------------------------
 *
 * shown_cache.c
 *	  What this backend has masked before: sealed value to mask.
 *
 * Lists are read again and again, page by page, and opening a value costs four
 * times as much as finding its mask.  Only masks are kept, never clear text.  A
 * mask is found by every byte of the sealed value, so that a value that was
 * damaged or made up is opened, and refused, like any other.  Whether the
 * person may see the mask is decided before, each time.
 *
 * A hash leads to a set of four places; a newer entry takes a free one, or that
 * of an older one by turns.  The hash is a piece of the authentication tag,
 * which is as good as random.  The hashes of all entries stand together and stay
 * in the processor's cache: to learn that a mask is not there costs no look into
 * memory.  The memory is wiped when the process ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdlib.h>

#include "base/compat.h"
#include "base/secret.h"
#include "base/settings.h"
#include "policy/shown_cache.h"
#include "storage/ipc.h"

#define ENTRY_DATA (CPII_SHOWN_ENTRY - 6)

/* places that a hash leads to */
#define SET 4

typedef struct Entry
{
	uint16		value_len;		/* 0: nothing here */
	uint16		mask_len;
	uint16		form;
	char		data[ENTRY_DATA];	/* value, mask */
} Entry;

static Entry *entries = NULL;
static uint32 *hashes = NULL;	/* behind the entries; 0 = free */
static uint32 nentries = 0;
static int	size_known = -1;	/* the setting that the table was made by */

static void
drop_entries(void)
{
	if (entries == NULL)
		return;
	cpii_wipe(entries, (size_t) nentries * (sizeof(Entry) + sizeof(uint32)));
	free(entries);
	entries = NULL;
	hashes = NULL;
	nentries = 0;
}

static void
wipe_at_exit(int code, Datum arg)
{
	drop_entries();
}

/*
 * Memory of the setting's size, from the system: it hands out pages only when
 * they are written, so that a session of a few reads costs a few pages.
 */
static void
make_entries(void)
{
	static bool exit_registered = false;

	drop_entries();
	size_known = cpii_mask_cache;
	if (size_known <= 0)
		return;
	if (!exit_registered)
	{
		before_shmem_exit(wipe_at_exit, (Datum) 0);
		exit_registered = true;
	}
	nentries = (uint32) (cpii_shown_room() / SET * SET);
	entries = calloc(nentries, sizeof(Entry) + sizeof(uint32));
	if (entries == NULL)
		nentries = 0;
	else
		hashes = (uint32 *) (entries + nentries);
}

/* the first place of a value in this form, and its hash; false: it has none */
static inline bool
set_of(const char *bytes, size_t len, CpiiMaskForm form, uint32 *first,
	   uint32 *hash)
{
	if (unlikely(size_known != cpii_mask_cache))
		make_entries();
	if (entries == NULL || len < sizeof(*hash) || len >= ENTRY_DATA)
		return false;
	memcpy(hash, bytes + len - sizeof(*hash), sizeof(*hash));
	*hash += (uint32) form * 0x9E3779B9;
	*hash += *hash == 0;
	*first = (uint32) (((uint64) *hash * (nentries / SET)) >> 32) * SET;
	return true;
}

text *
cpii_shown_find(const bytea *value, CpiiMaskForm form)
{
	const char *bytes = VARDATA_ANY(value);
	size_t		len = VARSIZE_ANY_EXHDR(value);
	uint32		first;
	uint32		hash;

	if (!set_of(bytes, len, form, &first, &hash))
		return NULL;
	for (uint32 i = first; i < first + SET; i++)
	{
		Entry	   *entry = &entries[i];
		text	   *mask;

		if (hashes[i] != hash || entry->value_len != len ||
			entry->form != form || memcmp(entry->data, bytes, len) != 0)
			continue;
		mask = (text *) palloc(VARHDRSZ + entry->mask_len);
		SET_VARSIZE(mask, VARHDRSZ + entry->mask_len);
		memcpy(VARDATA(mask), entry->data + len, entry->mask_len);
		return mask;
	}
	return NULL;
}

void
cpii_shown_keep(const bytea *value, CpiiMaskForm form, const text *mask)
{
	const char *bytes = VARDATA_ANY(value);
	size_t		len = VARSIZE_ANY_EXHDR(value);
	size_t		mask_len = VARSIZE_ANY_EXHDR(mask);
	static uint32 turn = 0;
	uint32		place;
	uint32		first;
	uint32		hash;
	Entry	   *entry;

	if (!set_of(bytes, len, form, &first, &hash) ||
		len + mask_len > ENTRY_DATA)
		return;
	for (place = first; place < first + SET && hashes[place] != 0; place++)
		;
	if (place == first + SET)
		place = first + turn++ % SET;
	entry = &entries[place];
	hashes[place] = hash;
	entry->value_len = (uint16) len;
	entry->mask_len = (uint16) mask_len;
	entry->form = (uint16) form;
	memcpy(entry->data, bytes, len);
	memcpy(entry->data + len, VARDATA_ANY(mask), mask_len);
}
