#!/bin/sh
# Runs a task's set-up, its script, then its check, and leaves their exit codes in a file. It needs nothing but a shell.
#
#   start.sh CONTROL
#
# CONTROL is a directory that it shares with the agent:
#   here    written first: this container is up, so its image was pulled
#   go      waited for: the start is on record
#   stdin   a named pipe: what people send
#   output  the log, appended to
#   stop    when it comes, the script is to end (for an agent that can't signal it); kill, at once
#   terminated   its container was told to end from outside
#   exit    a line "script CODE", and a line "check CODE" if there was one; "oom 1" if memory ran out; or "setup CODE"
#   done    written last
c=$1
: >"$c/here"
while [ ! -e "$c/go" ]; do
  [ -e "$c/stop" ] && exit 0
  sleep 0.05
done
[ -e "$c/environment" ] && . "$c/environment"
exec >>"$c/output" 2>&1 0<>"$c/stdin"
# The script gets the signal; this shell waits for it and writes down how it ended.
trap : TERM INT HUP
cd "$KERUTA_WORKSPACE" || exit 126

if [ -n "$KERUTA_WATCH_STOP" ]; then
  trap ': >"$c/terminated"' TERM INT HUP
  run() {
    setsid sh "$1" &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
      if [ -z "$told" ] && { [ -e "$c/stop" ] || [ -e "$c/terminated" ]; }; then
        told=1
        kill -TERM -"$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null
      fi
      [ -e "$c/kill" ] && { kill -KILL -"$child" 2>/dev/null || kill -KILL "$child" 2>/dev/null; }
      sleep 0.1
    done
    wait "$child"
  }
else
  run() { sh "$1"; }
fi

if [ -e "$c/setup" ]; then
  run "$c/setup"
  code=$?
  if [ "$code" -ne 0 ]; then
    printf 'setup %d\n' "$code" >"$c/exit"
    : >"$c/done"
    exit "$code"
  fi
fi
run "$c/script"
code=$?
if [ "$code" -eq 0 ] && [ -e "$c/check" ]; then
  printf 'script 0\n' >"$c/exit"
  : >"$c/checking"
  run "$c/check"
  code=$?
  printf 'check %d\n' "$code" >>"$c/exit"
  : >"$c/done"
else
  # The kernel kills the largest process of the container, not this shell: it can still say so.
  if [ "$code" -eq 137 ] && [ -n "$KERUTA_WATCH_STOP" ]; then
    grep -qs '^oom_kill [1-9]' /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control &&
      printf 'oom 1\n' >"$c/exit"
  fi
  printf 'script %d\n' "$code" >>"$c/exit"
  : >"$c/done"
fi
exit "$code"
