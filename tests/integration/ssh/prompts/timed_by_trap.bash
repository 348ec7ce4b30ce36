# Takes the time in a DEBUG trap, which finds the last word of the command before in $_ and leaves it there.
own_ready=
own_start() {
  local last=$1
  if [ "$own_ready" = true ]; then own_ready=false OWN_START=$(~/prompts/clock); fi
  : "$last"
}
own_prompt() {
  local status=$? took=
  if [ -n "${OWN_START-}" ]; then took=$(($(~/prompts/clock) - OWN_START)); OWN_START=; fi
  PS1="$(~/prompts/render bash "$status" "$took" "$(jobs -rp | grep -c .)")"
  own_ready=true
}
own_leave() { return "$1"; }
own_first() { local status=$?; first_ran=yes; own_leave "$status"; }
trap 'own_start "$_"' DEBUG
PROMPT_COMMAND='own_first;own_prompt'
PS2="$(~/prompts/render bash '' '' '' next)"
