"""Runs in the Python that has torch and transformers: keeps a Segment Anything model, answers prompt after prompt.

    python in_sam.py check                 ends with 0 where the packages are there
    python in_sam.py serve FOLDER MB       FOLDER: a SAM or SAM 2 model as `save_pretrained` writes it

A request is one JSON line on standard input, then `rows × columns` bytes of grey; an answer is one JSON line
on standard output, then as many bytes, 1 inside the mask. Embeddings of images are kept by their key, up to
MB. Ends when standard input closes. Only local files are read. Imports torch and transformers alone.
"""

import importlib.util
import json
import os
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

Json = dict[str, Any]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SQUARE = ("sam2", "sam2_video")
"""Model types that see the image stretched to a square; the others see it padded."""


class LoadedModel:
    """A SAM or SAM 2 model, and the embeddings of the images seen last."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        import torch
        import transformers

        configuration = json.loads((folder / "config.json").read_text("utf-8"))
        kind = str(configuration.get("model_type"))
        classes = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}
        if kind not in classes:
            raise ValueError(f"a model of type {kind!r} is neither SAM nor SAM 2")

        model = getattr(transformers, classes[kind]).from_pretrained(folder, local_files_only=True)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.eval().to(self._device)
        self._is_square = kind in SQUARE

        vision = self._model.config.vision_config
        size = vision.backbone_config.image_size if self._is_square else vision.image_size
        self._size = int(size[0] if isinstance(size, list | tuple) else size)
        self._mean, self._std = _read_normalisation(folder)

        self._max_bytes, self._bytes = max_bytes, 0
        self._cache: OrderedDict[str, tuple[list[Any], int]] = OrderedDict()
        """Embeddings of an image and their bytes, by the image's key; the one used last stands last."""

    def segment(self, request: Json, grey: bytes) -> tuple[Json, bytes]:
        """The best mask for these points (column, row) and this box, and what is known about it."""
        import torch

        rows, columns = request["rows"], request["columns"]
        down, across = self._compute_model_size(rows, columns)
        scale = torch.tensor([across / columns, down / rows], device=self._device)

        inputs: Json = {}
        if request["points"]:
            inputs["input_points"] = torch.tensor([[request["points"]]], dtype=torch.float32, device=self._device)
            inputs["input_points"] *= scale
            inputs["input_labels"] = torch.tensor([[request["labels"]]], device=self._device)

        if request["box"]:
            box = torch.tensor([[request["box"]]], dtype=torch.float32, device=self._device)
            inputs["input_boxes"] = box * scale.repeat(2)

        with torch.inference_mode():
            embeddings, cached = self._embed_image(str(request["key"]), grey, rows, columns)
            answer = self._model(
                image_embeddings=embeddings if self._is_square else embeddings[0],
                multimask_output=not request["box"],
                **inputs,
            )
            best = int(answer.iou_scores[0, 0].argmax())
            mask = self._resize_mask(answer.pred_masks[0, 0, best], rows, columns)

        facts = {"score": round(float(answer.iou_scores[0, 0, best]), 4), "cached": cached, "held": self._bytes}

        return facts, bytes(mask.to(torch.uint8).cpu().contiguous().numpy().tobytes())

    def _compute_model_size(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns of the image as the model sees it."""
        if self._is_square:
            return self._size, self._size

        scale = self._size / max(rows, columns)
        return int(rows * scale + 0.5), int(columns * scale + 0.5)

    def _embed_image(self, key: str, grey: bytes, rows: int, columns: int) -> tuple[list[Any], bool]:
        """The embeddings of the image, and whether they were there."""
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key][0], True

        answer = self._model.get_image_embeddings(self._prepare_image(grey, rows, columns))
        embeddings = list(answer) if self._is_square else [answer]
        size = sum(each.numel() * each.element_size() for each in embeddings)
        self._cache[key] = (embeddings, size)
        self._bytes += size

        while self._bytes > self._max_bytes and len(self._cache) > 1:
            _, (_, freed) = self._cache.popitem(last=False)
            self._bytes -= freed

        return embeddings, False

    def _prepare_image(self, grey: bytes, rows: int, columns: int) -> Any:
        """The image in the model's size and normalisation."""
        import torch
        from torch.nn.functional import interpolate, pad

        image = torch.frombuffer(bytearray(grey), dtype=torch.uint8).reshape(1, 1, rows, columns)
        image = image.to(self._device).float() / 255
        down, across = self._compute_model_size(rows, columns)
        image = interpolate(image, (down, across), mode="bilinear", antialias=True, align_corners=False)
        mean, std = (torch.tensor(v, device=self._device).reshape(1, 3, 1, 1) for v in (self._mean, self._std))

        return pad((image.expand(1, 3, down, across) - mean) / std, (0, self._size - across, 0, self._size - down))

    def _resize_mask(self, logits: Any, rows: int, columns: int) -> Any:
        """The mask in the image's size."""
        from torch.nn.functional import interpolate

        logits = interpolate(logits[None, None].float(), (self._size, self._size), mode="bilinear", align_corners=False)
        down, across = self._compute_model_size(rows, columns)
        without_padding = logits[..., :down, :across]

        return interpolate(without_padding, (rows, columns), mode="bilinear", align_corners=False)[0, 0] > 0


def _read_normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation the model was trained with, where its folder says so."""
    file = folder / "preprocessor_config.json"
    configuration = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return tuple(configuration.get("image_mean", IMAGENET_MEAN)), tuple(configuration.get("image_std", IMAGENET_STD))


def serve_requests(folder: Path, max_bytes: int) -> int:
    """Answer requests until standard input closes."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to the log

    try:
        model = LoadedModel(folder, max_bytes)
    except (ImportError, OSError, ValueError, AttributeError) as error:
        _write_answer(answers, {"error": f"{type(error).__name__}: {error}"})
        return 1

    _write_answer(answers, {"ready": True})

    while line := requests.readline():
        request = json.loads(line)
        grey = requests.read(request["rows"] * request["columns"])
        try:
            facts, mask = model.segment(request, grey)
        except (RuntimeError, ValueError) as error:
            _write_answer(answers, {"error": f"{type(error).__name__}: {error}"})
            continue
        _write_answer(answers, facts, mask)

    return 0


def _write_answer(stream: BinaryIO, answer: Json, mask: bytes = b"") -> None:
    stream.write(json.dumps(answer).encode() + b"\n" + mask)
    stream.flush()


def main(arguments: list[str]) -> int:
    """Check the packages, or serve; see the module."""
    if arguments[:1] == ["check"]:
        missing = [name for name in ("torch", "transformers", "safetensors") if importlib.util.find_spec(name) is None]
        print(" and ".join(missing) or "there")
        return 0

    return serve_requests(Path(arguments[1]), int(arguments[2]) * 2**20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
