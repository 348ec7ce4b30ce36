"""The guard of zsh.

A *preexec* hook runs after a line was read and parsed, with the line as it was typed (history expanded), and before any of it
runs; ``kill -INT $$`` in it discards the line. Start-up files are read by the guard itself, because it stands in their place.
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
builtin unset __sp_f
__sp_tell() { builtin printf '\033]7701;@NONCE@;%s\007' "$1" > /dev/tty }
__sp_dice() {
  builtin emulate -L zsh; builtin unsetopt multibyte; builtin setopt extendedglob
  builtin local b i w; c=
  builtin read -rk 12 -u 3 b 3< /dev/urandom || builtin return 1
  # Of `#b[i]` zsh makes 0, whatever the character is.
  for ((i = 1; i <= 12; i++)) { w=$b[i]; c+=$(( [##16] #w )).; }
  [[ $#b == 12 && $c != (0.)## ]]
}
__sp_ask() {
  builtin emulate -L zsh
  builtin local c i q r w
  __sp_dice || builtin return 1
  q=$'\033]7701;@NONCE@;Q;'"L;$c;$HISTCMD;${(qqqq)PWD};${(qqqq)1}"$'\007'
  # Ctrl-C takes away what stands in the terminal unread, this question too, so who is not answered asks again. One that came just
  # before zsh reads is looked at behind a command: behind the first key, and not behind all that is typed.
  for ((i = 2; i < 1000000; i *= 2)) { builtin read -rs -t $i -k 1 "w?$q" 2> /dev/tty && builtin break }
  builtin read -rs -d $'\036' r < /dev/tty 2> /dev/tty || builtin return 1
  r=$w$r
  [[ $r == *"$c:"? ]] || builtin return 1
  w=${r%"$c:"?}
  __sp_tell "W;${(qqqq)w}"
  [[ $r == *:a ]]
}
__sp_fetch() {
  builtin emulate -L zsh
  builtin local c w
  __sp_dice || builtin return 1
  builtin read -rs -d $'\036' "r?"$'\033]7701;@NONCE@;N;'"$c"$'\007' < /dev/tty 2> /dev/tty || builtin return 1
  [[ $r == *"$c:"* ]] || builtin return 1
  w=${r%%"$c:"*}
  __sp_tell "W;${(qqqq)w}"
  r=${r#*"$c:"}
}
__sp_run() {
  builtin local r=
  __sp_fetch || builtin return 1
  builtin eval "$r"
}
__sp_hide() { [[ $1 != *__sp_run* ]] }
# Hooks may change which hooks there are, and prompts do, at the first one; lines may not.
__sp_hold() { builtin typeset -gr precmd_functions }
__sp_release() { builtin typeset -g +r precmd_functions }
__sp_order() {
  builtin emulate -L zsh
  preexec_functions=(__sp_preexec ${preexec_functions:#__sp_(preexec|hold)} __sp_hold)
  precmd_functions=(__sp_release ${precmd_functions:#__sp_(release|precmd)} __sp_precmd)
}
__sp_preexec() { __sp_ask "$1" || { builtin kill -INT $$; builtin return 1 } }
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
  builtin local e=$?
  builtin trap - INT
  # A `#` is what it is in every other shell, and `< file` starts no pager.
  builtin setopt interactivecomments
  READNULLCMD=cat
  __sp_keys
  __sp_order
  [[ $PS1 == *'7701;@NONCE@'* ]] || PS1=$'%{\033]7701;@NONCE@;A\007%}'$PS1$'%{\033]7701;@NONCE@;B\007%}'
  [[ $PS2 == *'7701;@NONCE@'* ]] || PS2=$PS2$'%{\033]7701;@NONCE@;C\007%}'
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
zshaddhistory_functions=(__sp_hide ${zshaddhistory_functions-})
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
STRAYS: Final = False


def guard(nonce: str, *, login: bool) -> str:
    """Return the start-up text."""
    return _TEXT.replace("@FILES@", _LOGIN if login else _INNER).replace("@NONCE@", nonce)
