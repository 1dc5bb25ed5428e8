#!/usr/bin/env bash
# The networks on a GPU: one call, two tables. Needs an environment with a CUDA build of torch (PYTHON=... picks it).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}

# Against the straightforward implementation, same weights, in turn.
"$PYTHON" benchmarks/fossa.py --device cuda --precision fp32 bf16 fp16 --runs 50
# The whole way from uint8 planes on the CPU to metres on the CPU, CUDA graphs included.
"$PYTHON" -m fossa_ros.commands.cli bench --device cuda --model vits --model vitb \
  --precision fp32 --precision bf16 --precision fp16 --runs 200
