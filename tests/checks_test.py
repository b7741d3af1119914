"""Tests of the argument checks and their messages."""

import json

import numpy as np
import pytest

from tf_mixup import checks


class TestRefusal:
    def test_three_sentences(self):
        error = checks.refusal("Rule", "x=1", "Remedy")
        assert str(error) == "Rule. Received: x=1. Remedy."


class TestRealAtLeast:
    @pytest.mark.parametrize("value", [0, 0.5, np.float32(2), "3"])
    def test_passes(self, value):
        assert checks.real_at_least("x", value, 0, remedy="r") == float(value)

    @pytest.mark.parametrize("value", [-1, np.nan, np.inf, "a", None, [1, 2]])
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"`x` must .* at least 0\. Rec"):
            checks.real_at_least("x", value, 0, remedy="r")


class TestRealBetween:
    @pytest.mark.parametrize("value", [0, 0.5, 1])
    def test_passes(self, value):
        assert checks.real_between("x", value, 0, 1, remedy="r") == value

    @pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, None])
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"`x` must .* in \[0, 1\]"):
            checks.real_between("x", value, 0, 1, remedy="r")


class TestIntegerAtLeast:
    @pytest.mark.parametrize("value", [1, np.int64(7)])
    def test_passes(self, value):
        assert checks.integer_at_least("n", value, 1, remedy="r") == value

    @pytest.mark.parametrize("value", [0, 1.0, True, "1", None])
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"`n` must be an integer"):
            checks.integer_at_least("n", value, 1, remedy="r")


class TestStatistics:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [(2, 2.0), (np.float32(2), 2.0), ([1, 2], (1.0, 2.0)), (None, 0.0)],
    )
    def test_are_floats(self, given, kept):
        mean, std = checks.statistics(given, 1)
        assert (mean, std) == (kept, 1.0)
        json.dumps(mean)

    def test_fit_the_last_axis(self):
        for shape in ((4, 2), (4, 5, 2), (4, None)):
            checks.fits_channels((1.0, 2.0), 1.0, shape)
            checks.fits_channels(1.0, (1.0,), shape)
        checks.fits_channels(1.0, 1.0, (4,))
        with pytest.raises(ValueError, match=r"`std`.*shape \(4, 1\)"):
            checks.fits_channels(0.0, (1.0, 2.0), (4, 1))


class TestOneOf:
    def test_passes(self):
        assert checks.one_of("kind", "a", ("a", "b")) == "a"

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"`kind` .* 'a', 'b'\. Received"):
            checks.one_of("kind", "c", ("a", "b"))
