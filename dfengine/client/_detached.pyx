"""Starts a process that is not a child of the caller: the program need not wait for it, and gets no SIGCHLD when it exits.

The downloading program may run for weeks and manage children of its own. So an intermediate process starts the other process and exits
at once. It is made by clone(2) with CLONE_VM | CLONE_VFORK, as in posix_spawn(3): its exit raises no signal, and only a wait with __WCLONE
sees it. It runs in this process's memory while the calling thread is suspended with all signals blocked, and calls posix_spawn only.
"""

from libc.errno cimport EINTR, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memset, strerror

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sched.h>
    #include <signal.h>
    #include <spawn.h>
    #include <sys/wait.h>
    #include <fcntl.h>
    """

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int sigfillset(sigset_t *signals)
    int sigemptyset(sigset_t *signals)
    int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)
    int SIG_SETMASK

cdef extern from "<spawn.h>" nogil:
    ctypedef struct posix_spawnattr_t:
        pass
    ctypedef struct posix_spawn_file_actions_t:
        pass
    int posix_spawn(int *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                    char **arguments, char **environment)
    int posix_spawnattr_init(posix_spawnattr_t *attributes)
    int posix_spawnattr_destroy(posix_spawnattr_t *attributes)
    int posix_spawnattr_setflags(posix_spawnattr_t *attributes, short flags)
    int posix_spawnattr_setsigmask(posix_spawnattr_t *attributes, const sigset_t *signals)
    int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions)
    int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
    int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags, unsigned int mode)
    int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int to)
    int posix_spawn_file_actions_addclose(posix_spawn_file_actions_t *actions, int fd)
    int POSIX_SPAWN_SETSID, POSIX_SPAWN_SETSIGMASK

cdef extern from "<sched.h>" nogil:
    int clone(int (*run)(void *) noexcept nogil, void *stack, int flags, void *argument)
    int CLONE_VM, CLONE_VFORK

cdef extern from "<sys/wait.h>" nogil:
    int waitpid(int pid, int *status, int options)
    int __WCLONE

cdef extern from "<fcntl.h>" nogil:
    int O_RDONLY, O_WRONLY

cdef enum:
    STACK = 262144  # bytes

cdef struct Start:
    const char *path
    char **arguments
    char **environment
    posix_spawn_file_actions_t actions
    posix_spawnattr_t attributes
    int pid
    int failed


cdef int _between(void *given) noexcept nogil:
    cdef Start *start = <Start *>given
    start.failed = posix_spawn(&start.pid, start.path, &start.actions, &start.attributes, start.arguments, start.environment)
    return 0


cdef int _run(Start *start) noexcept nogil:
    """Return 0 or an errno value."""
    cdef sigset_t all_signals, before
    cdef char *stack = <char *>malloc(STACK)
    cdef int pid, status, failed = 0
    if stack == NULL:
        return 12  # ENOMEM
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, &before)
    # The stack grows downwards, from an aligned end.
    pid = clone(_between, <void *>((<size_t>(stack + STACK)) & ~<size_t>63), CLONE_VM | CLONE_VFORK, start)
    if pid < 0:
        failed = errno
    else:
        while waitpid(pid, &status, __WCLONE) < 0 and errno == EINTR:
            pass
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    free(stack)
    return failed if failed else start.failed


cdef char **_texts(list texts) except NULL:
    """NULL-terminated array, to be freed by the caller. It points into `texts`, which must outlive it."""
    cdef char **found = <char **>malloc((len(texts) + 1) * sizeof(char *))
    if found == NULL:
        raise MemoryError
    for at, text in enumerate(texts):
        found[at] = text
    found[len(texts)] = NULL
    return found


def start(bytes path, list arguments, list environment, int log, list closed):
    cdef Start made
    cdef sigset_t none
    cdef int failed
    memset(&made, 0, sizeof(made))
    made.path = path
    made.arguments = _texts(arguments)
    try:
        made.environment = _texts(environment)
    except BaseException:
        free(made.arguments)
        raise
    posix_spawn_file_actions_init(&made.actions)
    posix_spawnattr_init(&made.attributes)
    sigemptyset(&none)
    failed = posix_spawnattr_setflags(&made.attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK)
    failed = failed or posix_spawnattr_setsigmask(&made.attributes, &none)
    failed = failed or posix_spawn_file_actions_addopen(&made.actions, 0, b"/dev/null", O_RDONLY, 0)
    failed = failed or posix_spawn_file_actions_addopen(&made.actions, 1, b"/dev/null", O_WRONLY, 0)
    failed = failed or posix_spawn_file_actions_adddup2(&made.actions, log, 2)
    for fd in closed:
        failed = failed or posix_spawn_file_actions_addclose(&made.actions, fd)
    if not failed:
        with nogil:
            failed = _run(&made)
    posix_spawn_file_actions_destroy(&made.actions)
    posix_spawnattr_destroy(&made.attributes)
    free(made.arguments)
    free(made.environment)
    if failed:
        raise OSError(failed, strerror(failed).decode("ascii", "replace"))
    return made.pid
