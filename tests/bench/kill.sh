#!/bin/sh
# kill.sh [--kills N] [--seed N] [sqlite|postgres] - 1,000 SIGKILLs of a coordinator at random moments
# under write load, on each database: the same as tests/interop/durable.sh, which does some.
exec sh "$(dirname "$0")/../interop/durable.sh" --kills 1000 "$@"
