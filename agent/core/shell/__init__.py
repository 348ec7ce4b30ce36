"""The shell classifier: what a command line means before it is forwarded. Pure; see `classify`."""

from agent.core.shell.classify import classify as classify
from agent.core.shell.model import DEFAULT as DEFAULT
from agent.core.shell.model import EFFECTS as EFFECTS
from agent.core.shell.model import FLAGS as FLAGS
from agent.core.shell.model import UNKNOWN_FLAGS as UNKNOWN_FLAGS
from agent.core.shell.model import Classification as Classification
from agent.core.shell.model import Command as Command
from agent.core.shell.model import Limits as Limits
from agent.core.shell.model import Redirection as Redirection
