#!/bin/sh
# Starts the judge in polarity.awk, whichever awk this machine has.
LC_ALL=C # text is bytes
export LC_ALL
program="$(dirname "$0")/polarity.awk"
case "$(awk -W version 2>/dev/null </dev/null)" in
    mawk*) exec awk -W interactive -f "$program" ;; # else mawk waits for more input than one suite has
    *) exec awk -f "$program" ;;
esac
