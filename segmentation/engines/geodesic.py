"""The embedded prompt engine: `prompting/plane.py` in each prompted slice, `prompting/spread.py` between them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minipacs.settings import Settings
from segmentation import codes
from segmentation.engine import Labelmap, Progress, Prompt, Segment, no_progress

if TYPE_CHECKING:
    from highdicom import Volume

    from segmentation.prompting.plane import Mask
    from segmentation.prompting.wish import Source, Wish


class Geodesic:
    """Geodesic distances and a max-flow cut: any modality, no weights."""

    name = "geodesic"
    version = "1"
    modalities = frozenset({"CT", "MR", "PT", "NM", "XA", "US", "OT"})
    needs_prompts = True

    @property
    def parameters(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def masks(self, source: "Source", wish: "Wish") -> "dict[int, Mask]":
        """The segment by slice index."""
        from segmentation.prompting.plane import segment
        from segmentation.prompting.spread import spread

        keys = {k: segment(source.levels(k), clue) for k, clue in wish.clues.items() if clue.positive or clue.boxes}
        if not wish.propagate:
            return {k: mask for k, mask in keys.items() if mask.any()}
        negative = {k: clue.negative for k, clue in wish.clues.items() if clue.negative}
        return spread(keys, source.levels, negative, wish.limits)

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
        from segmentation.prompting.whole import whole

        return whole(self, volume, prompts, modality, PROMPTED)


PROMPTED = Segment("Prompted", codes.ANATOMICAL_STRUCTURE, codes.SOFT_TISSUE, algorithm="SEMIAUTOMATIC")


def create(settings: Settings) -> Geodesic:
    """Always available."""
    return Geodesic()
