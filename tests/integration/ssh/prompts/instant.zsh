# Shows a prompt at once, keeps what start-up files say until there is a real one, and then takes its own hook away; learns of git in
# a job beside the line editor; a line that was entered keeps a short prompt.
zmodload zsh/system
if [[ -t 0 && -t 1 && -t 2 && -o interactive && -o zle && -z $ZSH_EXECUTION_STRING ]]; then
  print -n $'\e[36mhome\e[0m\n\e[32m❯>\e[0m '
  exec {own_out}>&1 {own_err}>&2 1> ~/prompts/said 2>&1
  own_real() {
    emulate -L zsh
    exec 1>&$own_out 2>&$own_err {own_out}>&- {own_err}>&-
    print -n $'\r\e[A\e[J'
    cat ~/prompts/said
    precmd_functions=(${(@)precmd_functions:#own_real})
    unfunction own_real
  }
  precmd_functions=(own_real $precmd_functions)
fi
print "start-up says hello"
setopt promptsubst
own_start() { OWN_START=$(~/prompts/clock) }
own_end() {
  OWN_STATUS=$?; OWN_TOOK=
  [[ -z $OWN_START ]] || OWN_TOOK=$(( $(~/prompts/clock) - OWN_START )); OWN_START=
  ~/prompts/render zsh $OWN_STATUS "$OWN_TOOK" 0 > /dev/null
  PROMPT=$OWN_LONG
  exec {own_fd}< <(git rev-parse --abbrev-ref HEAD 2> /dev/null; print done)
  zle -F $own_fd own_answer
}
own_answer() {
  local line; read -r line <&$1; zle -F $1; exec {1}<&-
  OWN_GIT=$line; zle && zle reset-prompt
}
own_finish() { PROMPT='❯> '; zle && zle .reset-prompt }
zle -N zle-line-finish own_finish
preexec_functions+=(own_start)
precmd_functions+=(own_end)
OWN_LONG=$'%F{cyan}%~%f ${OWN_GIT} ${OWN_TOOK:+took $OWN_TOOK}\n%(?.%F{green}.%F{red})❯>%f '
PROMPT=$OWN_LONG
