"""The guard of zsh.

*preexec* runs after a line was read and parsed, with the line as it was typed (history expanded), and before any of it runs;
``kill -INT $$`` in it discards the line. zsh calls the function of a hook's name first, and then what its array lists, so the
guard's functions have the names of three hooks; those that the account's own files define are first in the arrays. All of that is
put back before each prompt, and once more where a line is kept in the history: after keys, prompts, timers and other hooks, and
with nothing between it and *preexec*. Start-up files are read by the guard itself, because it stands in their place.
"""

from __future__ import annotations

from typing import Final

_TEXT: Final = r"""
builtin printf '\033]7701;@NONCE@;R\007'
exec 9<&-
builtin unsetopt histignorespace
[[ ${PS1-}${PS2-} != *']7701;'* ]] || { PS1='%m%# ' PS2='%_> ' }
for __sp_f in ${ZDOTDIR:-~}/.zshenv @FILES@; do
  [[ ! -r $__sp_f ]] || builtin source $__sp_f
done
# Their aliases are read in what stands below; in a line they mean what they did.
__sp_y=$options[aliases]; \builtin \unsetopt \aliases
builtin unset __sp_f
__sp_tell() { builtin printf '\033]7701;@NONCE@;%s\007' "$1" > /dev/tty }
__sp_dice() {
  builtin emulate -L zsh; builtin unsetopt multibyte; builtin setopt extendedglob
  builtin local b i w; c=
  builtin read -rk 12 -u 3 b 3< /dev/urandom || builtin return 1
  # Of `#b[i]` zsh makes 0, whatever the character is.
  for ((i = 1; i <= 12; i++)) { w=$b[i]; c+=${(L)$(( [##16] #w ))}.; }
  [[ $#b == 12 && $c != (0.)## ]]
}
# Ask, and read up to the end of the answer; who is not answered within `$2` seconds asks again. Ctrl-C takes away what stands
# unread in the terminal. zsh looks at one that comes right before it reads when it has read, which may be never, so the trap
# takes what is read from away as well. That is no standard file: zsh would open its terminal anew.
__sp_read() {
  builtin emulate -L zsh
  builtin local IFS= i=1000000
  {
    builtin trap __sp_stop INT
    for ((i = $2; i < 1000000; i *= 2)) { builtin read -rs -u 9 -d $'\036' -t $i "r?$1" 2> /dev/tty && builtin break }
    builtin trap - INT
  } 9< /dev/tty
  (( i < 1000000 ))
}
__sp_stop() { i=1000000; builtin exec 9< /dev/null }
__sp_ask() {
  builtin emulate -L zsh
  builtin local c r w
  __sp_dice || builtin return 1
  __sp_read $'\033]7701;@NONCE@;Q;'"L;$c;$HISTCMD;${(qqqq)PWD};${(qqqq)1}"$'\007' 2 || builtin return 1
  [[ $r == *"$c:"? ]] || builtin return 1
  w=${r%"$c:"?}
  __sp_tell "W;${(qqqq)w}"
  [[ $r == *:a ]]
}
__sp_fetch() {
  builtin emulate -L zsh
  builtin local c w
  __sp_dice || builtin return 1
  __sp_read $'\033]7701;@NONCE@;N;'"$c"$'\007' 500000 || builtin return 1
  [[ $r == *"$c:"* ]] || builtin return 1
  w=${r%%"$c:"*}
  __sp_tell "W;${(qqqq)w}"
  w=${r#*"$c:"} r=${w#*:}
  [[ ${w%%:*} != A$#r ]] || builtin return 0
  r=; builtin print -ru2 'sallyport: The terminal changes what is typed. Run: stty sane'; builtin return 1
}
__sp_run() {
  builtin local r=
  __sp_fetch || builtin return 1
  builtin eval "$r"
}
__sp_heal() { (( ! $+functions[builtin] )) || \unfunction builtin; (( $+builtins[builtin] )) || \enable builtin }
# Traps of the person's do not run in between, nor behind it: functions of hooks are called by no command.
__sp_order() {
  builtin emulate -L zsh; builtin setopt extendedglob
  builtin trap - DEBUG ZERR
  builtin local f
  for f in precmd preexec zshaddhistory; do
    [[ $functions[$f] != [[:space:]]#"__sp_hook_$f "* ]] || builtin continue
    if (( $+functions[$f] )); then
      [[ $functions[$f] != 'builtin autoload -X'* ]] || builtin autoload +X $f
      functions[__sp_own_$f]=$functions[$f]
    else
      builtin unset "functions[__sp_own_$f]"
    fi
    functions[$f]="__sp_hook_$f \"\$@\""
  done
  builtin typeset -ga +r precmd_functions preexec_functions zshaddhistory_functions
  precmd_functions=(__sp_own_precmd ${precmd_functions:#__sp_*} __sp_precmd)
  preexec_functions=(__sp_own_preexec ${preexec_functions:#__sp_*} __sp_hold)
  zshaddhistory_functions=(__sp_own_zshaddhistory ${zshaddhistory_functions:#__sp_*} __sp_order)
}
__sp_hook_precmd() { __sp_order }
__sp_hook_zshaddhistory() { __sp_order; [[ $1 != *__sp_run* ]] }
# What was typed is not known where a hook has added something else to the history, but what was read of it is.
__sp_hook_preexec() {
  __sp_heal
  builtin emulate -L zsh
  builtin trap - DEBUG ZERR
  [[ $1 == *[^[:space:]]* ]] || 1=$3
  if ! __sp_ask "$1"; then
    builtin trap - INT
    builtin kill -INT $$
    # Whatever has the names of what stops a line: there is no way on from here.
    builtin exit 126; \exit 126; while [[ -n x ]]; do :; done
  fi
}
# Hooks may change which hooks there are, and prompts do, at the first one; lines may not.
__sp_hold() { builtin typeset -gr precmd_functions }
# Completion expands substitutions and glob qualifiers, and so would run what has not been asked about.
__sp_complete() {
  if [[ $PREBUFFER$BUFFER == (*\`*|*[^[:space:]\;\|\&\(]\(*) ]]; then builtin zle .beep; else builtin zle __sp_o_$WIDGET; fi
}
__sp_keys() {
  builtin emulate -L zsh
  builtin local w
  for w in complete-word menu-complete reverse-menu-complete expand-or-complete menu-expand-or-complete \
    expand-or-complete-prefix expand-word list-expand list-choices delete-char-or-list ${(k)widgets[(R)completion:*]}; do
    [[ $w != __sp_* && ${widgets[$w]-user:__sp_complete} != user:__sp_complete ]] || continue
    builtin zle -A $w __sp_o_$w && builtin zle -N $w __sp_complete
  done
}
__sp_precmd() {
  __sp_e=$?
  __sp_heal
  builtin local e=$__sp_e
  builtin trap - INT
  # A `#` is what it is in every other shell, and `< file` starts no pager.
  builtin setopt interactivecomments
  READNULLCMD=cat
  __sp_keys
  builtin typeset -g +r PS1 PS2
  [[ $PS1 == *'7701;@NONCE@'* ]] || PS1=$'%{\033]7701;@NONCE@;A\007%}'$PS1$'%{\033]7701;@NONCE@;B\007%}'
  [[ $PS2 == *'7701;@NONCE@'* ]] || PS2=$PS2$'%{\033]7701;@NONCE@;C\007%}'
  __sp_order
  __sp_tell "D;$e;${(qqqq)PWD}"
  builtin return $e
}
__sp_order
# Widgets by their name, the plain ones among them.
for __sp_k in "${(@)keymaps}"; do
  for __sp_w in "${(@f)$(builtin bindkey -M "$__sp_k")}"; do
    [[ $__sp_w != *' execute-'(|last-)named-cmd ]] || builtin bindkey -M "$__sp_k" -r "${(Q)__sp_w% *}"
  done
done
builtin unset __sp_k __sp_w
[[ $__sp_y != on ]] || builtin setopt aliases
builtin unset __sp_y
__sp_tell "H;${(qqqq)$(id -un 2> /dev/null)};${(qqqq)HOST}"
"""
_LOGIN: Final = (
    "/etc/zsh/zprofile /etc/zprofile ${ZDOTDIR:-~}/.zprofile /etc/zsh/zshrc /etc/zshrc ${ZDOTDIR:-~}/.zshrc "
    "/etc/zsh/zlogin /etc/zlogin ${ZDOTDIR:-~}/.zlogin"
)
_INNER: Final = "/etc/zsh/zshrc /etc/zshrc ${ZDOTDIR:-~}/.zshrc"

START: Final = "exec zsh -f -o histignorespace -i"
START_LOGIN: Final = START
#: zsh has no option for a start-up file of our choice, so its first line is typed. The space keeps it out of the history.
TYPED: Final = b" . /dev/fd/9\n"
LEAD: Final = b""
END: Final = b"\x1e"
PERCENT: Final = False
AHEAD: Final = True
STRAYS: Final = False


def guard(nonce: str, *, login: bool) -> str:
    """Return the start-up text."""
    return _TEXT.replace("@FILES@", _LOGIN if login else _INNER).replace("@NONCE@", nonce)
