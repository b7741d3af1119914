#!/usr/bin/env bash
# Ray 2.60.0: within `ray.wait` the exit code of a signal's handler becomes 1.
#
# Expected: a handler that calls `sys.exit(143)` ends the process with 143, as
# it does in `time.sleep` or in any other function that waits.
# Guess before the run: the code is lost, and the process ends with 0, since Ray
# calls handlers from C++ and turns what they raise into a status.
# Seen: `time.sleep` ends with 143, `ray.wait` and `ray.get` raise
# `SystemExit(1)`, and `concurrent.futures.wait` of `ObjectRef.future()` ends
# with 143.
# Why it matters: schedulers tell a job that gave its machine back (143, or a
# code of the user's own) from one that failed (1), and do not start the second
# kind again.
# Source: `check_status` in python/ray/includes/common.pxi, which raises a new
# SystemExit for the status UnexpectedSystemExit.
#
# Exits with 0 if this still holds, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check "ray==2.60.0"
cat > "$folder/waiting.py" <<'PYTHON'
import concurrent.futures
import os
import signal
import sys
import threading
import time

import ray

ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
task = ray.remote(lambda: time.sleep(60)).remote()
threading.Timer(3, os.kill, (os.getpid(), signal.SIGTERM)).start()
{
    "time.sleep": lambda: time.sleep(60),
    "ray.wait": lambda: ray.wait([task]),
    "ray.get": lambda: ray.get(task),
    "future": lambda: concurrent.futures.wait([task.future()]),
}[sys.argv[1]]()
PYTHON
as_seen=0
while read -r waits expected; do
    code=0
    # Ray writes a token into the home folder.
    HOME=$folder "$folder/venv/bin/python" "$folder/waiting.py" "$waits" \
        2> /dev/null || code=$?
    echo "$waits: exit code $code"
    [ "$code" = "$expected" ] || as_seen=1
done <<'CODES'
time.sleep 143
ray.wait 1
ray.get 1
future 143
CODES
[ "$as_seen" = 0 ] && echo "as seen" || echo "it has changed"
exit "$as_seen"
