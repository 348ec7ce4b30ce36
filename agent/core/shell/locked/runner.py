"""The runner: what a locked shell is on the target. POSIX shell, as dash, busybox and bash read it.

One turn of its loop: note how the last line ended, draw a challenge from the kernel, tell both (mark *R*), and read. What is read
counts only behind that challenge, which nothing that ran before can know and nobody is shown; what stands before it was typed at
a program that did not take it, and is told back when the gateway asks (verb ``w``, mark *W*). A line comes as octal escapes of
``printf %b``, so that no other program is needed, and is run by ``eval`` between the marks *S* and *R*.

- Nothing of it is a file, an argument or an exported variable. What the person can change of it is changed by a decided line; the
  challenge is drawn after that line has ended, in a variable that could be set, or the runner ends.
- bash reads one such loop after the other, as an interactive shell reads lines: Ctrl-C ends what runs, and bash goes on with the
  next. A POSIX shell has nothing like that but an error, which ``command eval`` outlives.
- No loop is around it, and nothing but the end behind it: a ``break``, ``continue`` or ``return`` of the person's leads nowhere
  else.
- A line mostly stands at the beginning of what is read, and is taken from there: to look for it costs a shell the square of its
  length.
- At its prompt the terminal makes no signals of keys: Ctrl-C would take the line that is on its way with it. Nor does it change
  keys, or take some out, whatever a program left behind: under ``stty iuclc`` or ``stty start q`` the line that was decided would
  not be the one that runs.
- Of start-up files only the system's is read.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.shell.guard.boot import WORD

#: How often a line can be interrupted in bash before the shell is over.
_LOOPS: Final = 1000

_BEGIN: Final = r"""unset x y ENV BASH_ENV
stty icanon echo 2>/dev/null
[ -r /etc/profile ] && . /etc/profile
"""

#: How the terminal reads at the runner's prompt: every byte as it came. (Linux needs ``iexten`` to make letters small.)
_READING: Final = "-icanon -echo -isig -iexten -istrip -inlcr -igncr min 1 time 0 start ^Q stop ^S"

#: What is run in turns. Options are taken off first: with ``set -e`` or ``set -x`` of the person's, our own steps would end it.
_LOOP: Final = r"""{ __sp_e=$? __sp_f=$-; set +euvx; } 2>/dev/null
[ -z "$__sp_i" ] || __sp_e=130
while :; do while :; do
  { set +euvx; } 2>/dev/null
  unset -f unset command read printf stty pwd od tr sed exit test [ 2>/dev/null || exit 126
  @OUTSIDE@
  PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH command stty @READING@ < /dev/tty 2>/dev/null
  unset __sp_c || exit 126
  IFS= read -r __sp_c 2>/dev/null < /proc/sys/kernel/random/uuid ||
    __sp_c=$(PATH=/usr/bin:/bin:$PATH command od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  [ ${#__sp_c} -ge 32 ] || exit 126
  __sp_d=$(command pwd 2>/dev/null; command printf x); __sp_d=${__sp_d%?x}
  case $__sp_d in *[\;\'\\%[:cntrl:]]*)
    __sp_d=$(printf %s "$__sp_d" | PATH=/usr/bin:/bin:$PATH command od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g') ;;
  esac
  command printf '\033]7701;@NONCE@;R;%s;%s;%s\007' "$__sp_c" "$__sp_e" "$__sp_d" > /dev/tty || exit 126
  __sp_w=
  while :; do
    __sp_i=
    if IFS= read -r __sp_l < /dev/tty; then
      case $__sp_l in
        "$__sp_c":r:*) __sp_l=${__sp_l#"$__sp_c":r:}; break ;;
        *"$__sp_c":w:*)
          __sp_w=$__sp_w${__sp_l%%"$__sp_c":w:*}
          __sp_w=$(command printf %s "$__sp_w" | PATH=/usr/bin:/bin:$PATH command od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g')
          command printf '\033]7701;@NONCE@;W;%s\007' "$__sp_w" > /dev/tty; __sp_w= ;;
        *"$__sp_c":x:*) exit "${__sp_l##*:x:}" ;;
        *"$__sp_c":r:*) __sp_l=${__sp_l##*"$__sp_c":r:}; break ;;
        *) __sp_w=$__sp_w$__sp_l'
' ;;
      esac
    elif [ -z "$__sp_i" ]; then exit 129
    fi
  done
  __sp_e=${__sp_l%%:*}
  __sp_l=$(command printf '%b.' "${__sp_l#*:}"); __sp_l=${__sp_l%.}
  unset __sp_c __sp_w __sp_d
  PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH command stty icanon echo isig iexten < /dev/tty 2>/dev/null
  command printf '\033]7701;@NONCE@;S\007' > /dev/tty
  [ "$__sp_e" = 0 ] || __sp_l="(exit $__sp_e)
$__sp_l"
  case $__sp_f in *v*) __sp_l="set -v; $__sp_l" ;; esac
  case $__sp_f in *u*) __sp_l="set -u; $__sp_l" ;; esac
  case $__sp_f in *x*) __sp_l="set -x; $__sp_l" ;; esac
  case $__sp_f in *e*) __sp_l="set -e; ${__sp_l#"(exit $__sp_e)"}" ;; esac
  @RUN@
  { __sp_e=$? __sp_f=$-; set +euvx; } 2>/dev/null
  [ -z "$__sp_i" ] || __sp_e=130
done; done
""".replace("@READING@", _READING)

#: A line in a shell that ends at nothing but errors: Ctrl-C is made one. One that came before the line began is for the line.
_POSIX_RUN: Final = r"""command eval '\trap "{ __sp_i=1; : \${__sp_z:?}; } 2>/dev/null" INT
case $__sp_i in "") \eval "$__sp_l" ;; esac
{ __sp_e=$?; \trap "__sp_i=1" INT; (exit "$__sp_e"); } 2>/dev/null'"""
_POSIX: Final = _LOOP.replace("@OUTSIDE@", "trap '__sp_i=1' INT").replace("@RUN@", _POSIX_RUN)
_BASH_RUN: Final = r"""jobs > /dev/null 2>&1
  trap '__sp_i=1; trap "break 999 2>/dev/null; __sp_stop" DEBUG' INT
  case $__sp_i in "") eval "$__sp_l" ;; esac
"""
_BASH: Final = _LOOP.replace("@OUTSIDE@", "trap - DEBUG; trap '__sp_i=1' INT").replace("@RUN@", _BASH_RUN)

_BASH_HEAD: Final = """exec 9<&-
PS1= PS2= PROMPT_COMMAND= HISTFILE=
set +o history; set -T; shopt -s extdebug
__sp_stop() { case $BASH_COMMAND in *__sp_*) trap - DEBUG ;; *) return 2 ;; esac; }
readonly -f __sp_stop
"""

#: What no terminal changes, however it is set. One that knows only one case would make small letters of large ones.
_SAFE: Final = re.compile(rb"[^a-z0-9 _./,=+@%^-]")


def stage(nonce: str, shell: str) -> bytes:
    """Return what the boot line of an account with this ``shell`` is answered with: one line of ``printf %b``."""
    posix = f"set -m 2>/dev/null\n{_POSIX}exit\n".replace("@NONCE@", nonce)
    if shell != "bash":
        return _typed(f'{_BEGIN}if [ -z "$BASH_VERSION" ]; then\n{posix}fi\n{_bash(nonce)}')
    return _typed(f"{_BEGIN}{_bash(nonce)}")


def leaves(shell: str) -> bool:
    """Tell whether ``shell`` is known to read one line, and to leave what stands behind it. bash reads as much as there is."""
    return shell in ("ash", "dash")


def _bash(nonce: str) -> str:
    code = _BASH.replace("@NONCE@", nonce).replace("'", "'\\''")
    loops = 'eval "$__sp_o"\n' * _LOOPS
    head = _BASH_HEAD + f"readonly __sp_o='{code}'\n"
    return f"exec 9<<'SALLYPORT'\n{head}{loops}SALLYPORT\nexec bash --norc --noprofile -i /dev/fd/9\n"


def run(challenge: str, status: int, line: str) -> bytes:
    """Return what makes the runner run ``line``, in which ``$?`` begins as ``status``."""
    return b"%b:r:%d:%b\n" % (challenge.encode(), status, octal(line.encode()))


def give_back(challenge: str) -> bytes:
    """Return what makes the runner tell what was typed before it."""
    return challenge.encode() + b":w:\n"


def leave(challenge: str, status: int) -> bytes:
    """Return what ends the runner."""
    return b"%b:x:%d\n" % (challenge.encode(), status)


def octal(data: bytes) -> bytes:
    """Return ``data`` as ``printf %b`` reads it, on one line."""
    return _SAFE.sub(lambda match: b"\\0%03o" % match.group()[0], data)


def _typed(text: str) -> bytes:
    # The first line end is for what may have been typed without one.
    return f"\n{WORD}".encode() + text.replace("\\", "\\\\").replace("\n", "\\n").encode() + b"\n"
