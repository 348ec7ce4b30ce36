# A program draws both sides; status, statuses of a pipe and duration are fish's own.
function fish_prompt
  set -l pipes $pipestatus
  set -l last $status
  set -l took
  if set -q OWN_START; set took (math (~/prompts/clock) - $OWN_START); end
  echo "$pipes" >> ~/prompts/pipes
  ~/prompts/render fish $last "$took" (count (jobs -p))
end
function fish_right_prompt; ~/prompts/render fish "" "" "" right; end
function own_start --on-event fish_preexec; set -g OWN_START (~/prompts/clock); end
function own_cancel --on-event fish_cancel; set -e OWN_START; end
builtin functions -e fish_mode_prompt
set -g VIRTUAL_ENV_DISABLE_PROMPT 1
