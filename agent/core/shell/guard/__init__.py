"""Interactive shells whose lines are decided before they run, with nothing installed on the target.

A shell is started through a few lines of its own language (``bash``: the *guard*), which ask over the terminal itself before a
line runs. The questions are *marks* (``marks``), private escape sequences that never reach the person; ``dialogue`` is the
gateway's half of the conversation. Everything here is pure.

What this is, and what not: a line at a guarded prompt is known exactly and decided before it runs, and a shell whose guard does
not report is refused. The guard runs as the person's own account, so it binds people who follow rules and programs that type;
somebody who sets out to defeat it from inside a permitted program can (an editor's shell escape, a poisoned start-up file).
Policies that must hold against those permit single programs by name.
"""
