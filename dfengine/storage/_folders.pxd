"""Directories below an open one, reached without following links; and the system calls for their files."""

from libc.stdint cimport int64_t

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    #include <sys/stat.h>
    #include <sys/types.h>
    #include <sys/xattr.h>
    #include <time.h>
    #include <unistd.h>
    """
    ctypedef long ssize_t
    ctypedef unsigned int mode_t
    struct timespec:
        long tv_sec
        long tv_nsec
    struct stat_t "stat":
        mode_t st_mode
        unsigned int st_uid
        int64_t st_size
        timespec st_mtim
        timespec st_ctim
    int c_openat "openat"(int folder, const char *name, int flags, ...)
    int c_mkdirat "mkdirat"(int folder, const char *name, mode_t mode)
    int c_renameat "renameat"(int folder, const char *name, int to_folder, const char *to)
    int c_unlinkat "unlinkat"(int folder, const char *name, int flags)
    int c_close "close"(int fd)
    int c_dup "dup"(int fd)
    int c_fstat "fstat"(int fd, stat_t *found)
    int c_fchmod "fchmod"(int fd, mode_t mode)
    int c_ftruncate "ftruncate"(int fd, int64_t length)
    int c_futimens "futimens"(int fd, const timespec *times)
    int c_fsetxattr "fsetxattr"(int fd, const char *name, const void *value, size_t size, int flags)
    ssize_t c_fgetxattr "fgetxattr"(int fd, const char *name, void *value, size_t size)
    int64_t c_lseek "lseek"(int fd, int64_t offset, int whence)
    ssize_t c_pwrite "pwrite"(int fd, const void *data, size_t count, int64_t offset)
    ssize_t c_pread "pread"(int fd, void *into, size_t count, int64_t offset)
    int clock_gettime(int clock, timespec *now)
    unsigned int geteuid()
    bint S_ISREG(mode_t mode)
    enum:
        CLOCK_REALTIME
        O_CREAT
        O_TRUNC
        O_RDONLY
        O_WRONLY
        O_PATH
        O_CLOEXEC
        O_DIRECTORY
        O_NOFOLLOW
        O_NONBLOCK
        O_NOCTTY
        S_IWOTH
        SEEK_HOLE
        UTIME_OMIT


cdef class Folders:
    cdef int root
    cdef int fd
    cdef int failed
    cdef const char *name
    cdef size_t length

    cdef int of(self, const char *path, const char **base, bint make) noexcept nogil
