"""Opens the directories of a path one by one. No symbolic link is followed, so that no directory outside of the first one is reached."""

cimport cython

from libc.errno cimport EEXIST, ENAMETOOLONG, ENOENT, errno
from libc.string cimport memcmp, memcpy, strrchr


@cython.final
cdef class Folders:
    """The directory of the last file, open, or the error of opening it; in the manifest's order runs of files share a directory."""

    def __cinit__(self, int root):
        self.root = root
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            c_close(self.fd)

    cdef int of(self, const char *path, const char **base, bint make) noexcept nogil:
        """The descriptor of `path`'s directory, owned by this object; base: the name in it. -1: see errno."""
        cdef const char *slash = strrchr(path, b"/")
        cdef size_t length = 0 if slash == NULL else slash - path
        base[0] = path if slash == NULL else slash + 1
        if length == 0:
            return self.root
        if length == self.length and memcmp(path, self.name, length) == 0 and (self.fd >= 0 or not make):
            (&errno)[0] = self.failed
            return self.fd
        if self.fd >= 0:
            c_close(self.fd)
        self.fd = open_folder(self.root, path, length, make)
        self.failed = errno if self.fd < 0 else 0
        self.name, self.length = path, length
        return self.fd


cdef int open_folder(int root, const char *path, size_t length, bint make) noexcept nogil:
    """Open the directory `path[:length]` below `root`, made where it is missing. -1: errno; ENOTDIR also for a symbolic link."""
    cdef char name[256]
    cdef size_t at = 0, end
    cdef int fd = root, below, failed
    cdef int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
    while at < length:
        end = at
        while end < length and path[end] != b"/":
            end += 1
        below = -1
        failed = ENAMETOOLONG
        if end - at < sizeof(name):
            memcpy(name, path + at, end - at)
            name[end - at] = 0
            below = c_openat(fd, name, flags)
            if below < 0 and make and errno == ENOENT and (c_mkdirat(fd, name, 0o777) == 0 or errno == EEXIST):
                below = c_openat(fd, name, flags)
            failed = errno
        if fd != root:
            c_close(fd)
        if below < 0:
            (&errno)[0] = failed
            return -1
        fd = below
        at = end + 1
    return fd
