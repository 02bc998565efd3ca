#!/usr/bin/env bash
# The runner's machine, over SSH. Nothing secret stands in the remote command: it travels through standard input.

VM_OUT=''
VM_ERR=''

# vm INPUT COMMAND: runs COMMAND (for a POSIX shell) on the runner's machine with INPUT on its standard input.
# 9<&-: a connection that SSH keeps open for later would otherwise keep this run's lock, too.
vm() {
  local status=0
  local -a options=(-o ConnectTimeout=10 -o ServerAliveInterval=15)
  on_terminal || options+=(-o BatchMode=yes)
  options+=("$RUNNER_USER@$RUNNER_HOST" "$2")
  VM_OUT=$(printf '%s' "$1" | ssh "${options[@]}" 2>"$LAB_TMP/ssh.err" 9<&-) || status=$?
  VM_ERR=$(<"$LAB_TMP/ssh.err")
  return "$status"
}

# vm_must WHAT INPUT COMMAND: the same, with tries for a connection that broke, and the end of the run otherwise.
# COMMAND must bear a repeat.
vm_must() {
  local what=$1 try status
  for ((try = 1; ; try++)); do
    status=0
    vm "$2" "$3" || status=$?
    if ((status == 0)); then return 0; fi
    if ((status != 255 || try >= LAB_RETRIES)); then break; fi
    if [[ $VM_ERR == *'ermission denied'* || $VM_ERR == *'verification failed'* ]]; then break; fi
    back_off "$try" "ssh: $(last_line "$VM_ERR")"
  done
  die "Could not $what on $RUNNER_HOST: ${VM_ERR:-${VM_OUT:-status $status}}" "ssh $RUNNER_USER@$RUNNER_HOST"
}

# shell_quote TEXT: TEXT as one word for a POSIX shell.
shell_quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }
