"""Starts binaries and turns errors of use into one sentence."""

import errno
import logging as python_logging
import os
import re
import sys
from collections.abc import Callable
from collections.abc import Sequence

from experiments import _quiet as _quiet

# isort: split
import tensorflow as tf
from absl import app
from absl import flags
from absl import logging

from tf_mixup import _checks

_TRACEBACK = flags.DEFINE_bool(
    "traceback", False, "Show where in the code an error was raised."
)
# Errors that the caller can fix end in one sentence, others in a traceback.
USER_ERRORS = (ValueError, OSError, MemoryError, tf.errors.OpError)


def start(
    main: Callable[[], None], define_flags: Callable[[], None] | None = None
) -> None:
    """Parses flags and runs `main`; errors of use become one sentence."""
    if define_flags:
        define_flags()

    def run(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
        logging.set_verbosity(logging.INFO)
        python_logging.getLogger("tensorflow").setLevel("ERROR")
        try:
            _check_folders()
            main()
        except USER_ERRORS as error:
            if _TRACEBACK.value:
                raise
            logging.error("%s", describe(error))
            sys.exit(1)
        except KeyboardInterrupt:
            logging.error("Interrupted.")
            sys.exit(130)

    app.run(run)


def _check_folders() -> None:
    """Refuses folder names that are empty or that TensorFlow cannot write."""
    for name in ("workdir", "data_dir"):
        value = flags.FLAGS[name].value if name in flags.FLAGS else None
        if value == "":
            # It would be the current folder.
            raise _checks.refusal(
                f"--{name} must name a folder",
                f"--{name}=''",
                f"Leave it out, or write --{name}=. for this folder",
            )
        if name == "workdir" and value and not _is_text(value):
            # TensorFlow writes files of summaries there.
            raise _checks.refusal(
                "--workdir must be a name in UTF-8",
                f"--workdir={value!a}",
                "Choose a folder of another name",
            )


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def describe(error: BaseException) -> str:
    """Returns an error's message without TensorFlow's internals."""
    message = _describe(error)
    refused = isinstance(error, OSError) and error.errno is not None
    full = os.strerror(errno.ENOSPC)
    if (refused or full in message) and "Received: " not in message:
        message = (
            "Files must exist and be readable and writable. Received:"
            f" {message}. Free space, or remove what blocks the file, and run"
            " the same command again."
        )
    return message


def _describe(error: BaseException) -> str:
    """Returns an error's message on one line."""
    if not isinstance(error, tf.errors.OpError):
        return str(error) or type(error).__name__
    lines = re.sub(r"\{\{.*?\}\} ?|\[Op:.*", "", error.message).splitlines()
    kept = [
        line.strip()
        for line in lines
        if line.strip() and not line.lstrip().startswith(("[[", "Detected at"))
    ]
    return f"{' '.join(kept)} ({type(error).__name__})"
