# Three processes: this one, whose thread waits with all signals blocked; one between, which shares its memory, uses a stack of its own,
# calls posix_spawn and ends; and the one that is started, which the kernel gives to the first process when the one between ends.
