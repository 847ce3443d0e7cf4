"""VISTA-3D over HTTP: the contract's payload, every form of answer, every kind of refusal."""

from dataclasses import replace

import numpy as np
import pytest

from minipacs.errors import EngineFailed, EngineUnavailable, WrongPrompts
from segmentation import registry
from segmentation.prompts import Point
from segmentation.vocabulary import codes


@pytest.mark.parametrize("form", ["nii.gz", "nrrd", "zip"])
def test_every_form_of_answer_is_read(vista3d_server, nim, body, form):
    nim.form = form
    labelmap = registry.create_engine("vista3d", vista3d_server).segment(body)
    assert [segment.label for segment in labelmap.segments] == ["liver", "left kidney"]
    assert labelmap.segments[1].laterality == codes.LEFT
    assert np.array_equal(labelmap.array == 2, body.array > 200)


def test_classes_are_asked_for_by_name_and_the_image_by_a_link_that_ends(vista3d_server, nim, front_door, body):
    registry.create_engine("vista3d", vista3d_server, {"classes": ["liver", 14]}).segment(body)
    (asked,) = nim.asked
    assert asked["prompts"] == {"classes": ["liver", 14]}
    assert asked["image"].startswith(f"{front_door}/exchange/")
    assert asked["image"].endswith("/image.nii.gz")
    assert not list((vista3d_server.home / "exchange").iterdir())


def test_a_point_is_sent_in_the_files_indices_and_gives_a_semiautomatic_segment(vista3d_server, nim, body):
    position = tuple(body.map_indices_to_reference(np.array([[10, 20, 55]]))[0])
    labelmap = registry.create_engine("vista3d", vista3d_server).segment(body, [Point(position, label="left kidney")])
    assert nim.asked[0]["prompts"] == {"points": {"left kidney": [[55, 20, 10]]}}
    assert [(s.label, s.algorithm) for s in labelmap.segments] == [("left kidney", "SEMIAUTOMATIC")]


def test_a_point_outside_or_of_an_unknown_structure_is_refused(vista3d_server, nim, body):
    engine = registry.create_engine("vista3d", vista3d_server)
    with pytest.raises(WrongPrompts, match="outside the volume"):
        engine.segment(body, [Point((9999.0, 0.0, 0.0), label="liver")])
    with pytest.raises(WrongPrompts, match="no structure 'soul'"):
        engine.segment(body, [Point((0.0, 0.0, 0.0), label="soul")])
    assert not nim.asked


@pytest.mark.parametrize(
    ("mischief", "error", "sentence"),
    [
        ("refuse", EngineUnavailable, "answered HTTP 422"),
        ("busy", EngineFailed, "answered HTTP 503"),
        ("cut", EngineFailed, "did not answer"),
        ("text", EngineFailed, "cannot be read"),
        ("elsewhere", EngineFailed, "another geometry"),
        ("strange", EngineFailed, "the label 99, which it does not name"),
    ],
)
def test_a_refusal_is_final_and_trouble_is_worth_another_attempt(vista3d_server, nim, body, mischief, error, sentence):
    nim.mischief = mischief
    with pytest.raises(error, match=sentence):
        registry.create_engine("vista3d", vista3d_server).segment(body)


def test_a_server_that_is_not_ready_is_listed_as_such(vista3d_server, nim):
    nim.mischief = "away"
    row = next(row for row in registry.list_engines(vista3d_server) if row["name"] == "vista3d")
    assert (row["available"], row["reason"]) == (False, "VISTA-3D is not ready (HTTP 503).")


def test_the_identity_stays_while_the_server_is_away(vista3d_server, nim):
    from segmentation.engines.vista3d import _read_server_info

    here = registry.create_engine("vista3d", vista3d_server)
    nim.shutdown()
    nim.server_close()
    _read_server_info.cache_clear()
    away = registry.create_engine("vista3d", vista3d_server)
    assert (away.version, away.parameters) == (here.version, here.parameters)
    with pytest.raises(EngineUnavailable, match="does not answer"):
        away.check()
    _read_server_info.cache_clear()
    with pytest.raises(EngineUnavailable, match="does not answer"):
        registry.create_engine("vista3d", replace(vista3d_server, vista3d_url="http://127.0.0.1:9"))


def test_an_address_that_is_none_and_a_class_nobody_knows_are_refused(vista3d_server):
    with pytest.raises(EngineUnavailable, match="not an http address"):
        registry.create_engine("vista3d", replace(vista3d_server, vista3d_url="file:///etc/passwd"))
    with pytest.raises(EngineUnavailable, match="no class 'soul'"):
        registry.create_engine("vista3d", vista3d_server, {"classes": ["soul"]})
