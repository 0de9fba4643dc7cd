# Everything runs in .venv, which the first target that needs it creates.
# Pass arguments with ARGS: make train ARGS="--seeds 10"

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.PHONY: train test lint types slow bench clean

train: .venv/.installed
	$(BIN)/python train.py --envs CartPole,Acrobot $(ARGS)

# One thread each: two test processes with as many threads as there are cores get in each other's way.
test slow: export OMP_NUM_THREADS = 1

test: lint types
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# Learning and other tests of minutes; `make test` leaves them out.
slow: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev
	$(BIN)/mypy

# Most tables of the documentation (beside each stands its command): hours, those of speed first.
# Leave the machine alone for them.
bench: .venv/.installed-bench
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/env_steps.py
	$(BIN)/python benchmarks/replay.py --memmap .bench-rows --out benchmarks/results/replay.json
	$(BIN)/python benchmarks/sb3_buffer.py
	$(BIN)/python benchmarks/coresets.py
	$(BIN)/python benchmarks/sb3_single_task.py --env CartPole-v1 --out benchmarks/results/sb3_cartpole.json
	$(BIN)/python benchmarks/sb3_single_task.py --env Acrobot-v1 --out benchmarks/results/sb3_acrobot.json
	$(BIN)/python benchmarks/sb3_single_task.py --env MountainCar-v0 --out benchmarks/results/sb3_mountaincar.json
	$(BIN)/python benchmarks/single_task.py --tasks CartPole,Acrobot,MountainCar
	$(BIN)/python benchmarks/retention.py
	$(BIN)/python benchmarks/retention.py --envs CartPole,Acrobot,MountainCar --variants defaults
	$(BIN)/python benchmarks/memories.py --methods none
	$(BIN)/python benchmarks/memories.py --rows 500
	$(BIN)/python benchmarks/methods.py

# Not runs/: results are not rubbish.
clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are renewed when what they install changes.
.venv/.installed: setup.cfg constraints.txt
	@echo "Installing into .venv: a few minutes the first time"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	@touch $@

.venv/.installed-dev: setup.cfg constraints.txt
	@echo "Installing into .venv: a few minutes the first time"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e ".[dev]"
	@touch .venv/.installed $@

.venv/.installed-bench: .venv/.installed-dev
	$(INSTALL) -e ".[bench]"
	@touch $@
