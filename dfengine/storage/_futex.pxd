# A word of 32 bits in memory that processes share. The kernel compares it and puts the thread to sleep in one step, so a change between
# the two is not missed. FUTEX_PRIVATE_FLAG is not set: the waiters are other processes.
