"""The client for programs: implements `dfengine.Client`, the functions of `dfengine` and those of `dfengine.aio`.

    client      settings of a program, and its running work
    download_handle  a download into a file, and its handle; tree_download: a download of a directory
    progress    the progress of a download, as a value
    preheat     a preheat of one file at a supernode; share: a file that this host shares
    coroutines  the client for asyncio; async_handle, async_stream, async_file: its results; loop_threads: blocking calls in threads

Start with `client`. Nothing here installs a signal handler or needs an event loop.
"""
