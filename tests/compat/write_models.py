"""Writes the models of the compat suites into a folder: `python -m compat.write_models DIR`."""

import sys
from pathlib import Path

from compat.repository import fill
from harness import ModelRepository

if __name__ == "__main__":
    fill(ModelRepository(Path(sys.argv[1])))
