# A line that was entered keeps a short prompt: Enter is bound to what draws it again.
function fish_prompt
  set -l last $status
  if test "$OWN_SHORT" = 1
    set -g OWN_SHORT 0
    printf '\e[0J❯> '
  else
    ~/prompts/render fish $last "" (count (jobs -p))
  end
end
function fish_right_prompt; ~/prompts/render fish "" "" "" right; end
function own_reset --on-event fish_postexec; set -g OWN_SHORT 0; end
function own_execute
  if commandline --is-valid
    set -g OWN_SHORT 1
    commandline -f repaint
  else
    set -g OWN_SHORT 0
  end
  commandline -f execute
end
bind --user \r own_execute
bind --user -M insert \r own_execute
