# The complete developer interface; CONTRIBUTING.md describes the targets. Everything is written to .venv and to other
# folders that git ignores.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test faults faults-tools mutants test-torch lint format bench screenshots lock clean
.DEFAULT_GOAL := demo

# Builds a catalog of the sample logos and the synthetic register, and serves it at http://127.0.0.1:8000.
demo: .venv/installed
	$(BIN)/logo-similarity build samples/marks.jsonl --images samples --out catalogs
	@echo "the command is $(BIN)/logo-similarity; to use it without its path: source $(BIN)/activate"
	@echo "serving on http://127.0.0.1:$${LOGO_PORT:-8000}  (the page: /; API documentation: /docs; stop with Ctrl+C; another port: LOGO_PORT=8001 make demo)"
	LOGO_LOG_FORMAT=$${LOGO_LOG_FORMAT:-console} $(BIN)/logo-similarity serve --catalogs catalogs --images samples

test: .venv/installed-dev
	@echo "running the tests: about a quarter of an hour on two cores"
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# The long forms of the tests that kill, swap and exhaust a service, and the tests of the deployment files: about 25
# minutes. Needs root and the packages that `make faults-tools` installs.
faults: .venv/installed-dev
	LOGO_TEST_SWAPS=50 LOGO_TEST_KILLS=20 LOGO_TEST_REQUESTS=20000 LOGO_TEST_SECONDS=150 LOGO_TEST_HOSTILE=all \
	LOGO_TEST_IMAGES=600 LOGO_TEST_IDLE_SECONDS=120 \
	  $(BIN)/python -m pytest --override-ini='norecursedirs=.*' tests/faults tests/e2e/test_swap.py tests/e2e/test_replica.py \
	  tests/e2e/test_hostile_catalogs.py tests/e2e/test_nothing_leaves.py tests/deploy

faults-tools:
	apt-get install -qy --no-install-recommends nginx-light faketime prometheus buildah debootstrap systemd strace chromium \
	  fonts-dejavu-core

# Mutation testing of one module (`make mutants MODULES=logo_similarity/image/png.py`), or of every module listed in
# scripts/mutants.py.
mutants: .venv/installed-dev
	$(BIN)/pip install --quiet -e '.[mutants]'
	nice -n 10 $(BIN)/python -m scripts.mutants $(MODULES)

# Tests of training and export, in a separate environment with torch.
test-torch: .venv-torch/installed
	.venv-torch/bin/python -m pytest '--override-ini=norecursedirs=.*' tests/torch

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed .venv-bench/installed
	.venv-bench/bin/python -m benchmarks.run

# The pictures of the page in the documentation, in a browser on a new catalog like that of `make demo`.
screenshots: .venv/installed-dev
	$(BIN)/python -m scripts.screenshots

# Pins every dependency with its hashes. Needs uv (pip install uv).
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --extra cpu --extra dev pyproject.toml -o requirements-dev.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --extra client --extra cpu --extra milvus --extra otel --extra redis --extra reports -c requirements-dev.lock pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --extra client --extra gpu --extra milvus --extra otel --extra redis --extra reports -c requirements-dev.lock pyproject.toml -o requirements-gpu.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --extra cpu --extra bench -c requirements-dev.lock pyproject.toml -o requirements-bench.lock
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade - -o requirements-build.lock

clean:
	rm -rf .venv .venv-bench .venv-torch build dist catalogs .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv-torch/installed: pyproject.toml | .venv/bin/python
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/pip install --quiet -e '.[cpu,train,export,dev]'
	@touch $@

.venv-bench/installed: requirements-bench.lock pyproject.toml | .venv/bin/python
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --require-hashes -r requirements-bench.lock
	.venv-bench/bin/pip install --quiet --no-deps -e .
	@touch $@

# On Debian, the venv module is a separate package.
.venv/bin/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && apt-get install -qy "python$$version-venv"; \
	  else \
	    echo "Python's venv module is missing: run 'sudo apt-get install python$$version-venv' and make again" >&2; exit 1; \
	  fi; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@

.venv/installed-dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@ .venv/installed
