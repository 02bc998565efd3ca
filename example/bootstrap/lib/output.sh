#!/usr/bin/env bash
# What the owner sees: stages, progress, warnings, questions, and failures with a way out.

readonly DIED=101     # the status of a subshell that has already said why

dry_run=false
assume_yes=false
current_stage=''
shown_secrets=()      # every secret met so far, so that no message can carry one

set_dry_run() { dry_run=true; }
set_assume_yes() { assume_yes=true; }
dry_run() { $dry_run; }

# Colours help on a terminal and hurt in a log.
if [[ -t 1 && -z ${NO_COLOR-} ]]; then
  bold=$'\e[1m' green=$'\e[32m' yellow=$'\e[33m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' green='' yellow='' red='' plain=''
fi

# begin_stage NAME TITLE
begin_stage() {
  current_stage=$1
  printf '\n%s== %s%s\n' "$bold" "$2" "$plain"
}

# One line each: what is there already, what was done just now, what a dry run leaves undone.
have() { printf '   %sok%s     %s\n' "$green" "$plain" "$1"; }
did() { printf '   %sdone%s   %s\n' "$green" "$plain" "$1"; }
would() { printf '   %swould%s  %s\n' "$yellow" "$plain" "$1"; }
skip() { printf '   -      %s\n' "$1"; }
# doing WHAT: what takes its time just now. Inside $(...) standard output is somebody's value: a second try must not
# end up in it.
doing() {
  if ((BASH_SUBSHELL > 0)); then
    printf '   ...    %s\n' "$1" >&2
  else
    printf '   ...    %s\n' "$1"
  fi
}

warn() { printf '   %swarn%s   %s\n' "$yellow" "$plain" "$(redact "$1" | indent)" >&2; }

# bad CHECK WHAT FIX: one of several things to mend.
bad() {
  printf '   %sbad%s    [%s] %s\n          %s\n' "$red" "$plain" "$1" "$(redact "$2" | indent)" \
    "$(redact "$3" | indent)" >&2
}

# hide_secret VALUE: from now on VALUE is blotted out of everything that redact sees.
hide_secret() {
  if ((${#1} >= 6)); then shown_secrets+=("$1"); fi
}

# redact TEXT: TEXT without any secret, plain or in base64 as kubectl's errors quote it.
redact() {
  local text=$1 secret encoded
  for secret in ${shown_secrets[@]+"${shown_secrets[@]}"}; do
    text=${text//"$secret"/[hidden]}
    encoded=$(printf '%s' "$secret" | base64 | tr -d '\n')
    text=${text//"${encoded%%=*}"/[hidden]}
  done
  printf '%s' "$text"
}

# die WHAT [LOOK_AT [GO_ON]]: the end of this run. Says what happened, what to look at, how to go on.
die() {
  local go_on=${3-}
  if [[ -z $go_on && $current_stage == verify ]]; then
    go_on='mend that, then run ./bootstrap.sh verify'
  elif [[ -z $go_on ]]; then
    go_on="mend that, then run ./bootstrap.sh again${current_stage:+ (--from $current_stage skips what comes before)}"
  fi
  {
    printf '\n   %sfailed%s %s\n' "$red" "$plain" "$(redact "$1" | indent)"
    if [[ -n ${2-} ]]; then printf '   look   %s\n' "$(redact "$2" | indent)"; fi
    printf '   then   %s\n' "$(redact "$go_on" | indent)"
  } >&2
  if ((BASH_SUBSHELL > 0)); then exit "$DIED"; fi
  exit 1
}

# indent: continues a message of several lines under its first one.
indent() {
  local line first=true
  while IFS= read -r line || [[ -n $line ]]; do
    if $first; then printf '%s' "$line"; else printf '\n          %s' "$line"; fi
    first=false
  done
}

# on_terminal: there is somebody who can answer. Found out once: inside $(...) standard output is a pipe.
terminal=false
if [[ -t 0 && -t 1 ]]; then terminal=true; fi
on_terminal() { $terminal; }

# can_ask: somebody answers, and has not said beforehand that the answer is always yes.
can_ask() { $terminal && ! $assume_yes; }

# ask_yes QUESTION HOW_WITHOUT_TERMINAL: true for yes. Without a terminal it never guesses: it ends the run.
ask_yes() {
  local answer
  if $assume_yes; then return 0; fi
  on_terminal || die "There is no terminal to ask: $1" '' "$2"
  read -r -p "   ?      $1 [y/N] " answer || answer=''
  [[ $answer == [yY]* ]]
}

# ask_line QUESTION VARIABLE: prints the answer; VARIABLE is what to set where there is no terminal.
ask_line() {
  local answer
  on_terminal || die "There is no terminal to ask: $1" '' "set $2 and run ./bootstrap.sh again"
  read -r -p "   ?      $1 " answer || answer=''
  [[ -n $answer ]] || die "No answer to: $1" '' "set $2, or run ./bootstrap.sh again"
  printf '%s' "$answer"
}

# finish_output [ONLY_STAGE]: the last words of a run without a failure.
finish_output() {
  if dry_run; then
    printf '\nNothing was changed. Without --dry-run the lines marked "would" are done.\n'
  elif [[ -z $1 ]]; then
    printf '\n%sThe lab "%s" is up:%s %s\n' "$bold" "$LAB_NAME" "$plain" "$GITLAB_URL"
    printf 'Sign in as root. The password:\n  %s\n' \
      "kubectl get secret gitlab-root -n $GITLAB_NAMESPACE -o jsonpath={.data.password} | base64 -d"
    printf 'Prove the loop again at any time: ./bootstrap.sh verify\n'
  fi
}
