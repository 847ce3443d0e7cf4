"""A progress bar for terminals and notebooks, and the sentence at the end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from etl.catalogue_run import Progress
from etl.load import Tally


@contextmanager
def bar(total: int | None, *, shown: bool = True) -> Iterator[Progress]:
    """A bar on the standard error stream, or a widget where Jupyter has them."""
    if find_spec("ipywidgets") and "ipykernel" in sys.modules:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    with tqdm(total=total, unit="object", disable=not shown, dynamic_ncols=True) as shown_bar:

        def progress(tally: Tally, _seen: int) -> None:
            shown_bar.update(tally.done - shown_bar.n)
            shown_bar.set_postfix(
                pictures=tally.rendered, unchanged=tally.unchanged, rejected=sum(tally.rejected.values()), refresh=False
            )

        yield progress
