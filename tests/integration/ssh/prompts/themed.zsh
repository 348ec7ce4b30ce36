# A theme with git in it and hooks of directories; aliases, suggestions that redraw, completion.
autoload -Uz compinit colors add-zsh-hook; compinit -u -D; colors
setopt promptsubst auto_cd share_history hist_verify extended_history
HISTFILE=~/prompts/history HISTSIZE=1000 SAVEHIST=1000
own_branch() { git rev-parse --abbrev-ref HEAD 2> /dev/null }
own_status() { local s=$?; ~/prompts/render zsh $s "" 0 > /dev/null; return $s }
own_directory() { trap -- '' SIGINT; eval "$(echo 'export OWN_HOOK=1')"; trap - SIGINT }
typeset -ag precmd_functions chpwd_functions
(( ${precmd_functions[(I)own_directory]} )) || precmd_functions=(own_directory $precmd_functions)
(( ${chpwd_functions[(I)own_directory]} )) || chpwd_functions=(own_directory $chpwd_functions)
own_title() { print -Pn "\e]0;%~\a" }
own_title_line() { print -n "\e]0;${1[(w)1]}\a" }
add-zsh-hook precmd own_title
add-zsh-hook preexec own_title_line
own_suggest() { zle .self-insert; POSTDISPLAY= ; region_highlight=("0 1 fg=green") }
zle -N self-insert own_suggest
alias ll='ls -l' g=git
PROMPT='%{$fg[cyan]%}%c%{$reset_color%}$(own_status) $(own_branch) %(?:%{$fg_bold[green]%}:%{$fg_bold[red]%})❯>%{$reset_color%} '
RPS1='%(?..%F{red}%?%f)'
