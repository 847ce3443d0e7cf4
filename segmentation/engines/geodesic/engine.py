"""The embedded prompt engine: `plane_cut.py` in each prompted slice, `propagation.py` between them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minipacs.settings import Settings
from segmentation.engine import Progress, no_progress
from segmentation.labelmap import Labelmap
from segmentation.prompts import Prompt

if TYPE_CHECKING:
    from highdicom import Volume

    from segmentation.prompter import Mask, PromptedSeries, PromptsInPixels


class GeodesicEngine:
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
        """Nothing can be set."""
        return {}

    def make_masks(self, series: "PromptedSeries", prompts: "PromptsInPixels") -> "dict[int, Mask]":
        """The segment by slice index."""
        from segmentation.engines.geodesic.plane_cut import segment_plane
        from segmentation.engines.geodesic.propagation import segment_slices

        return segment_slices(series, prompts, lambda k, here: segment_plane(series.get_scaled_slice(k), here))

    def close(self) -> None:
        """Do nothing: nothing was started."""

    def segment(
        self,
        volume: "Volume",
        prompts: Sequence[Prompt] = (),
        progress: Progress = no_progress,
        *,
        modality: str = "CT",
    ) -> Labelmap:
        """One segment from all prompts, through the slices."""
        from segmentation.engines.prompted_volume import segment_volume

        return segment_volume(self, volume, prompts, modality)


def create(settings: Settings) -> GeodesicEngine:
    """Create the engine; it is always available."""
    return GeodesicEngine()
