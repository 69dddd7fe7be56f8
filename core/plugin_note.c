/*
 * plugin_note.c - the ELF note of a plugin, read from its file before any of it is mapped.
 *
 * A file that ends before its segments do is refused here: dlopen would map it all the same, and the
 * agent would die by SIGBUS.
 *
 * Only what lies between the ELF header and the note is looked at: program headers of type PT_NOTE,
 * 64 of them at most and 64 KiB each, so that a stripped object works and a crafted one costs
 * little. Both classes by one table of offsets; the byte order must be this machine's.
 */
#include "plugin.h"
#include "lib/util.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADERS_MAX 64
#define NOTES_MAX   65536

struct field {
	uint8_t at, width;
};

static const struct layout {
	size_t ehdr_len, phdr_len;
	struct field phoff, phentsize, phnum;           /* of Ehdr */
	struct field type, offset, filesz, align;       /* of Phdr */
} layouts[] = {
#define AT(type, member) {offsetof(type, member), sizeof(((type *)0)->member)}
#define LAYOUT(n)                                                                                  \
	{sizeof(Elf##n##_Ehdr), sizeof(Elf##n##_Phdr), AT(Elf##n##_Ehdr, e_phoff),                 \
	 AT(Elf##n##_Ehdr, e_phentsize), AT(Elf##n##_Ehdr, e_phnum), AT(Elf##n##_Phdr, p_type),    \
	 AT(Elf##n##_Phdr, p_offset), AT(Elf##n##_Phdr, p_filesz), AT(Elf##n##_Phdr, p_align)}
	[ELFCLASS32] = LAYOUT(32),
	[ELFCLASS64] = LAYOUT(64),
};

static uint64_t get(const uint8_t *record, struct field field)
{
	uint64_t u64;
	uint32_t u32;
	uint16_t u16;

	switch (field.width) {
	case 8:
		memcpy(&u64, record + field.at, 8);
		return u64;
	case 4:
		memcpy(&u32, record + field.at, 4);
		return u32;
	default:
		memcpy(&u16, record + field.at, 2);
		return u16;
	}
}

static bool read_at(int fd, void *out, size_t len, uint64_t at)
{
	return at <= INT64_MAX && pread(fd, out, len, (off_t)at) == (ssize_t)len;
}

static size_t align_up(size_t value, size_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/* Walks the notes of one segment. */
static bool find_note(const uint8_t *data, size_t len, size_t align, struct plugin_note *out)
{
	struct wgm_note note;
	size_t at = 0, desc, end;

	while (len - at >= 12) {
		memcpy(&note, data + at, 12);
		if (note.name_len > len || note.desc_len > len)
			return false;
		desc = align_up(at + 12 + note.name_len, align);
		end = desc + note.desc_len;
		if (end > len)
			return false;
		if (note.type == WGM_NOTE_TYPE && note.name_len == sizeof(note.name) &&
		    note.desc_len >= 12 && !memcmp(data + at + 12, "wg-mesh", 8)) {
			memcpy(&note.major, data + desc, 12);
			*out = (struct plugin_note){note.major, note.minor, note.kind, note.plugin_size};
			return true;
		}
		at = align_up(end, align);
		if (at > len)
			return false;
	}
	return false;
}

static int read_segment(int fd, const struct layout *l, const uint8_t *phdr, struct plugin_note *out)
{
	uint64_t len = get(phdr, l->filesz);
	uint8_t *data;
	bool found;

	if (get(phdr, l->type) != PT_NOTE)
		return -ENODATA;
	if (len > NOTES_MAX)
		return -ENOEXEC;
	data = xmalloc((size_t)len + 1);
	found = read_at(fd, data, (size_t)len, get(phdr, l->offset)) &&
		find_note(data, (size_t)len, get(phdr, l->align) == 8 ? 8 : 4, out);
	free(data);
	return found ? 0 : -ENODATA;
}

static bool inside(const struct layout *l, const uint8_t *phdr, uint64_t file_size)
{
	uint64_t offset = get(phdr, l->offset), len = get(phdr, l->filesz);

	return len <= file_size && offset <= file_size - len;
}

int plugin_note_read(int fd, struct plugin_note *out)
{
	const uint16_t one = 1;
	const uint8_t order = *(const uint8_t *)&one ? ELFDATA2LSB : ELFDATA2MSB;
	uint8_t ident[EI_NIDENT], ehdr[sizeof(Elf64_Ehdr)], phdr[sizeof(Elf64_Phdr)];
	const struct layout *l;
	uint64_t count, at;
	int found = -ENODATA;
	struct stat st;

	if (fstat(fd, &st) || !read_at(fd, ident, sizeof(ident), 0) || memcmp(ident, ELFMAG, SELFMAG) ||
	    ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) || ident[EI_DATA] != order)
		return -ENOEXEC;
	l = &layouts[ident[EI_CLASS]];
	if (!read_at(fd, ehdr, l->ehdr_len, 0) || get(ehdr, (struct field){16, 2}) != ET_DYN ||
	    get(ehdr, l->phentsize) != l->phdr_len)
		return -ENOEXEC;
	count = get(ehdr, l->phnum);
	at = get(ehdr, l->phoff);
	if (count > HEADERS_MAX)
		return -ENOEXEC;
	for (; count; count--, at += l->phdr_len) {
		if (!read_at(fd, phdr, l->phdr_len, at) || !inside(l, phdr, (uint64_t)st.st_size))
			return -ENOEXEC;
		if (found)
			found = read_segment(fd, l, phdr, out);
	}
	return found;
}
