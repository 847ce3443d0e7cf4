"""A progress bar for terminals and notebooks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from etl.catalogue_run import ReportProgress
from etl.tally import Tally

__all__ = ["show_progress_bar"]


@contextmanager
def show_progress_bar(total: int | None, *, shown: bool = True) -> Iterator[ReportProgress]:
    """Open a bar on the standard error stream, or a widget where Jupyter has them; yields what moves it.

    `total` is the number of items, None when it is not known.
    """
    if find_spec("ipywidgets") and "ipykernel" in sys.modules:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm

    with tqdm(total=total, unit="object", disable=not shown, dynamic_ncols=True) as bar:

        def show(tally: Tally) -> None:
            bar.update(tally.items_done - bar.n)
            bar.set_postfix(
                pictures=tally.rendered,
                unchanged=tally.unchanged,
                rejected=sum(tally.rejected.values()),
                refresh=False,
            )

        yield show
