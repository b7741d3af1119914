"""Tests of the argument checks and their messages."""

import json

import numpy as np
import pytest

from tf_mixup import _checks
from tf_mixup._checks import channels


class TestRefusal:
    def test_three_sentences(self):
        error = _checks.refusal("Rule", "x=1", "Remedy")
        assert str(error) == "Rule. Received: x=1. Remedy."


class TestRealAtLeast:
    @pytest.mark.parametrize("value", [0, 0.5, np.float32(2), np.array(3)])
    def test_passes(self, value):
        assert _checks.real_at_least("x", value, 0, remedy="r") == float(value)

    @pytest.mark.parametrize(
        "value", [-1, np.nan, np.inf, "a", "3", None, [1, 2], 10**400]
    )
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"`x` must .* at least 0\. Rec"):
            _checks.real_at_least("x", value, 0, remedy="r")

    @pytest.mark.parametrize("value", [3.5e38, 1e39, 1e-38, 1e-45, 1e-320])
    def test_refuses_what_the_type_cannot_hold(self, value):
        with pytest.raises(ValueError, match=r"`x` must .* float32 can hold"):
            _checks.real_at_least("x", value, 0, remedy="r")
        assert _checks.real_at_least(
            "x", max(value, 1e-300), 0, remedy="r", dtype="float64"
        )

    @pytest.mark.parametrize("value", [3.4e38, 1.2e-38, 0.0])
    def test_passes_what_the_type_can_hold(self, value):
        assert _checks.real_at_least("x", value, 0, remedy="r") == value


class TestRealBetween:
    @pytest.mark.parametrize("value", [0, 0.5, 1])
    def test_passes(self, value):
        assert _checks.real_between("x", value, 0, 1, remedy="r") == value

    @pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, None])
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"`x` must .* in \[0, 1\]"):
            _checks.real_between("x", value, 0, 1, remedy="r")

    def test_refuses_what_the_type_cannot_hold(self):
        with pytest.raises(ValueError, match="float32 can hold"):
            _checks.real_between("x", 1e-45, 0, 1, remedy="r")


class TestIntegerAtLeast:
    @pytest.mark.parametrize("value", [1, np.int64(7)])
    def test_passes(self, value):
        assert _checks.integer_at_least("n", value, 1, remedy="r") == value

    @pytest.mark.parametrize("value", [0, 1.0, True, "1", None])
    def test_refuses(self, value):
        with pytest.raises(ValueError, match=r"`n` must be an integer"):
            _checks.integer_at_least("n", value, 1, remedy="r")

    def test_refuses_what_the_type_cannot_hold(self):
        with pytest.raises(ValueError, match="int64 can hold"):
            _checks.integer_at_least("n", 2**63, 1, remedy="r")
        with pytest.raises(ValueError, match="int32 can hold"):
            _checks.integer_at_least("n", 2**31, 1, remedy="r", dtype="int32")


class TestStatistics:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [(2, 2.0), (np.float32(2), 2.0), ([1, 2], (1.0, 2.0)), (None, 0.0)],
    )
    def test_are_floats(self, given, kept):
        mean, std = channels.statistics(given, 1)
        assert (mean, std) == (kept, 1.0)
        json.dumps(mean)

    def test_fit_the_last_axis(self):
        for shape in ((4, 2), (4, 5, 2), (4, None)):
            channels.check_fit((1.0, 2.0), 1.0, shape)
            channels.check_fit(1.0, (1.0,), shape)
        channels.check_fit(1.0, 1.0, (4,))
        with pytest.raises(ValueError, match=r"`std`.*shape \(4, 1\)"):
            channels.check_fit(0.0, (1.0, 2.0), (4, 1))

    @pytest.mark.parametrize(
        "options",
        [
            {"std": 1e-45},
            {"std": 3e38},
            {"std": [1.0, 1e-39]},
            {"mean": 1e39},
            {"mean": [0.0, 1e-40]},
            {"mean": [10**400]},
        ],
    )
    def test_refuses_what_float32_cannot_hold(self, options):
        with pytest.raises(ValueError, match=r"`(std|mean)` must be a"):
            channels.statistics(**{"mean": None, "std": None} | options)


class TestChannels:
    def test_are_on_the_last_axis(self):
        assert [channels.find_axis(rank) for rank in (1, 2, 3, 4)] == [
            *(0, 1, 2, 3)
        ]
        assert channels.along((1.0, 2.0), 4).shape == (2,)
        assert channels.along(1.0, 4).shape == ()

    def test_follow_the_format_of_keras(self, channels_first):
        del channels_first
        assert [channels.find_axis(rank) for rank in (1, 2, 3, 4)] == [
            *(0, 1, 1, 1)
        ]
        assert channels.along((1.0, 2.0), 4).shape == (2, 1, 1)
        assert channels.along((1.0, 2.0), 2).shape == (2,)
        channels.check_fit((1.0, 2.0), 1.0, (4, 2, 5, 5))
        with pytest.raises(ValueError, match=r"axis 1.*image_data_format"):
            channels.check_fit((1.0, 2.0), 1.0, (4, 5, 5, 2))


class TestOneOf:
    def test_passes(self):
        assert _checks.one_of("kind", "a", ("a", "b")) == "a"

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"`kind` .* 'a', 'b'\. Received"):
            _checks.one_of("kind", "c", ("a", "b"))


class TestBoolean:
    @pytest.mark.parametrize("value", [True, np.bool_(False)])
    def test_passes(self, value):
        assert _checks.boolean("clean", value) is bool(value)

    @pytest.mark.parametrize("value", [1, "no", None])
    def test_refuses(self, value):
        with pytest.raises(ValueError, match="`clean` must be True or False"):
            _checks.boolean("clean", value)


class TestStatisticsForms:
    @pytest.mark.parametrize(
        "wrong",
        [
            "1",
            np.ma.masked_array(np.ones(3), mask=[1, 0, 0]),
            1j,
            np.array([1], "M8[s]"),
        ],
    )
    def test_refuses_what_is_no_number(self, wrong):
        with pytest.raises(ValueError, match="`std` must be a finite number"):
            channels.statistics(None, wrong)
