"""What a run keeps of its network's answers."""

import numpy as np

from experiments.runs import outputs
from experiments.runs.outputs import Outputs

LOGITS = np.array([[0.0, np.log(3.0)], [200.0, -200.0]], np.float32)
OUTPUTS = Outputs(
    {"validation": LOGITS, "test": LOGITS[:1], "ood_far": LOGITS},
    {
        "validation": np.array([0, 1], np.int32),
        "test": np.array([1], np.int32),
    },
)


class TestOutputs:
    def test_probabilities_by_hand(self):
        expected = [[0.25, 0.75], [1.0, 0.0]]
        found = OUTPUTS.probabilities("validation")
        np.testing.assert_allclose(found, expected, atol=1e-7)
        np.testing.assert_allclose(OUTPUTS.confidence("ood_far"), [0.75, 1])

    def test_names_of_sets_from_elsewhere(self):
        assert OUTPUTS.ood_names == ["far"]

    def test_logarithms_of_probabilities_are_logits(self):
        again = outputs.softmax(np.log(OUTPUTS.probabilities("test")))
        np.testing.assert_allclose(again, [[0.25, 0.75]], rtol=1e-6)


class TestFile:
    def test_round_trip(self, tmp_path):
        path = tmp_path / "predictions.npz"
        for posterior in (None, np.array([[0.5, 0.5]])):
            written = Outputs(OUTPUTS.logits, OUTPUTS.labels, posterior)
            outputs.write(written, path)
            found = outputs.read(path)
            for kind in ("logits", "labels"):
                left, right = getattr(found, kind), getattr(written, kind)
                assert left.keys() == right.keys()
                for name, array in left.items():
                    np.testing.assert_array_equal(array, right[name])
            if posterior is None:
                assert found.posterior is None
            else:
                np.testing.assert_array_equal(found.posterior, posterior)
