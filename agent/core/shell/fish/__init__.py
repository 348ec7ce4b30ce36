"""What lines of fish mean. fish's grammar is read here, and decided by what is known of programs everywhere else.

`words` reads words, `statements` blocks and commands; both write what they read as text of a POSIX shell. Each command, word and
redirection of the line is there, in quotes of their own, and control flow is not: a branch that may run is one that does.
`reading` classifies that text. What is not certain is an `UnreadableError`, and so unknown.
"""

from agent.core.shell.fish.reading import classify_fish

__all__ = ["classify_fish"]
