# Every target makes its own environment first; the second time is instant.
# PYTHON=/path/to/python names the Python to make it with.
export TF_CPP_MIN_LOG_LEVEL := 2
export PYTHON
VENV := .venv
READY := $(VENV)/.installed
RUN := $(VENV)/bin/python -m
JAX_TESTS := $(addprefix tests/,calibration/bins_test.py \
	calibration/equal_mass_test.py calibration/errors_test.py \
	calibration/per_class_test.py calibration/per_example_test.py \
	callbacks/alpha_tuner_test.py \
	losses_test.py metrics_test.py mixing/layers_test.py \
	experiments/networks/networks_test.py \
	experiments/runs/checkpoint_test.py experiments/runs/optimizers_test.py)

.PHONY: demo test coverage test-slow test-lowest test-jax test-torch \
	test-peers test-ecosystem test-cluster check docs clean

demo: $(READY)
	@$(RUN) experiments.demo

test: $(READY)
	@$(RUN) pytest -n 2 --dist loadfile

# With processes that tests start; what TensorFlow rewrites is not seen.
coverage: $(READY)
	@$(RUN) pip install -q "coverage>=7.10"
	@$(RUN) coverage run -m pytest -n 2 --dist loadfile -q
	@$(RUN) coverage combine -q
	@$(RUN) coverage report --format=total --include="tf_mixup/*"
	@$(RUN) coverage report --format=total --include="experiments/*"

test-slow: $(READY)
	@$(RUN) pytest -n 2 --dist loadfile -m slow

# The oldest Keras that the library accepts, put before the installed one.
test-lowest: $(READY)
	@$(RUN) pip install -q --no-deps --upgrade --target $(VENV)/lowest \
		keras==3.12.0
	@PYTHONPATH=$(VENV)/lowest $(RUN) pytest -n 2 --ignore=tests/experiments

# What also runs on Keras' JAX backend, and whole runs there.
test-jax: $(READY)
	@$(RUN) pip install -q --upgrade --target $(VENV)/jax "jax~=0.8.0"
	@PYTHONPATH=$(VENV)/jax KERAS_BACKEND=jax $(RUN) pytest -n 2 \
		--dist loadfile $(JAX_TESTS)
	@PYTHONPATH=$(VENV)/jax KERAS_BACKEND=jax $(RUN) pytest -m slow \
		-k "jax or other_backends" tests/experiments/jax_run_test.py \
		tests/ecosystem/page_test.py

# Some of it on PyTorch, which is large.
test-torch: $(READY)
	@$(RUN) pip install -q --upgrade --target $(VENV)/torch "torch>=2.6"
	@PYTHONPATH=$(VENV)/torch KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(RUN) \
		pytest -n 2 --dist loadfile tests/calibration/errors_test.py \
		tests/losses_test.py tests/metrics_test.py
	@PYTHONPATH=$(VENV)/torch KERAS_BACKEND=torch $(RUN) pytest -m slow \
		-k other_backends tests/ecosystem/page_test.py

# Others' numbers beside ours; torch alone is large.
test-peers: $(READY)
	@$(RUN) pip install -q -e ".[peers]"
	@$(RUN) pytest -p torchvision tests/peers*_test.py

# The programs of docs/ecosystem.md, and whole ones around Keras' packages.
test-ecosystem: $(READY)
	@$(RUN) pip install -q -e ".[ecosystem]"
	@$(RUN) pytest -m "slow or not slow" tests/ecosystem

# Runs as tasks of Ray; one of two workers is killed, and one of two machines.
test-cluster: $(READY)
	@$(RUN) pip install -q -e ".[cluster]"
	@$(RUN) pytest -m "slow or not slow" tests/experiments/engines
	@$(RUN) pytest -m slow -k end_with_the_sweep tests/experiments/sweep_test.py

check: $(READY)
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(VENV)/bin/lint-imports --no-logo
	@$(RUN) mypy

# One site of the documents and the reference: build/docs/index.html.
docs: $(READY)
	@rm -rf build/pages
	@mkdir -p build/pages
	@tar cf - LICENSE *.cff *.md docs experiments/*.md experiments/gallery \
		| tar xf - -C build/pages
	@NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

clean:
	rm -rf $(VENV) $(VENV).incomplete build dist *.egg-info
	rm -rf .hypothesis .pytest_cache .mypy_cache .ruff_cache
	rm -rf .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(READY): setup.cfg pyproject.toml .ci/setup
	@.ci/setup $(VENV) $@
