#!/bin/sh
# Runs a task's set-up, its script, then its check, and leaves their exit codes in a file. It needs nothing but a shell.
#
#   start.sh GIVEN CONTROL [script | check]
#
# In a Pod, script and check have a container each: the third argument says which this is. Elsewhere this does both. The check
# has a home and temporary files of its own, so that nothing that the script left there is run by it; for the same reason the
# set-up runs again before it.
#
# GIVEN is a directory that the agent writes, read-only for the script:
#   setup, script, check   what is run, in this order; the first and the last only where there are such
#   environment   the script's environment, where it is not this program's own
#   go      waited for: the start is on record
#   go-check  waited for by the check's container: the script's has ended
#   stop    when it comes, the script is to end (for an agent that can't signal it); kill, at once
#   freeze  while it is there, the script stands still
#
# CONTROL is a directory that this program writes:
#   here    written first: this container is up, so its image was pulled
#   stdin   a named pipe: what people send
#   output  the log, appended to
#   terminated   its container was told to end from outside
#   fence   what bubblewrap says of the process space that it made
#   exit    a line "script CODE", and a line "check CODE" if there was one; "oom 1" if memory ran out; or "setup CODE", or
#           "check-setup CODE" where it failed before the check; or "fence CODE" where nothing was run, because the fence could
#           not be put up; "done 0" when it is whole
#   done    written last
# exit and fence are there with their room before the script starts, and are overwritten in place: on a full disk too.
#
# With KERUTA_FENCE, a path of bubblewrap, this shell stays outside: script and check each get a file system and a process
# space of their own, by the arguments that it is given as its standard input.
g=$1 c=$2 phase=${3:-both} go=go
r=${g%/given}
[ "$phase" = check ] && go=go-check
true >"$c/here"
while [ ! -e "$g/$go" ]; do
  [ -e "$g/stop" ] && exit 0
  sleep 0.05
done
[ -e "$g/environment" ] && . "$g/environment"
[ -n "$KERUTA_FENCE" ] && exec 8<&0
exec >>"$c/output" 2>&1
if [ "$phase" = check ]; then exec </dev/null; else exec 0<>"$c/stdin"; fi
# The script gets the signal; this shell waits for it and writes down how it ended.
trap : TERM INT HUP

record() { # record WHAT CODE
  lines="$lines$1 $2
"
  printf '%s' "$lines" 1<>"$c/exit"
}

finish() { # finish WHAT CODE
  record "$1" "$2"
  record done 0
  true >"$c/done"
  sweep
  exit "$2"
}

# Ends what the script left behind, however it left: this process is the subreaper of all of it (PR_SET_CHILD_SUBREAPER).
sweep() {
  [ -n "$KERUTA_SUBREAPER" ] || return 0
  rounds=0 left=1
  while [ -n "$left" ] && [ "$rounds" -lt 200 ]; do
    left= rounds=$((rounds + 1))
    read -r children <"/proc/$$/task/$$/children" || :
    for child in $children; do
      read -r state <"/proc/$child/stat" 2>/dev/null || continue
      case ${state##*) } in Z*) continue ;; esac
      left=1
      kill -STOP "$child" 2>/dev/null
      kill -KILL "$child" 2>/dev/null
    done
  done
}

# The set-up failed: before the script, or before the check.
unprepared() { # unprepared script|check CODE
  [ "$1" = script ] && finish setup "$2"
  finish check-setup "$2"
}

if [ -n "$KERUTA_FENCE" ]; then
  # Set-up and script share a fence: what the one started is there for the other. Only this shell has descriptor 5.
  inside='if [ -e "$1/setup" ]; then
    /bin/sh "$1/setup" 5>&- || { code=$?; echo "$code" >&5; exit "$code"; }
  fi
  exec /bin/sh "$1/$2" 5>&-'
  run() {
    printf '%-1023s\n' '' 1<>"$c/fence"
    true >"$c/setup-code"
    home=$r/home tmp=$r/tmp
    [ "$1" = check ] && home=$r/check-home tmp=$r/check-tmp
    "$KERUTA_FENCE" --bind "$tmp" /tmp --bind "$tmp" /var/tmp --args 8 --bind "$home" "${KERUTA_GIVEN%/given}/home" \
      --remount-ro / --json-status-fd 9 -- /bin/sh -c "$inside" sh "$KERUTA_GIVEN" "$1" \
      8</proc/self/fd/8 9<>"$c/fence" 5>"$c/setup-code"
    code=$? started=
    while read -r line; do
      case $line in *'"exit-code"'*) started=1 ;; esac
    done <"$c/fence"
    [ -n "$started" ] || [ "$code" -gt 128 ] || finish fence "$code"
    read -r setup <"$c/setup-code" && unprepared "$1" "$setup"
    return "$code"
  }
else
  cd "$KERUTA_WORKSPACE" || exit 126
  if [ -n "$KERUTA_WATCH_STOP" ]; then
    trap ': >"$c/terminated"' TERM INT HUP
    looks=0
    shell() {
      setsid sh "$1" &
      child=$!
      while kill -0 "$child" 2>/dev/null; do
        if [ -z "$told" ] && { [ -e "$g/stop" ] || [ -e "$c/terminated" ]; }; then
          told=1
          kill -TERM -"$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null
        fi
        if [ -e "$g/freeze" ]; then
          [ -n "$frozen" ] || kill -STOP -"$child" 2>/dev/null
          frozen=1
        elif [ -n "$frozen" ]; then
          kill -CONT -"$child" 2>/dev/null
          frozen=
        fi
        # The Pod ends: a script that goes on leaves its agent no time to keep what is there.
        [ -e "$c/terminated" ] && looks=$((looks + 1)) && [ "$looks" -gt "${KERUTA_LAST_LOOKS:-300}" ] &&
          { kill -KILL -"$child" 2>/dev/null || kill -KILL "$child" 2>/dev/null; }
        [ -e "$g/kill" ] && { kill -KILL -"$child" 2>/dev/null || kill -KILL "$child" 2>/dev/null; }
        sleep 0.1
      done
      wait "$child"
    }
  else
    shell() { sh "$1"; }
  fi
  run() {
    [ "$1" = check ] && [ "$HOME" = "$r/home" ] && [ -d "$r/check-home" ] && HOME=$r/check-home
    if [ -e "$g/setup" ]; then
      shell "$g/setup"
      code=$?
      [ "$code" -eq 0 ] || unprepared "$1" "$code"
    fi
    shell "$g/$1"
  }
fi

# The kernel kills the largest process of the container, not this shell: it can still say so.
note_memory() {
  if [ "$1" -eq 137 ] && [ -n "$KERUTA_WATCH_STOP" ]; then
    grep -qs '^oom_kill [1-9]' /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control &&
      record oom 1
  fi
}

if [ "$phase" = check ]; then
  [ -e "$g/stop" ] && finish stopped 0
  run check
  code=$?
  note_memory "$code"
  finish check "$code"
fi
run script
code=$?
if [ "$code" -eq 0 ] && [ "$phase" = both ] && [ -e "$g/check" ]; then
  record script 0
  true >"$c/checking"
  run check
  finish check $?
fi
note_memory "$code"
finish script "$code"
