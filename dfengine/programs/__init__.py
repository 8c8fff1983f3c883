"""The client for programs: what `dfengine.Client`, the functions of `dfengine` and those of `dfengine.aio` do.

    client      the settings of a program, and what it has running
    download    one download into a file, and its handle; tree_download: the same of a directory
    progress    what a download has done so far, as a value
    preheat     a file that a supernode fetches ahead; share: one that this host gives to others
    coroutines  the same for asyncio; async_handle, async_stream, async_file: what it returns, loop_threads: calls that block

Start with `client`. Nothing here installs a signal handler or needs an event loop.
"""
