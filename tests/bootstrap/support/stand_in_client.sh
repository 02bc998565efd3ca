# shellcheck shell=bash
# What stands on PATH as kubectl, helm, flux, ssh ...: tells the stand-in world who calls, and ends as the world says.
# The world reads the rest from /proc: a run starts this a hundred times, and so it costs no more than a Bash.
exec 3<>"/dev/tcp/127.0.0.1/$LAB_STAND_IN_PORT" 4>&1 1>&3
printf 'CALL /%s HTTP/1.0\r\n\r\n' $$
mapfile -t -u 3 answer
if ((${#answer[@]} > 1)); then exec "${answer[@]:1}" 1>&4 3>&- 4>&-; fi
exit "${answer[0]:-1}"
