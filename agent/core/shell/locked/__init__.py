"""Locked shells: the gateway is the line editor, and nothing reaches the target before it was decided.

The person types into ``editor``, at the gateway. A line that was entered, finished and decided goes to the *runner* (``runner``),
a few lines of POSIX shell that run one line at a time in one shell of the target and tell how it ended; ``conversation`` is the
gateway's half. Between the two marks that the runner makes around a line, keys belong to the program that runs; at every other
time none of them leaves the gateway. Everything here is pure.

What this is, and what not: no shell of the target ever reads a line that was not decided, whatever its start-up files say, and a
shell needs no hooks for it. What a permitted program does with the keys that it is given is its own business.
"""
