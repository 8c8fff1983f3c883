# Three processes: the caller, whose thread waits with all signals blocked; an intermediate process, which shares the caller's memory, uses
# a stack of its own, calls posix_spawn and exits; and the started process, which the kernel then reparents to init or a subreaper.
