/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *	  Files in the data directory that hold an array of shared memory.
 *
 * Plain system calls only: a snapshot is also written while the server stops
 * and read before the first process starts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "port/pg_crc32c.h"
#include "storage/fd.h"

#include "base/snapshot.h"

#define SNAPSHOT_MAGIC UINT64CONST(0x50414E5349495043)

typedef struct SnapshotHeader
{
	uint64		magic;
	uint32		version;
	uint32		record_size;
	uint32		count;
	pg_crc32c	crc;			/* of the records */
} SnapshotHeader;

static pg_crc32c
records_crc(const void *records, Size size)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, records, size);
	FIN_CRC32C(crc);
	return crc;
}

static bool
write_all(int fd, const void *data, Size size)
{
	const char *p = data;

	while (size > 0)
	{
		ssize_t		done = write(fd, p, size);

		if (done < 0)
		{
			if (errno == EINTR)
				continue;
			return false;
		}
		p += done;
		size -= (Size) done;
	}
	return true;
}

bool
cpii_file_replace(const char *file, const CpiiFilePart *parts, int nparts)
{
	char		temporary[MAXPGPATH];
	bool		good = true;
	int			fd;

	snprintf(temporary, sizeof(temporary), "%s.tmp", file);
	(void) unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY,
			  S_IRUSR | S_IWUSR);
	if (fd < 0)
		return false;
	for (int i = 0; i < nparts && good; i++)
		good = write_all(fd, parts[i].data, parts[i].size);
	good = good && pg_fsync(fd) == 0;
	if (close(fd) != 0)
		good = false;
	if (!good || rename(temporary, file) != 0)
	{
		int			save_errno = errno;

		(void) unlink(temporary);
		errno = save_errno;
		return false;
	}
	fd = open(".", O_RDONLY | PG_BINARY, 0);
	if (fd < 0)
		return false;
	good = pg_fsync(fd) == 0;
	close(fd);
	return good;
}

bool
cpii_snapshot_write(const char *file, uint32 version, const void *records,
					uint32 record_size, uint32 count)
{
	SnapshotHeader header;
	CpiiFilePart parts[] = {
		{&header, sizeof(header)},
		{records, (Size) record_size * count}
	};

	memset(&header, 0, sizeof(header));
	header.magic = SNAPSHOT_MAGIC;
	header.version = version;
	header.record_size = record_size;
	header.count = count;
	header.crc = records_crc(records, parts[1].size);
	return cpii_file_replace(file, parts, lengthof(parts));
}

static void *
read_records(int fd, uint32 version, uint32 record_size, uint32 *count,
			 const char **problem)
{
	SnapshotHeader header;
	struct stat st;
	void	   *records;
	Size		size;

	*problem = "it cannot be read";
	if (fstat(fd, &st) != 0 ||
		read(fd, &header, sizeof(header)) != sizeof(header))
		return NULL;
	*problem = "it is not a file of this version";
	if (header.magic != SNAPSHOT_MAGIC || header.version != version ||
		header.record_size != record_size)
		return NULL;
	*problem = "its length is wrong";
	size = (Size) header.count * record_size;
	if ((Size) st.st_size != sizeof(header) + size)
		return NULL;
	*problem = "there is not enough memory";
	records = malloc(Max(size, 1));
	if (records == NULL)
		return NULL;
	*problem = "it cannot be read";
	if (read(fd, records, size) == (ssize_t) size)
	{
		*problem = "its checksum is wrong";
		if (records_crc(records, size) == header.crc)
		{
			*problem = NULL;
			*count = header.count;
			return records;
		}
	}
	free(records);
	return NULL;
}

void *
cpii_snapshot_read(const char *file, uint32 version, uint32 record_size,
				   uint32 *count, const char **problem)
{
	int			fd = open(file, O_RDONLY | PG_BINARY, 0);
	void	   *records;

	*count = 0;
	*problem = NULL;
	if (fd < 0)
	{
		if (errno != ENOENT)
			*problem = "it cannot be opened";
		return NULL;
	}
	records = read_records(fd, version, record_size, count, problem);
	close(fd);
	return records;
}
