"""How a binary starts and how it fails: in words."""

import logging as python_logging
import sys
from collections.abc import Callable
from collections.abc import Sequence

from absl import app
from absl import flags
from absl import logging

_TRACEBACK = flags.DEFINE_bool(
    "traceback", False, "Show where in the code an error was raised."
)
# What the caller can mend gets a sentence; anything else is ours to mend and
# shows where it happened.
MENDABLE = (ValueError, OSError)


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
            logging.error("%s", error)
            sys.exit(1)

    app.run(run)
