# A program draws both sides, each time they are shown; hooks measure the line; the keymap is followed.
own_start() { OWN_START=$(~/prompts/clock) }
own_end() {
  OWN_STATUS=$? OWN_PIPES=(${pipestatus[@]})
  unset OWN_TOOK
  (( ! ${+OWN_START} )) || { OWN_TOOK=$(( $(~/prompts/clock) - OWN_START )); unset OWN_START }
  OWN_JOBS=${(%):-%j}
  print -r -- "$OWN_PIPES" >> ~/prompts/pipes
}
autoload -Uz add-zsh-hook
add-zsh-hook precmd own_end
add-zsh-hook preexec own_start
own_keymap() { zle reset-prompt }
zle -N zle-keymap-select own_keymap
setopt promptsubst
PROMPT='$(~/prompts/render zsh "$OWN_STATUS" "${OWN_TOOK:-}" "$OWN_JOBS")'
RPROMPT='$(~/prompts/render zsh "" "" "" right)'
PROMPT2="$(~/prompts/render zsh '' '' '' next)"
