import importlib
import pkgutil

import api
import etl
import minipacs
import segmentation
from minipacs import errors


def every_error() -> list[type[errors.MinipacsError]]:
    for box in (minipacs, etl, segmentation, api):
        for module in pkgutil.walk_packages(box.__path__, box.__name__ + "."):
            if module.name != "minipacs.migrations.env":  # Alembic runs it
                importlib.import_module(module.name)
    found = [errors.MinipacsError]
    for each in found:
        found.extend(each.__subclasses__())
    return found


def test_every_error_stands_in_the_drawn_tree() -> None:
    for error in every_error():
        assert error.__name__ in (errors.__doc__ or "")


def test_the_tree_states_the_right_status() -> None:
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("├─", " ").replace("└─", " ").replace("│", " ").split()
        if len(words) > 1 and words[1].isdigit() and hasattr(errors, words[0]):
            assert getattr(errors, words[0]).status == int(words[1]), words[0]


def test_one_json_shape() -> None:
    assert errors.NotAVolume("No.", "Do.").as_json() == {
        "error": {"code": "not_a_volume", "message": "No.", "hint": "Do."}
    }
