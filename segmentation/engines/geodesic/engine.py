"""The embedded prompt engine: `prompting/plane.py` in each prompted slice, `prompting/spread.py` between them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap
from segmentation.prompts import Prompt

if TYPE_CHECKING:
    from highdicom import Volume

    from segmentation.engines.geodesic.plane_cut import Mask
    from segmentation.prompting.pixels import Source, Wish


class Geodesic:
    """Geodesic distances and a max-flow cut: any modality, no weights."""

    name = "geodesic"
    version = "1"
    modalities = frozenset({"CT", "MR", "PT", "NM", "XA", "US", "OT"})
    needs = "cpu"
    stall_s: float | None = None
    needs_prompts = True
    takes_prompts = True

    @property
    def parameters(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def masks(self, source: "Source", wish: "Wish") -> "dict[int, Mask]":
        """The segment by slice index."""
        from segmentation.engines.geodesic.plane_cut import segment
        from segmentation.engines.geodesic.propagation import answer

        return answer(source, wish, lambda k, clues: segment(source.levels(k), clues))

    def close(self) -> None:
        """Nothing was started."""

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """One segment from all prompts, through the slices."""
        from segmentation.engines.geodesic.whole_organ import whole

        return whole(self, volume, prompts, modality)


def create(settings: Settings) -> Geodesic:
    """Always available."""
    return Geodesic()
