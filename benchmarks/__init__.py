"""Programs that compare, side by side and in one run.

Run them from the root of the repository: `.venv/bin/python -m benchmarks.bench_etl --help`.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""Of the repository."""

sys.path.append(str(ROOT / "tests"))  # the helpers of the tests start the servers that the programs need
