#!/bin/sh
# demo.sh JOB.yaml: give a job to the installation, wait for its end, show its first answers and its balance.
set -eu
job=$(basename "$(dirname "$1")")-$(cat /proc/sys/kernel/random/uuid | cut -c 1-8)
manyhands submit "$1" --upload --id "$job" --wait
echo
manyhands results "$job" | head -n 11
echo
manyhands audit "$job"
