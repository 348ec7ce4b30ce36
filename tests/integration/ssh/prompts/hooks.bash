# Functions that run before and after each line, for any program that wants them: hooked to a DEBUG trap which is set at the first
# prompt, by something that rewrites PROMPT_COMMAND then, and finds out from PROMPT_COMMAND which commands are no lines.
hooks_before=() hooks_after=() hooks_on= hooks_inside=0 hooks_last=0
hooks_status() { return "${1:-0}"; }
hooks_is_prompt() {
  local IFS=$'\n;' each
  for each in ${PROMPT_COMMAND[*]-}; do
    each=${each#"${each%%[![:space:]]*}"}; [[ ${each%"${each##*[![:space:]]}"} != "$1" ]] || return 0
  done
  return 1
}
hooks_line() {
  local each text last=$1 status=0
  (( hooks_inside == 0 )) || return
  local hooks_inside=1
  [[ -t 1 && -z ${COMP_POINT-}${READLINE_POINT-} && $hooks_on ]] || return
  (( BASH_SUBSHELL )) || hooks_on=
  if hooks_is_prompt "$BASH_COMMAND"; then hooks_on=; return; fi
  text=$(HISTTIMEFORMAT='' builtin history 1 | sed '1 s/^ *[0-9][0-9]*[* ] //')
  [[ $text ]] || return
  for each in "${hooks_before[@]}"; do hooks_status "$hooks_last"; "$each" "$text"; done
  hooks_status "$status" "$last"
}
hooks_prompt() {
  hooks_last=$? hooks_pipes=("${PIPESTATUS[@]}")
  local each
  (( hooks_inside == 0 )) || return
  local hooks_inside=1
  for each in "${hooks_after[@]}"; do hooks_status "$hooks_last"; "$each"; done
  hooks_status "$hooks_last"
}
hooks_typing() { hooks_on=on; }
hooks_install() {
  [[ ${PROMPT_COMMAND[*]-} != *hooks_prompt* ]] || return 1
  trap 'hooks_line "$_"' DEBUG
  HISTCONTROL=${HISTCONTROL//ignorespace}
  local rest=${PROMPT_COMMAND//"$hooks_text"/:}
  PROMPT_COMMAND=hooks_prompt
  PROMPT_COMMAND+=${rest:+$'\n'$rest}
  PROMPT_COMMAND+=('hooks_typing')
  hooks_prompt
  hooks_typing
}
hooks_text=$'hooks_old=$(trap -p DEBUG)\ntrap - DEBUG\nhooks_install'
PROMPT_COMMAND="${PROMPT_COMMAND:+$PROMPT_COMMAND;}"$hooks_text

# And one that wants them.
own_start() { OWN_START=$(~/prompts/clock); printf '%s\n' "$1" >> ~/prompts/lines; }
own_prompt() {
  local status=$? took=
  if [[ -n ${OWN_START-} ]]; then took=$(($(~/prompts/clock) - OWN_START)); OWN_START=; fi
  PS1="$(~/prompts/render bash "$status" "$took" 0)"
}
hooks_before+=(own_start)
hooks_after+=(own_prompt)
