/*-------------------------------------------------------------------------
 *
 * snapshot.h
 *	  Files in the data directory that hold an array of shared memory, so that
 *	  it survives a restart.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CPII_SNAPSHOT_H
#define CPII_SNAPSHOT_H

/* a piece of a file */
typedef struct CpiiFilePart
{
	const void *data;
	Size		size;
} CpiiFilePart;

/*
 * Make a file of the data directory consist of these parts: written under
 * another name first, then renamed, both flushed.  Raises nothing, takes no
 * lock, allocates nothing; false with errno set when it failed.
 */
extern bool cpii_file_replace(const char *file, const CpiiFilePart *parts,
							  int nparts);

/*
 * Write count records of a size into the file, with cpii_file_replace().
 */
extern bool cpii_snapshot_write(const char *file, uint32 version,
								const void *records, uint32 record_size,
								uint32 count);

/*
 * Read it: the records (malloc'ed) and their number.  Returns NULL when there
 * is no file, with *problem NULL, or when it cannot be used, with *problem
 * telling why.
 */
extern void *cpii_snapshot_read(const char *file, uint32 version,
								uint32 record_size, uint32 *count,
								const char **problem);

#endif							/* CPII_SNAPSHOT_H */
