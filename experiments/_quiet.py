"""Loads TensorFlow without its notices; import this module first.

TensorFlow reports instructions and drivers that it found or missed, partly
before it reads `TF_CPP_MIN_LOG_LEVEL`. Other output is passed on.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# As absl's C++ writes them: severity, date, and where in the source.
NOTICE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|[IWE]\d{4} .*(port\.cc|cudart_stub\.cc|cuda_platform\.cc):\d+\]"
)


@contextlib.contextmanager
def without_notices() -> Iterator[None]:
    """Holds back stderr, also of C++, and passes on all but the notices."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not NOTICE.match(line):
                    os.write(2, line)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with without_notices():
    import tensorflow as tf

    # Looks for drivers, and says so if it finds none.
    tf.config.list_physical_devices()
