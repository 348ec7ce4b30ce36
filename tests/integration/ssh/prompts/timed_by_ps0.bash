# Takes the time in PS0, and rewrites PS1 before each prompt, with the status and the statuses of a pipe.
own_clock() { ~/prompts/clock; }
own_prompt() {
  OWN_STATUS=$? OWN_PIPE="${PIPESTATUS[*]}"
  local job count=0 took=
  jobs > /dev/null 2>&1
  for job in $(jobs -p); do [[ $job ]] && ((count++)); done
  "${own_before-:}"
  if [[ -n ${OWN_START-} ]]; then took=$(($(own_clock) - OWN_START)); OWN_START=; fi
  printf '%s\n' "$OWN_PIPE" >> ~/prompts/pipes
  PS1="$(~/prompts/render bash "$OWN_STATUS" "$took" "$count")"
}
PS0='${BASH_VERSION:$((OWN_START=$(own_clock),0)):0}'"${PS0-}"
[[ -z ${PROMPT_COMMAND-} ]] || { own_before_text=$PROMPT_COMMAND; own_before() { eval "$own_before_text"; }; own_before=own_before; }
PROMPT_COMMAND=own_prompt
PS2="$(~/prompts/render bash '' '' '' next)"
shopt -s checkwinsize
