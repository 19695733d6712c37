#!/bin/sh
# Makes every committed model again, from nothing: model files, golden cases and provenance notes.
#
#   python3.11 -m venv .venv-training
#   .venv-training/bin/pip install -r models/training/requirements.txt
#   PYTHON=.venv-training/bin/python models/training/train_all.sh
#
# One thread each: the order of floating-point sums, and with it the last bit of a weight, depends on their number.
set -eu
python=$(command -v "${PYTHON:-python3}")
case $python in /*) ;; *) python=$PWD/$python ;; esac
cd "$(dirname "$0")"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 JAX_PLATFORMS=cpu PYTHONDONTWRITEBYTECODE=1
export XLA_FLAGS=--xla_cpu_multi_thread_eigen=false
for script in add_sub.py digits.py flight_delay.py; do
    "$python" "$script"
done
