"""Runs the main function of a binary with flags, in this process."""

from types import ModuleType

from absl import flags


def run(binary: ModuleType, *arguments: str) -> None:
    """Calls `binary.main()` as the command line with these flags would."""
    before = set(flags.FLAGS)
    binary.define_flags()
    try:
        flags.FLAGS(["binary", *arguments])
        binary.main()
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
