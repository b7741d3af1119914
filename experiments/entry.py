"""How a binary starts and how it fails: in words."""

import logging as python_logging
import re
import sys
from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf
from absl import app
from absl import flags
from absl import logging

_TRACEBACK = flags.DEFINE_bool(
    "traceback", False, "Show where in the code an error was raised."
)
# What the caller can mend gets a sentence; anything else is ours to mend and
# shows where it happened.
MENDABLE = (ValueError, OSError, MemoryError, tf.errors.OpError)


def start(main: Callable[[], None]) -> None:
    """Parses flags and runs `main`; errors of use become one sentence.

    Args:
        main: Reads the flags and works.
    """

    def run(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
        logging.set_verbosity(logging.INFO)
        python_logging.getLogger("tensorflow").setLevel("ERROR")
        try:
            main()
        except MENDABLE as error:
            if _TRACEBACK.value:
                raise
            logging.error("%s", describe(error))
            sys.exit(1)
        except KeyboardInterrupt:
            logging.error("Interrupted.")
            sys.exit(130)

    app.run(run)


def describe(error: BaseException) -> str:
    """Returns an error's message without what is TensorFlow's own affair.

    Args:
        error: One of `MENDABLE`.

    Returns:
        message: Without names of kernels and nodes, and never empty.
    """
    if not isinstance(error, tf.errors.OpError):
        return str(error) or type(error).__name__
    lines = re.sub(r"\{\{.*?\}\} ?|\[Op:.*", "", error.message).splitlines()
    kept = [
        line.strip()
        for line in lines
        if line.strip() and not line.lstrip().startswith(("[[", "Detected at"))
    ]
    return f"{' '.join(kept)} ({type(error).__name__})"
