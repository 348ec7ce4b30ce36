"""Names of variables whose value changes which code runs, or what is recorded, when a later command starts.

A prefix or an exact name here makes an assignment `tamper`. zsh's special arrays are listed because the account's
shell may be zsh.
"""

from __future__ import annotations

import re

from agent.core.shell.options import names

_EXACT = names("""PATH IFS ENV SHELL PAGER EDITOR VISUAL BROWSER MANPAGER MANROFFOPT MANOPT SUDO_EDITOR SUDO_ASKPASS SSH_ASKPASS
    SSH_AUTH_SOCK SYSTEMD_PAGER SYSTEMD_EDITOR SYSTEMD_LESS PSQL_PAGER PSQL_EDITOR PSQLRC MYSQL_PAGER AWS_PAGER
    AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE KUBECONFIG KUBE_EDITOR DOCKER_HOST DOCKER_CONFIG CURL_HOME WGETRC
    INPUTRC TERMINFO TERMINFO_DIRS TERMCAP TERMPATH NLSPATH LOCPATH GCONV_PATH RSYNC_RSH RSYNC_CONNECT_PROG TAR_OPTIONS
    TAPE RMT GZIP XZ_OPT MAKEFLAGS MFLAGS GNUMAKEFLAGS MAKEFILES CC CXX FC AWKPATH AWKLIBPATH CDPATH GLOBIGNORE
    EXECIGNORE FIGNORE FCEDIT FPATH ZDOTDIR NULLCMD READNULLCMD HOSTALIASES RESOLV_HOST_CONF HOME XDG_CONFIG_HOME
    XDG_CONFIG_DIRS XDG_DATA_DIRS TMPDIR TMPPREFIX TIMEFMT OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES VIMINIT GVIMINIT
    EXINIT MYVIMRC EMACSLOADPATH PGSERVICEFILE PGSYSCONFDIR JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH M2_HOME
    DEBUGINFOD_URLS MAIL MAILPATH MAILCHECK SIGNATURE TMOUT COLUMNS_HOOK OPTIND command_not_found_handle PWD
    WATCHFMT PERIOD periodic_functions zshexit_functions zshaddhistory_functions zsh_directory_name_functions
    fignore mailpath psvar watch SSLKEYLOGFILE ZIPOPT GETCONF_DIR GROFF_COMMAND_PREFIX STTY ARGV0
    path fpath cdpath prompt precmd_functions preexec_functions chpwd_functions histchars module_path manpath
    aliases galiases saliases functions commands options dirstack nameddirs widgets""")
_PREFIX = (
    "LD_", "DYLD_", "BASH", "PROMPT", "PS0", "PS1", "PS2", "PS3", "PS4", "HIST", "SHELLOPTS", "LESS", "GIT_", "PYTHON",
    "PERL", "RUBY", "GEM_", "BUNDLE_", "NODE_", "NPM_", "npm_", "JAVA_", "MALLOC_", "GLIBC_", "LUA_", "PHP", "PIP_",
    "RSYNC_", "TAR_", "COMP_", "SSH_", "SUDO_", "DEBCONF_", "APT_", "DPKG_", "GUILE_", "R_", "TCL", "KRB5", "NSS_",
    "RES_", "SYSTEMD_", "CARGO", "RUST", "GO", "ANSIBLE_", "dis_", "__sp",
    "RPROMPT", "RPS", "SPROMPT", "fish_", "__fish",
)  # fmt: skip
_SUFFIX = re.compile(r"(?:PAGER|EDITOR|OPTS|OPTIONS|_COMMAND|_CMD|_RSH|_SSH|_SHELL|_PRELOAD|_PATH|_HOOK|_ASKPASS|_RC|FLAGS)$")

# bash gives these a meaning of its own (read-only, changing, or set by the shell): never propagated as literals.
SPECIAL = names("""_ UID EUID PPID RANDOM SRANDOM SECONDS LINENO EPOCHSECONDS EPOCHREALTIME FUNCNAME GROUPS HOSTNAME HOSTTYPE
    MACHTYPE OSTYPE PIPESTATUS PWD OLDPWD REPLY OPTARG OPTERR DIRSTACK SHLVL COLUMNS LINES COPROC MAPFILE READLINE_LINE
    status pipestatus argv signals USERNAME EGID GID TTYIDLE LOGNAME""")

#: What decides which characters a shell reads in the bytes of a line.
CHARSET = names("LANG LC_ALL LC_CTYPE")
#: Locales in which a byte below 0x80 is always itself. In GBK, GB18030, Big5 and Shift JIS it may be the second half of a
#: character: a shell there reads ``中\\;rm`` as a character, the end of the command, and another command.
_ASCII_SAFE = re.compile(
    r"|C|POSIX"
    r"|(?:(?:C|POSIX|[a-z]{2,3}(?:_[A-Z]{2})?)\.)?(?i:utf-?8|iso-?8859-?[0-9]{1,2}|us-ascii)(?:@[a-z]+)?"
    r"|(?!zh)[a-z]{2,3}_[A-Z]{2}(?:@[a-z]+)?"
)

#: What is assigned to these is evaluated as arithmetic, so that a value may hold code (bash: the integer attribute).
INTEGERS = names("RANDOM SRANDOM SECONDS")
#: The same in zsh, besides.
ZSH_INTEGERS = names("COLUMNS LINES KEYTIMEOUT UID GID EUID EGID SHLVL FUNCNEST LISTMAX SAVEHIST ERRNO DIRSTACKSIZE BAUD")
#: Arrays from the beginning. What is declared as the value of an array, and stands in brackets, bash reads as code.
ARRAYS = names("PIPESTATUS DIRSTACK GROUPS FUNCNAME MAPFILE COPROC")


def is_tamper(name: str, value: str | None = "") -> bool:
    """True if assigning `name` can change what other commands do or what is recorded of them. `value` is None if not known."""
    if name in _EXACT or name.startswith(_PREFIX) or bool(_SUFFIX.search(name)):
        return True
    return name in CHARSET if value is None else is_foreign(name, value)


def is_foreign(name: str, value: str) -> bool:
    """True if with this `value` of `name` a shell reads other characters in a line than are decided about."""
    return name in CHARSET and _ASCII_SAFE.fullmatch(value) is None
