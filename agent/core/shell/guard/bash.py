"""The guard of bash, 4.4 and later.

PS0 is expanded after a line was read and parsed, and before any of it runs. What it expands to asks over the terminal and waits
for the verdict; the one word that lets a line run is the answer to a challenge that the shell has just made up, and ``kill -INT
$$`` in the same expansion discards a line that may not. The answer is the value of an arithmetic expansion, so a gate that breaks
leaves the *belt* on: a DEBUG trap that asks for each simple command while no line is allowed, which is what happens to commands
that never pass PS0 (edit-and-execute, key bindings). The belt alone would not do: it cannot stop a compound command's
redirections.

Where a line runs what only the shell knows (a function, a file it reads, ``eval``), the answer can be to leave the belt on for
that line; the question holds the function's text, or the file's.

A line that starts another shell is discarded as well; *__sp_run*, which is typed at the next prompt, fetches what runs
instead of it.
"""

from __future__ import annotations

from typing import Final

#: bash cannot be asked for a line that it did not keep, so history is on while it is guarded.
_TEXT: Final = r"""
if (( BASH_VERSINFO[0] < 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] < 4) )); then
  builtin printf '\033]7701;@NONCE@;X;%s\007' "$BASH_VERSION"; builtin exit 1
fi
exec 9<&-
builtin printf '\033]7701;@NONCE@;R\007'
[[ ${PS1-}${PS2-}${PS0-} != *']7701;'* ]] || { PS1='\u@\h:\w\$ ' PS2='> ' PS0=; }
[[ ${PROMPT_COMMAND-} != *__sp_* ]] || builtin unset PROMPT_COMMAND
@FILES@
# Their aliases are read in what stands below; in a line they mean what they did.
__sp_y=; \builtin \shopt -q expand_aliases && __sp_y=1; \builtin \shopt -u expand_aliases
# A start-up file may have said that what fails ends the shell, or a variable that is not set; some fail here, some are not.
__sp_x=$-; builtin set +eu
__sp_tell() { builtin printf '\033]7701;@NONCE@;%s\007' "$1" > /dev/tty; }
# What it needs is not to be had: say so, and end. In POSIX mode no function stands before these words, but `builtin` may be one.
__sp_fail() { POSIXLY_CORRECT=1; unset -f builtin; __sp_tell "T;${1@Q}"; exit 126; }
__sp_sound() { __sp_v=; builtin eval __sp_v=1; [[ $__sp_v ]] || __sp_fail builtin; }
# An assignment to what is read-only would end the function that it stands in.
__sp_set() {
  builtin declare -g +ilu "$1" 2> /dev/null
  builtin printf -v "$1" %s "$2" 2> /dev/null && [[ ${!1} == "$2" ]] || __sp_fail "$1"
}
__sp_number() {
  builtin local __sp_l; __sp_l=$(HISTTIMEFORMAT= \builtin history 1); __sp_l=${__sp_l#"${__sp_l%%[! ]*}"}
  __sp_h=${__sp_l%%[!0-9]*}; __sp_l=${__sp_l#"$__sp_h"}; __sp_t=${__sp_l#[ *][ ]}
}
__sp_dice() {
  builtin local __sp_b __sp_i; __sp_c=
  builtin read -r -N 12 __sp_b < /dev/urandom
  for ((__sp_i = 0; __sp_i < ${#__sp_b}; __sp_i++)); do
    builtin printf -v __sp_c '%s.%x' "$__sp_c" "'${__sp_b:__sp_i:1}"
  done
  (( ${#__sp_b} == 12 ))
}
# Ctrl-C takes away what stands in the terminal unread, this question too, and is lost on a shell that is being forked: who is not
# answered asks again. What was typed meanwhile comes before the verdict.
__sp_read() {
  builtin local __sp_i=1 __sp_w=
  until builtin read -r -s -d $'\036' -t "$((__sp_i = __sp_i < 32 ? __sp_i * 2 : 32))" -p "$1" __sp_r < /dev/tty 2> /dev/tty; do
    (( $? > 128 )) || builtin return 1
    __sp_w+=$__sp_r
  done
  __sp_r=$__sp_w$__sp_r
}
# What it found out is in __sp_v, so that a yes is one in shells where `return` means nothing.
__sp_ask() {
  builtin local __sp_c __sp_q __sp_r IFS= LC_ALL=C
  __sp_v=d __sp_r=
  __sp_dice || builtin return 1
  __sp_q=$'\033]7701;@NONCE@;Q;'"$1;$__sp_c;$2;${PWD@Q};${3@Q}${4-}"$'\007'
  __sp_read "$__sp_q" || builtin return 1
  [[ ${__sp_r%"$__sp_c:"?} != "$__sp_r" ]] || builtin return 1
  __sp_c=${__sp_r%"$__sp_c:"?}; __sp_tell "W;${__sp_c@Q}"
  case ${__sp_r: -1} in a) __sp_v=a ;; s) __sp_v=s ;; esac
}
__sp_about() {
  builtin local __sp_b= __sp_f __sp_w LC_ALL=C
  __sp_w=${1#"${1%%[![:space:]]*}"}
  __sp_f=${__sp_w%%[[:space:]\;\&|\<\>()]*} __sp_o=
  if [[ $__sp_w == "$__sp_f"*([[:blank:]])'('* ]]; then
    __sp_b=$(\builtin type -t -- "$__sp_f"); __sp_o=";D;${__sp_b@Q}"
  elif [[ $__sp_f != *=* ]] && builtin declare -F -- "$__sp_f" > /dev/null; then
    __sp_b=$(\builtin declare -f -- "$__sp_f"); (( ${#__sp_b} <= 65536 )) || __sp_b=; __sp_o=";F;${__sp_b@Q}"
  elif [[ $__sp_f == @(source|.) ]]; then
    __sp_w=${__sp_w#"$__sp_f"}; __sp_w=${__sp_w#"${__sp_w%%[![:space:]]*}"}; __sp_w=${__sp_w%%[[:space:]]*}
    if [[ -f $__sp_w && -r $__sp_w ]]; then IFS= builtin read -r -N 65537 __sp_b < "$__sp_w"; __sp_o=";S;${__sp_b@Q}"; fi
  fi
}
__sp_gate() {
  builtin local __sp_h __sp_t __sp_k=L __sp_o; __sp_number
  [[ $__sp_h && $__sp_h != "$__sp_n" ]] || __sp_k=U
  __sp_about "$__sp_t"
  __sp_ask "$__sp_k" "$__sp_g" "$__sp_t" "$__sp_o"
  case $__sp_v in a) builtin printf 0 ;; s) builtin printf 1 ;; *) builtin kill -INT $$; builtin printf 1 ;; esac
}
__sp_fetch() {
  builtin local __sp_c __sp_w IFS= LC_ALL=C
  __sp_dice || builtin return 1
  builtin read -r -s -d $'\036' -p $'\033]7701;@NONCE@;N;'"$__sp_c"$'\007' __sp_r < /dev/tty 2> /dev/tty || builtin return 1
  [[ $__sp_r == *"$__sp_c:"* ]] || builtin return 1
  __sp_w=${__sp_r%%"$__sp_c:"*}; __sp_tell "W;${__sp_w@Q}"
  __sp_w=${__sp_r#*"$__sp_c:"}; __sp_r=${__sp_w#*:}
  builtin test "${__sp_w%%:*}" = "A${#__sp_r}" && builtin return 0
  __sp_r=; builtin printf '%s\n' 'sallyport: The terminal changes what is typed. Run: stty sane' >&2; builtin return 1
}
__sp_run() {
  builtin local __sp_r= __sp_h __sp_t
  __sp_number; [[ $__sp_t != *__sp_run* ]] || builtin history -d "$__sp_h"
  __sp_fetch || builtin return 1
  builtin eval "$__sp_r"
}
__sp_edit() {
  builtin local __sp_o __sp_c __sp_m
  __sp_m=$(\builtin command mktemp "${TMPDIR:-/tmp}/bash-fc.XXXXXX") || builtin return 1
  builtin printf '%s\n' "$READLINE_LINE" >| "$__sp_m"
  __sp_c="${VISUAL:-${EDITOR:-vi}} $__sp_m"; __sp_about "$__sp_c"
  __sp_ask S 0 "$__sp_c" "$__sp_o"
  case $__sp_v in
    [as])
      __sp_o=$(\builtin command stty -g); builtin command stty sane
      builtin eval "$__sp_c" && IFS= builtin read -r -d '' READLINE_LINE < "$__sp_m"
      builtin command stty "$__sp_o"
      while [[ $READLINE_LINE == *$'\n' ]]; do READLINE_LINE=${READLINE_LINE%$'\n'}; done
      READLINE_POINT=${#READLINE_LINE} ;;
  esac
  builtin command rm -f "$__sp_m"
}
__sp_mend() {
  builtin local __sp_i
  [[ $PROMPT_COMMAND != '@FIRST@'$'\n'* || ${PROMPT_COMMAND[${#PROMPT_COMMAND[@]} - 1]} != ?(*$'\n')'@LAST@' ]] ||
    builtin return 0
  __sp_set PROMPT_COMMAND "${PROMPT_COMMAND-}"
  for __sp_i in "${!PROMPT_COMMAND[@]}"; do
    PROMPT_COMMAND[__sp_i]=${PROMPT_COMMAND[__sp_i]//'@FIRST@'/:}; PROMPT_COMMAND[__sp_i]=${PROMPT_COMMAND[__sp_i]//'@LAST@'/:}
  done
  PROMPT_COMMAND='@FIRST@'$'\n'${PROMPT_COMMAND-}
  if (( BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501 )); then PROMPT_COMMAND+=('@LAST@')
  else PROMPT_COMMAND+=$'\n''@LAST@'; fi
}
__sp_belt() {
  __sp_a=$1 __sp_v=a
  [[ $PROMPT_COMMAND == __sp_before* ]] || __sp_mend
  [[ ${__sp_s-} != 0 ]] || builtin return 0
  [[ ${FUNCNAME[1]-} != __sp_@(before|prompt) && $BASH_COMMAND != @('@CALL@'|'@LAST@'|__sp_edit) ]] || builtin return 0
  builtin local __sp_o; __sp_about "$BASH_COMMAND"
  __sp_ask S 0 "$BASH_COMMAND" "$__sp_o"
  # What the command runs in this shell is asked about as well, unless the answer was that its text says it all.
  case $__sp_v$__sp_o in
    's;F;'*) builtin declare -ft -- "${BASH_COMMAND%%[[:space:]\;\&|\<\>()]*}" ;;
    'a;F;'*) builtin declare -f +t -- "${BASH_COMMAND%%[[:space:]\;\&|\<\>()]*}" ;;
    's;S;'*) builtin set -T ;;
    [as]*) ;;
    *) builtin kill -INT $$ ;;
  esac
}
__sp_left() { builtin return "$1"; }
__sp_before() {
  __sp_e=$?; __sp_p=("$@"); __sp_s=0; builtin set +T
  (( __sp_e == 0 && $# < 2 ))
}
__sp_prompt() {
  builtin local __sp_h __sp_t
  __sp_s=1 __sp_g=$((__sp_g + 1)); __sp_sound
  builtin trap - INT
  builtin set -o history
  # Lines that bash does not keep all the same are refused. A time before each would be read as a part of it.
  builtin printf -v HISTCONTROL %s '' 2> /dev/null || builtin true
  builtin printf -v HISTIGNORE %s '' 2> /dev/null || builtin true
  [[ -z ${HISTTIMEFORMAT-} || ${HISTTIMEFORMAT@a} != *r* ]] || __sp_fail HISTTIMEFORMAT
  builtin shopt -s extdebug promptvars cmdhist lithist; builtin set +T
  # What the person's own settings do before a line and before its commands stands behind what asks.
  [[ $1 == *__sp_belt* ]] || { __sp_d=; builtin eval "__sp_t=($1)"; __sp_d=${__sp_t[2]-}; __sp_t=; }
  builtin trap '@BELT@' DEBUG
  __sp_h=${PS0-}; __sp_set PS0 '@GATE@'"${__sp_h//'@GATE@'}"
  __sp_number; __sp_n=$__sp_h
  # Where these are read-only, nothing tells the prompt from what is shown before it.
  [[ ${PS1-} == *'7701;@NONCE@'* ]] ||
    builtin printf -v PS1 %s%s%s $'\\[\033]7701;@NONCE@;A\007\\]' "${PS1-}" $'\\[\033]7701;@NONCE@;B\007\\]' 2> /dev/null ||
    builtin true
  [[ ${PS2-} == *'7701;@NONCE@'* ]] || builtin printf -v PS2 %s%s "${PS2-}" $'\\[\033]7701;@NONCE@;C\007\\]' 2> /dev/null ||
    builtin true
  __sp_mend
  __sp_tell "D;$__sp_e;${PWD@Q};$__sp_g"
  builtin return "$__sp_e"
}
__sp_s=1 __sp_e=0 __sp_g=0; __sp_sound
# What the person's own settings run before a prompt stands between the two, and is nobody's line.
__sp_mend
# Keys that run the substitutions of a line that is still being edited, or bring such keys back from ~/.inputrc; and those that
# run what comes from an editor, of which the belt sees simple commands alone. It comes back into the line here, as in zsh.
for __sp_u in emacs-standard emacs-meta emacs-ctlx vi-command vi-insert; do
  for __sp_z in shell-expand-line re-read-init-file execute-named-command {,vi-}edit-and-execute-command; do
    builtin bind -m "$__sp_u" -u "$__sp_z" 2> /dev/null
  done
done
builtin bind -m emacs -x '"\C-x\C-e": __sp_edit' 2> /dev/null
builtin bind -m vi-command -x '"v": __sp_edit' 2> /dev/null
builtin readonly -f __sp_tell __sp_fail __sp_sound __sp_set __sp_number __sp_dice __sp_read __sp_ask __sp_about __sp_gate \
  __sp_fetch __sp_run __sp_edit __sp_mend __sp_belt __sp_left __sp_before __sp_prompt
__sp_u=$(\builtin command id -un 2> /dev/null)
__sp_tell "H;${__sp_u@Q};${HOSTNAME@Q}"
# bash looks at it once the start-up files are over, and reads no history where it is off.
builtin set -o history
case $__sp_x in *e*u*) builtin set -eu ;; *e*) builtin set -e ;; *u*) builtin set -u ;; esac
[[ -z $__sp_y ]] || builtin shopt -s expand_aliases
builtin unset __sp_u __sp_x __sp_y __sp_z
"""

#: What stands in PS0, around PROMPT_COMMAND and in the DEBUG trap; none has a single quote. PROMPT_COMMAND finds the status of
#: the line, those of its pipe (which a command can only leave by running one), and whoever wants it the trap that was set.
_GATE: Final = "${0:$((__sp_s=$(__sp_gate),9999))}"
_CALL: Final = '__sp_before "${PIPESTATUS[@]}"'
_FIRST: Final = (
    _CALL + " || case ${#__sp_p[@]} in "
    "2) __sp_left ${__sp_p[0]} | __sp_left ${__sp_p[1]} ;; "
    "3) __sp_left ${__sp_p[0]} | __sp_left ${__sp_p[1]} | __sp_left ${__sp_p[2]} ;; "
    "*) __sp_left $__sp_e ;; esac"
)
_LAST: Final = '__sp_prompt "$(\\builtin trap -p DEBUG)"'
#: The word that is `$_` goes through it. A trap that fails keeps the command from running.
_BELT: Final = (
    'if __sp_belt "$_"; [[ $__sp_v == [as] ]]; then case ${FUNCNAME-}:$BASH_COMMAND in __sp_*|:__sp_*) ;; '
    '*) [[ -z ${__sp_d-} ]] || { \\builtin true "$__sp_a"; \\builtin eval "$__sp_d"; } ;; esac; \\builtin true "$__sp_a"; '
    "else (( 0 )); fi"
)

#: Started as it is, bash reads the system's own bashrc by itself, and nothing of the account's.
_LOGIN: Final = r"""
[[ -r /etc/profile ]] && . /etc/profile
for __sp_f in ~/.bash_profile ~/.bash_login ~/.profile; do
  [[ -r $__sp_f ]] && { . "$__sp_f"; break; }
done
unset __sp_f
"""
_INNER: Final = "[[ -r ~/.bashrc ]] && . ~/.bashrc"

START: Final = "exec bash --rcfile /dev/fd/9 -i"
START_LOGIN: Final = START
TYPED: Final = b""
LEAD: Final = b""
END: Final = b"\x1e"
PERCENT: Final = False
AHEAD: Final = True
#: PS0 is expanded by a process of its own. A Ctrl-C that comes while bash forks it reaches bash alone.
STRAYS: Final = True


def guard(nonce: str, *, login: bool) -> str:
    """Return the start-up text."""
    text = _TEXT.replace("@FILES@", _LOGIN if login else _INNER).replace("@NONCE@", nonce)
    for name, code in (("FIRST", _FIRST), ("LAST", _LAST), ("CALL", _CALL), ("GATE", _GATE), ("BELT", _BELT)):
        text = text.replace(f"@{name}@", code)
    return text
