"""Writes a run of the concatenation into the files that it covers, and reads it back from there, without the GIL.

A file that is whole in the run is created complete: under a name in the directory of parts, then renamed into place. The bytes of a longer
file are written into its part. Every directory below the root is opened by its name in the one above it, and no symbolic link is followed:
no file is written or read outside the root, whatever links other programs create.
"""

from libc.errno cimport EINTR, EIO, ESTALE, errno
from libc.stdint cimport int32_t, int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from dfengine.errors import BadValue

from cpython.bytes cimport PyBytes_AS_STRING

from dfengine.storage._folders cimport *
from dfengine.storage._layout cimport Layout

cdef enum:
    MARK = 16
    BOOT = 16
    SHORT_NOTE = 32  # mark, mtime in ns, time of the note in ns
    NOTE = SHORT_NOTE + BOOT  # and the boot in which the data was written, or was last known to be on the disk

cdef int64_t SOON = 1000000000
cdef const char *NOTED = "user.dfengine.tree"


cdef bint write_all(int fd, const char *content, int64_t length, int64_t offset) noexcept nogil:
    cdef ssize_t count
    cdef int64_t done = 0
    while done < length:
        count = c_pwrite(fd, content + done, <size_t>(length - done), offset + done)
        if count > 0:
            done += count
        elif count == 0:
            (&errno)[0] = EIO
            return False
        elif errno != EINTR:
            return False
    return True


cdef bint read_all(int fd, char *into, int64_t length, int64_t offset) noexcept nogil:
    cdef ssize_t count
    cdef int64_t done = 0
    while done < length:
        count = c_pread(fd, into + done, <size_t>(length - done), offset + done)
        if count > 0:
            done += count
        elif count == 0:
            (&errno)[0] = ESTALE
            return False
        elif errno != EINTR:
            return False
    return True


cdef class Scatter(Layout):
    """The files of one tree below the directory `root`.

    root, parts: open directories of the caller's; parts -1: no file is written. modes: permission bits, -1: as new files have them. mtimes:
    ns, -1: when written. marks: 16 bytes for each file, zeros or b"": files are not marked. boot: 16 bytes that identify the present boot,
    b"": unknown.
    """

    def __cinit__(
        self, paths, sizes, int64_t content_size, int root, int parts=-1, modes=None, mtimes=None, bytes marks=b"", bytes boot=b"",
    ):
        cdef Py_ssize_t n
        if len(boot) not in (0, BOOT):
            raise BadValue("a boot is not identified by 16 bytes")
        memset(self.boot, 0, BOOT)
        if boot:
            memcpy(self.boot, PyBytes_AS_STRING(boot), BOOT)
        if marks and len(marks) != MARK * self.count:
            raise BadValue("the marks of a tree do not belong to its files")
        self.root, self.parts = root, parts
        self.modes = <int32_t *>calloc(self.count + 1, sizeof(int32_t))
        self.mtimes = <int64_t *>calloc(self.count + 1, sizeof(int64_t))
        self.states = <unsigned char *>calloc(self.count + 1, 1)
        self.marks = <unsigned char *>calloc(self.count + 1, MARK) if marks else NULL
        if self.modes == NULL or self.mtimes == NULL or self.states == NULL or (marks and self.marks == NULL):
            raise MemoryError
        if marks:
            memcpy(self.marks, PyBytes_AS_STRING(marks), MARK * self.count)
        for n in range(self.count):
            self.modes[n] = -1 if modes is None else modes[n]
            self.mtimes[n] = -1 if mtimes is None else mtimes[n]

    def __dealloc__(self):
        free(self.modes)
        free(self.mtimes)
        free(self.states)
        free(self.marks)

    def state(self, Py_ssize_t n):
        """0: wanted, 1: complete and in place, 2: left alone, 3: wanted, with a part."""
        self._check(n)
        return self.states[n]

    def set_state(self, Py_ssize_t n, int state):
        """See `state`."""
        self._check(n)
        self.states[n] = <unsigned char>state

    def wanted(self, Py_ssize_t first=0):
        """The first file from `first` on that is neither complete nor left alone; -1 if there is none."""
        cdef Py_ssize_t n
        for n in range(max(first, 0), self.count):
            if self.states[n] in (WANTED, STARTED):
                return n
        return -1

    def put(self, const unsigned char[::1] content not None, int64_t offset):
        """Write the verified bytes of the concatenation from `offset` on. Returns [(file, errno)] of files that could not be written.

        A file that is whole in them is complete and in place afterwards, and so are empty files in between. Others need `finish`.
        """
        cdef int64_t length = content.shape[0], past = offset + length, begin, end
        if self.parts < 0 or offset < 0 or past > self.at[self.count]:
            raise BadValue(f"no {length} bytes at {offset} of a tree of {self.at[self.count]}")
        cdef const char *data = <const char *>&content[0] if length else NULL
        cdef Py_ssize_t n = self.find(offset)
        cdef Folders folders = Folders(self.root)
        cdef const char *base
        cdef int failed, folder
        found = []
        with nogil:
            while n < self.count and self.at[n] < past:
                begin, end = max(self.at[n], offset), min(self.at[n + 1], past)
                failed = 0
                if self.states[n] in (WANTED, STARTED):
                    if end - begin == self.at[n + 1] - self.at[n]:
                        folder = folders.of(self.names + self.name_at[n], &base, True)
                        failed = errno if folder < 0 else self.make(n, folder, base, data + (begin - offset))
                    else:
                        failed = self.put_part(n, data + (begin - offset), end - begin, begin - self.at[n])
                if failed:
                    with gil:
                        found.append((n, failed))
                n += 1
        return found

    def create(self, Py_ssize_t n):
        """Make file n, which has no bytes. Returns errno, 0: it is in place."""
        self._check(n)
        if self.parts < 0 or self.at[n + 1] != self.at[n]:
            raise BadValue(f"file {n} of a tree is not empty")
        cdef Folders folders = Folders(self.root)
        cdef const char *base
        cdef int folder, failed
        with nogil:
            folder = folders.of(self.names + self.name_at[n], &base, True)
            failed = errno if folder < 0 else self.make(n, folder, base, NULL)
        return failed

    cdef int make(self, Py_ssize_t n, int folder, const char *base, const char *content) noexcept nogil:
        """Write file n as a whole and rename it into place. Returns errno or 0."""
        cdef char name[24]
        snprintf(name, sizeof(name), "t%ld", <long>n)
        cdef int failed = 0
        cdef int fd = c_openat(self.parts, name, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0o666)
        if fd < 0:
            return errno
        if not write_all(fd, content, self.at[n + 1] - self.at[n], 0):
            failed = errno
        else:
            failed = self.seal(n, fd)
        if c_close(fd) < 0 and not failed:
            failed = errno
        if not failed and c_renameat(self.parts, name, folder, base) < 0:
            failed = errno
        if failed:
            c_unlinkat(self.parts, name, 0)
        else:
            self.states[n] = DONE
        return failed

    cdef int seal(self, Py_ssize_t n, int fd) noexcept nogil:
        """Set mode, mtime and mark of the complete file n. Returns errno or 0; a mark that cannot be set is no error."""
        cdef timespec times[2]
        cdef stat_t found
        cdef int64_t mtime = self.mtimes[n]
        if self.modes[n] >= 0 and c_fchmod(fd, self.modes[n] & 0o777) < 0:
            return errno
        if mtime >= 0:
            times[0].tv_sec, times[0].tv_nsec = 0, UTIME_OMIT
            times[1].tv_sec, times[1].tv_nsec = mtime // 1000000000, mtime % 1000000000
            if c_futimens(fd, times) < 0:
                return errno
        if self.marks != NULL:
            if mtime < 0:
                if c_fstat(fd, &found) < 0:
                    return errno
                mtime = <int64_t>found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec
            self.note(n, fd, mtime)
        return 0

    cdef void note(self, Py_ssize_t n, int fd, int64_t mtime) noexcept nogil:
        """Store mark, mtime in ns, time and boot. Errors are ignored: then the file is fetched, or examined, again."""
        cdef timespec now
        cdef unsigned char note[NOTE]
        clock_gettime(CLOCK_REALTIME, &now)
        cdef int64_t noted = <int64_t>now.tv_sec * 1000000000 + now.tv_nsec
        memcpy(note, self.marks + MARK * n, MARK)
        memcpy(note + MARK, &mtime, 8)
        memcpy(note + MARK + 8, &noted, 8)
        memcpy(note + SHORT_NOTE, self.boot, BOOT)
        c_fsetxattr(fd, NOTED, note, NOTE, 0)

    cdef bint noted_unchanged(self, Py_ssize_t n, int fd) noexcept nogil:
        """Whether the open file n is as its note says, and its data is on the disk; then the note is of the present boot afterwards."""
        cdef unsigned char note[NOTE + 1]
        cdef unsigned char nothing[MARK]
        cdef stat_t found
        cdef int64_t mtime, noted, changed
        memset(nothing, 0, MARK)
        memset(note, 0, sizeof(note))
        cdef ssize_t length = c_fgetxattr(fd, NOTED, note, sizeof(note))
        if length not in (SHORT_NOTE, NOTE) or c_fstat(fd, &found) < 0:
            return False
        memcpy(&mtime, note + MARK, 8)
        memcpy(&noted, note + MARK + 8, 8)
        changed = <int64_t>found.st_ctim.tv_sec * 1000000000 + found.st_ctim.tv_nsec
        if (memcmp(note, self.marks + MARK * n, MARK) != 0 or memcmp(note, nothing, MARK) == 0
                or found.st_uid not in (0, geteuid()) or found.st_mode & S_IWOTH
                or mtime != <int64_t>found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec or changed > noted + SOON):
            return False
        if memcmp(note + SHORT_NOTE, self.boot, BOOT) == 0 and memcmp(self.boot, nothing, BOOT) != 0:
            return True
        # After a power failure, a file without its data has the size, the times and the note of the complete one: see storage/boot.py.
        if found.st_size > 0 and c_lseek(fd, 0, SEEK_HOLE) < found.st_size:
            return False
        self.note(n, fd, mtime)
        return True

    cdef int put_part(self, Py_ssize_t n, const char *content, int64_t length, int64_t offset) noexcept nogil:
        """Write bytes of file n into its part, which has the file's size from the beginning. Returns errno or 0; ESTALE: truncated."""
        cdef char name[24]
        cdef stat_t found
        cdef int64_t size = self.at[n + 1] - self.at[n]
        snprintf(name, sizeof(name), "p%ld", <long>n)
        cdef int failed = 0
        # Checked before the size: another thread may create the part of the same file now.
        cdef bint started = self.states[n] == STARTED
        cdef int fd = c_openat(self.parts, name, O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0o666)
        if fd < 0:
            return errno
        if c_fstat(fd, &found) < 0:
            failed = errno
        elif found.st_size != size and (found.st_size != 0 or started):
            failed = ESTALE
        elif found.st_size == 0 and c_ftruncate(fd, size) < 0:
            failed = errno
        else:
            self.states[n] = STARTED
            if not write_all(fd, content, length, offset):
                failed = errno
        if c_close(fd) < 0 and not failed:
            failed = errno
        return failed

    def finish(self, Py_ssize_t n):
        """Rename the complete part of file n into place. Returns errno, 0: done, ESTALE: another program truncated it."""
        self._check(n)
        cdef char name[24]
        snprintf(name, sizeof(name), "p%ld", <long>n)
        cdef Folders folders = Folders(self.root)
        cdef const char *base
        cdef stat_t found
        cdef int fd, folder, failed = 0
        if self.parts < 0:
            raise BadValue("a tree that is only read is not finished")
        with nogil:
            fd = c_openat(self.parts, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC)
            if fd < 0:
                failed = errno
            else:
                if c_fstat(fd, &found) < 0:
                    failed = errno
                elif found.st_size != self.at[n + 1] - self.at[n]:
                    failed = ESTALE
                else:
                    failed = self.seal(n, fd)
                if c_close(fd) < 0 and not failed:
                    failed = errno
                if not failed:
                    folder = folders.of(self.names + self.name_at[n], &base, True)
                    if folder < 0 or c_renameat(self.parts, name, folder, base) < 0:
                        failed = errno
                    else:
                        self.states[n] = DONE
        return failed

    def discard(self, Py_ssize_t n):
        """Remove file n's part, if there is one."""
        self._check(n)
        cdef char name[24]
        snprintf(name, sizeof(name), "p%ld", <long>n)
        if self.parts >= 0:
            c_unlinkat(self.parts, name, 0)

    cdef int open_from(self, Py_ssize_t n, int folder, const char *base) noexcept nogil:
        """Open file n, or its part, for reading, if it is a regular file of its size; -1: errno. folder -1: the part only."""
        cdef char name[24]
        cdef stat_t found
        cdef int fd = -1, flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
        if folder < 0:
            snprintf(name, sizeof(name), "p%ld", <long>n)
            fd = c_openat(self.parts, name, flags)
        else:
            fd = c_openat(folder, base, flags)
        if fd >= 0 and (c_fstat(fd, &found) < 0 or not S_ISREG(found.st_mode) or found.st_size != self.at[n + 1] - self.at[n]):
            c_close(fd)
            fd = -1
            (&errno)[0] = ESTALE
        return fd

    def open(self, Py_ssize_t n):
        """Open file n, or its part, for reading; the caller owns the descriptor. Raises OSError, also for a file of wrong kind or size."""
        self._check(n)
        cdef Folders folders = Folders(self.root)
        cdef const char *base
        cdef int fd = -1, folder
        with nogil:
            if self.parts >= 0 and self.split(n):
                fd = self.open_from(n, -1, NULL)
            if fd < 0:
                folder = folders.of(self.names + self.name_at[n], &base, False)
                if folder >= 0:
                    fd = self.open_from(n, folder, base)
        if fd < 0:
            raise OSError(errno, "it is not there as it was written", self.path(n))
        return fd

    def read_into(self, unsigned char[::1] buffer not None, int64_t offset, int64_t length, bint parts=True):
        """Read `length` bytes of the concatenation from `offset` on from the files and parts; -1, or the first file that lacks its bytes.

        parts: a part is read where there is one; else only files that have their names.

        Files may have been changed since they were written. The caller compares digests.
        """
        if offset < 0 or length < 0 or offset + length > self.at[self.count] or length > buffer.shape[0]:
            raise BadValue(f"no {length} bytes at {offset} of a tree of {self.at[self.count]}")
        cdef int64_t past = offset + length, begin, end
        cdef char *into = <char *>&buffer[0] if length else NULL
        cdef Py_ssize_t n = self.find(offset)
        cdef Folders folders = Folders(self.root)
        cdef const char *base
        cdef int fd, folder
        cdef bint good = True
        with nogil:
            while good and n < self.count and self.at[n] < past:
                begin, end = max(self.at[n], offset), min(self.at[n + 1], past)
                if end > begin:
                    fd = self.open_from(n, -1, NULL) if parts and self.parts >= 0 and self.split(n) else -1
                    if fd < 0:
                        folder = folders.of(self.names + self.name_at[n], &base, False)
                        fd = self.open_from(n, folder, base) if folder >= 0 else -1
                    good = fd >= 0 and read_all(fd, into + (begin - offset), end - begin, begin - self.at[n])
                    if fd >= 0:
                        c_close(fd)
                n += good
        return -1 if good else n

    def marked(self):
        """Leave alone every file that is as a download with the same mark has written it; return the number of such files.

        A file is so if size and mtime are the same as when the mark was made, and the ctime, which cannot be set back, is not later than
        the rename. A file of an earlier boot must also have no holes. Another user's file, and a world-writable one, is never left alone.
        """
        if self.marks == NULL:
            return 0
        self.present = 0
        cdef Py_ssize_t n, kept = 0
        cdef Folders folders = Folders(self.root)
        cdef const char *base
        cdef int fd, folder
        with nogil:
            for n in range(self.count):
                folder = folders.of(self.names + self.name_at[n], &base, False)
                if self.states[n] != WANTED or folder < 0:
                    continue
                fd = self.open_from(n, folder, base)
                if fd < 0:
                    continue
                self.present += 1
                if self.noted_unchanged(n, fd):
                    self.states[n] = LEFT
                    kept += 1
                c_close(fd)
        return kept
