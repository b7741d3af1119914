"""Tests of how binaries fail."""

import errno
import sys

import pytest
import tensorflow as tf
from absl import app
from absl import flags
from absl.testing import flagsaver

from experiments import _entry


@pytest.fixture(autouse=True)
def command(monkeypatch):
    """Leaves the parsing of flags out: pytest has its own command line."""
    with flagsaver.flagsaver():
        flags.FLAGS.mark_as_parsed()
        monkeypatch.setattr(app, "run", lambda main: main(["binary"]))
        yield


def fail_with(error):
    def main():
        raise error

    return main


def invalid_argument():
    try:
        tf.io.decode_image(b"no image")
    except tf.errors.InvalidArgumentError as error:
        return error
    return None


class TestStart:
    @pytest.mark.parametrize(
        ("name", "value", "rule"),
        [
            ("workdir", "", "must name a folder. Received: --workdir=''."),
            ("data_dir", "", "must name a folder. Received: --data_dir=''."),
            ("workdir", "a\udcff", "must be a name in UTF-8. Received: "),
        ],
    )
    def test_names_of_folders(self, name, value, rule, monkeypatch):
        said = []
        monkeypatch.setattr(
            _entry.logging,
            "error",
            lambda text, *rest: said.append(text % rest),
        )
        values = flags.FlagValues()
        flags.DEFINE_string(name, value, "", flag_values=values)
        flags.DEFINE_bool("traceback", False, "", flag_values=values)
        values.mark_as_parsed()
        monkeypatch.setattr(flags, "FLAGS", values)
        with pytest.raises(SystemExit):
            _entry.start(pytest.fail)
        assert said[0].startswith(f"--{name} {rule}")

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (ValueError("A rule. Received: x=1. A remedy."), "A rule. Rec"),
            (FileNotFoundError("Fetch it with `x`."), "Fetch it with `x`."),
            (OSError(errno.ENOSPC, "No space left"), "No space left"),
            (MemoryError("Unable to allocate 9 TiB"), "Unable to allocate"),
            (MemoryError(), "MemoryError"),
            (invalid_argument(), "Unknown image file format"),
        ],
    )
    def test_what_the_caller_can_fix_is_a_sentence(
        self, error, message, monkeypatch
    ):
        said = []
        monkeypatch.setattr(
            _entry.logging,
            "error",
            lambda text, *rest: said.append(text % rest),
        )
        with pytest.raises(SystemExit) as caught:
            _entry.start(fail_with(error))
        assert caught.value.code == 1
        assert len(said) == 1
        assert message in said[0]
        assert "\n" not in said[0]

    def test_what_we_must_fix_shows_where(self):
        with pytest.raises(KeyError):
            _entry.start(fail_with(KeyError("a bug")))

    def test_traceback_shows_where(self):
        with (
            flagsaver.flagsaver(traceback=True),
            pytest.raises(ValueError, match="A rule"),
        ):
            _entry.start(fail_with(ValueError("A rule")))

    def test_interruption_is_no_traceback(self):
        with pytest.raises(SystemExit) as caught:
            _entry.start(fail_with(KeyboardInterrupt()))
        assert caught.value.code == 130

    def test_stray_arguments_are_refused(self, monkeypatch):
        monkeypatch.setattr(app, "run", lambda main: main(["binary", "alpha"]))
        with pytest.raises(app.UsageError, match="alpha"):
            _entry.start(sys.exit)

    def test_a_good_end_is_quiet(self, capfd):
        _entry.start(lambda: None)
        assert capfd.readouterr() == ("", "")


class TestDescribe:
    def test_names_no_kernel(self):
        text = _entry.describe(invalid_argument())
        assert text.startswith("Unknown image file format")
        assert text.endswith("(InvalidArgumentError)")
        assert "{{" not in text
        assert "[Op:" not in text

    def test_leaves_out_the_graph(self):
        message = (
            "Graph execution error:\n\nDetected at node gather defined at"
            " (most recent call last):\n<stack traces unavailable>\n"
            "indices[0] = 9 is not in [0, 4)\n\t [[{{node gather}}]]"
            " [Op:__inference_1]"
        )
        error = tf.errors.InvalidArgumentError(None, None, message)
        text = _entry.describe(error)
        assert "indices[0] = 9 is not in [0, 4)" in text
        assert "node" not in text

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.EISDIR, "Is a directory", "w/record.json"),
            OSError(errno.ENAMETOOLONG, "File name too long", "w" * 300),
            tf.errors.ResourceExhaustedError(
                None, None, "events; No space left on device"
            ),
        ],
    )
    def test_says_what_to_do_about_files(self, error):
        text = _entry.describe(error)
        assert text.startswith("Files must exist and be readable and writable.")
        assert str(getattr(error, "filename", "events; No space")) in text
        assert text.endswith("run the same command again.")

    def test_leaves_a_whole_sentence_alone(self):
        message = "A file must fit. Received: w. Make room."
        assert _entry.describe(OSError(message)) == message
