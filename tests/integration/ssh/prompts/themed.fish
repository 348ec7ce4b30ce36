# git in the prompt, hooks of directories and of lines, abbreviations, keys of vi.
fish_vi_key_bindings
function fish_prompt
  set -l last $status
  ~/prompts/render fish $last "" 0 > /dev/null
  set_color cyan; printf '%s ' (prompt_pwd)
  printf '%s' (git rev-parse --abbrev-ref HEAD 2> /dev/null)
  test $last = 0; and set_color green; or set_color red
  printf '❯> '; set_color normal
end
function own_environment --on-event fish_prompt; eval (echo 'set -gx OWN_HOOK 1'); end
function own_directory --on-variable PWD; set -g OWN_MOVED 1; end
function fish_title; echo $_ (prompt_pwd); end
abbr -a -g gs git status
