"""The shell classifier: what a command line means before it is forwarded to the target.

`classify(text)` parses, takes wrappers and substitutions apart, and says which programs would start and with which
effects. Whatever it cannot know adds the effect `unknown`. It reads POSIX sh, bash and the plain parts of zsh and ksh;
for an account whose login shell is fish or csh it proves nothing. It cannot see into the target: aliases in its rc
files, scripts, and what an allowed program does are outside it.
"""

from agent.core.shell.classify import classify as classify
from agent.core.shell.model import DEFAULT as DEFAULT
from agent.core.shell.model import EFFECTS as EFFECTS
from agent.core.shell.model import FLAGS as FLAGS
from agent.core.shell.model import UNKNOWN_FLAGS as UNKNOWN_FLAGS
from agent.core.shell.model import Classification as Classification
from agent.core.shell.model import Command as Command
from agent.core.shell.model import Limits as Limits
from agent.core.shell.model import Redirection as Redirection
