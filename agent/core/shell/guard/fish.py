"""The guard of fish, 3.

fish has no hook that could stop a line, so Enter is bound to a function that asks before it lets the line run. What runs
otherwise (a key that somebody else has bound to execute) is caught by a belt: *preexec* asks then, and ends the shell where the
answer is no. While a program runs, Enter in ``read`` is only Enter: what is typed there is nobody's line, and may be a secret.
"""

from __future__ import annotations

from typing import Final

#: fish's own ``read`` is an editor; a POSIX shell reads the verdict. Its challenge is what Linux gives to whoever reads that file
#: (122 bits, the same source as /dev/urandom): elsewhere two programs are started for it, which takes longer than all the rest.
_TEXT: Final = r"""
builtin printf '\033]7701;@NONCE@;R\007'
function __sp_tell
  builtin printf '\033]7701;@NONCE@;%s\007' $argv[1] > /dev/tty
end
function __sp_ask
  set -l answer (command sh -c '
    c=; IFS=- read -r a b c d e 2> /dev/null < /proc/sys/kernel/random/uuid && c=$a$b$c$d$e
    case $c in *[!0-9a-f]*) c= ;; esac
    [ ${#c} -eq 32 ] || c=$(od -An -N16 -tx1 /dev/urandom | tr -d " \n"); [ ${#c} -eq 32 ] || exit 1
    printf "\033]7701;@NONCE@;Q;L;%s;0;%s;%s\007" "$c" "$1" "$2" > /dev/tty
    w=
    while IFS= read -r r; do
      case $r in
        *"$c:"?)
          w=$w${r%"$c:"?}
          [ -z "$w" ] || w=$(printf %s "$w" | od -An -v -tx1 | tr -d " \n" | sed "s/../%&/g")
          printf "\033]7701;@NONCE@;W;%s\007" "$w" > /dev/tty
          printf %s "${r#"${r%?}"}"
          exit 0 ;;
      esac
      w=$w$r"
"
    done
    exit 1' - (string escape --style=url -- $PWD) (string escape --style=url -- $argv[1]) < /dev/tty)
  test "$answer" = a
end
function __sp_run
  set -l text (command sh -c '
    c=; IFS=- read -r a b c d e 2> /dev/null < /proc/sys/kernel/random/uuid && c=$a$b$c$d$e
    case $c in *[!0-9a-f]*) c= ;; esac
    [ ${#c} -eq 32 ] || c=$(od -An -N16 -tx1 /dev/urandom | tr -d " \n"); [ ${#c} -eq 32 ] || exit 1
    s=$(stty -g); stty -echo -isig -iexten -ixon
    printf "\033]7701;@NONCE@;N;%s\007" "$c" > /dev/tty
    w=
    while IFS= read -r r; do
      case $r in
        *"$c:"*)
          w=$w${r%%"$c:"*}
          [ -z "$w" ] || w=$(printf %s "$w" | od -An -v -tx1 | tr -d " \n" | sed "s/../%&/g")
          stty "$s"
          printf "\033]7701;@NONCE@;W;%s\007" "$w" > /dev/tty
          r=${r#*"$c:"}; w=${r#*:}
          [ "${r%%:*}" = "A${#w}" ] || { echo "sallyport: The terminal changes what is typed. Run: stty sane" >&2; exit 1; }
          printf %s "$w"
          exit 0 ;;
      esac
      w=$w$r"
"
    done
    exit 1' < /dev/tty | string collect)
  test -n "$text"; and eval $text
end
function __sp_enter
  set -l line (builtin commandline -b | string collect)
  set -l words (string trim -- "$line" | string collect)
  if test "$__sp_busy" = 1; or test -z "$words"; or builtin commandline --search-mode; or builtin commandline --paging-mode
    builtin commandline -f execute
  else if not builtin commandline --is-valid
    builtin commandline -f execute
    __sp_tell C
  else if __sp_ask $line
    set -g __sp_line $line
    builtin commandline -f execute
  else
    builtin commandline -f cancel-commandline
  end
end
# Whatever has the name of what ends a shell: there is no way on from here.
function __sp_end
  command kill -KILL $fish_pid
  exec /bin/false
  exec /usr/bin/false
  while test 1
  end
end
function __sp_belt --on-event fish_preexec
  if test "$argv[1]" != "$__sp_line"; and string match -qr '\S' -- $argv[1]
    __sp_ask $argv[1]; or __sp_end
  end
  set -g __sp_line ''
  set -g __sp_busy 1
end
function __sp_before --on-event fish_prompt
  set -l last $status
  set -g __sp_busy 0
  for mode in default insert visual replace replace_one
    builtin bind -M $mode \r __sp_enter
    builtin bind -M $mode \n __sp_enter
  end
  if not string match -q '*__sp_own_prompt*' -- (builtin functions fish_prompt | string collect)
    builtin functions -q __sp_own_prompt; and builtin functions -e __sp_own_prompt
    builtin functions -c fish_prompt __sp_own_prompt
    # It finds the status of the line, and what comes first is printed when it has.
    function fish_prompt
      __sp_own_prompt | string collect -N | read -z -l text
      builtin printf '\033]7701;@NONCE@;A\007%s\033]7701;@NONCE@;B\007' $text
    end
  end
  __sp_tell "D;$last;"(string escape --style=url -- $PWD)
end
# Keys that start an editor or a pager.
for __sp_f in edit_command_buffer __fish_man_page __fish_preview_current_file
  builtin functions -q $__sp_f; or continue
  builtin functions -c $__sp_f __sp_own$__sp_f
  eval "function $__sp_f; __sp_ask $__sp_f; and __sp_own$__sp_f; builtin commandline -f repaint; end"
end
set -e __sp_f
__sp_tell H\;(string escape --style=url -- (command id -un 2> /dev/null))\;(string escape --style=url -- $hostname)
"""

START: Final = "exec fish -i -C 'command cat <&9 | builtin source'"
START_LOGIN: Final = "exec fish -l -i -C 'command cat <&9 | builtin source'"
TYPED: Final = b""
#: Enter does not move the cursor before fish runs a line, so words of ours begin on a line of their own.
LEAD: Final = b"\r\n"
END: Final = b"\n"
PERCENT: Final = True
AHEAD: Final = False
STRAYS: Final = False


def guard(nonce: str, *, login: bool) -> str:
    """Return the start-up text, which is one for every kind of start."""
    return _TEXT.replace("@NONCE@", nonce)
