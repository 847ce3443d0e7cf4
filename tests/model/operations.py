"""What happens to an archive: one function for each kind, with its weight.

An operation is a name and two numbers. What it is done to follows from the numbers and from what is there, so that a
sequence still has a meaning when some of its operations are left out. Each says in a sentence what it did; an empty
one: there was nothing to do it to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Any

from pydicom import dcmread

from model.crash import Crash
from model.model import ArchivedObject, ArchivedObjects, ArchiveModel, FileCache, compute_key, read_archive
from model.studies import SeriesVersion, describe_series, make_files
from model.world import WAYS, World

KEEP_UIDS = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
EFFECTS = (6, 20, 60)
"""A crash comes at one of the first so many effects: of planning, of the first job, of any."""


@dataclass(frozen=True)
class Operation:
    """An operation; `study` is the one that is sent, `number` chooses the rest."""

    name: str
    study: int
    number: int

    def __str__(self) -> str:
        return f"{self.name}({self.study}, {self.number})"


class Scene:
    """The world, and the model of its archive."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = ArchiveModel()
        self.files = FileCache(world.orthanc)
        self.sent: dict[tuple[int, int], SeriesVersion] = {}
        """The last version of each series that was sent."""
        self.patient_id_of_grouped: dict[str, str] = {}
        """Of each study in the group, by Study Instance UID: the Patient ID that it had when it was put there."""

    def read_archive(self) -> ArchivedObjects:
        """What it holds now."""
        return read_archive(self.world.orthanc, self.files)

    def send(self, version: SeriesVersion, way: str) -> None:
        """Send a series, and compare what the archive makes of it with the model."""
        files = make_files(version)
        self.world.store(files, way)
        self.sent[version.study, version.series] = version
        came = {compute_object_key(file) for file in files}
        self.model.compare(self.read_archive(), came, lambda one: False)

    def delete(self, path: str, is_gone: Callable[[ArchivedObject], bool]) -> None:
        """Delete a resource in Orthanc."""
        assert self.world.change_archive("DELETE", path), path
        self.model.compare(self.read_archive(), set(), is_gone)

    def change(self, path: str, body: dict[str, Any]) -> bool:
        """Have Orthanc make other objects; whether it did."""
        is_done = self.world.change_archive("POST", path, body)
        self.model.read(self.read_archive())
        return is_done

    def choose(self, random: Random, level: str) -> list[ArchivedObject]:
        """The objects of one study, series or instance of others; none where there is none."""
        groups = list(self.model.group_by(lambda one: str(getattr(one, level))).values())
        return random.choice(groups) if groups else []


Do = Callable[[Scene, Operation, Random], str]


@dataclass(frozen=True)
class Kind:
    """A kind of operation: what does it, and how often it comes beside the others."""

    do: Do
    weight: float


KINDS: dict[str, Kind] = {}


def weighs(weight: float) -> Callable[[Do], Do]:
    """Add a function to the kinds of operation, by its name."""

    def add(do: Do) -> Do:
        KINDS[do.__name__] = Kind(do, weight)
        return do

    return add


def perform(scene: Scene, operation: Operation) -> str:
    """Do it; the sentence."""
    return KINDS[operation.name].do(scene, operation, Random(operation.number))


def compute_object_key(file: bytes) -> str:
    """Orthanc's identifier of an object."""
    header = dcmread(BytesIO(file), stop_before_pixels=True)
    uids = (str(header[keyword].value) for keyword in KEEP_UIDS)
    return compute_key(str(header.get("PatientID", "")).rstrip(), *uids)


# -- sending ----------------------------------------------------------------------------------------
@weighs(5)
def store_series(scene: Scene, operation: Operation, random: Random) -> str:
    """A series comes as it was made at first."""
    version = describe_series(operation.study, random.choice((1, 1, 2, 3)))
    way = random.choice(WAYS)
    scene.send(version, way)
    return f"series {version.series} of study {version.study} comes by {way}"


@weighs(2)
def store_again(scene: Scene, _operation: Operation, random: Random) -> str:
    """The last version of a series comes again, by any way."""
    if not scene.sent:
        return ""
    version, way = random.choice(list(scene.sent.values())), random.choice(WAYS)
    scene.send(version, way)
    return f"series {version.series} of study {version.study} comes again by {way}"


def correct_version(version: SeriesVersion, random: Random, what: str) -> SeriesVersion:
    """The same UIDs with something else: `what` is pixels, name or Patient ID."""
    if what == "pixels":
        return version.move(version.shift + 1 + random.randrange(3))
    if what == "name":
        return version.correct(name=f"Corrected{random.randrange(3)}q^Cora")
    return version.correct(patient_id=f"M-9{random.randrange(3)}")


@weighs(2)
def store_corrected(scene: Scene, _operation: Operation, random: Random) -> str:
    """A series comes with other pixels or another name; where the archive has it, it keeps the first one."""
    if not scene.sent:
        return ""
    before, way = random.choice(list(scene.sent.values())), random.choice(WAYS)
    what = random.choice(("pixels", "name"))
    scene.send(correct_version(before, random, what), way)
    return f"series {before.series} of study {before.study} comes with another {what} by {way}"


@weighs(1)
def store_under_another_id(scene: Scene, _operation: Operation, random: Random) -> str:
    """A series comes with another Patient ID: each of its UIDs is there twice, where the archive has it."""
    if not scene.sent:
        return ""
    before, way = random.choice(list(scene.sent.values())), random.choice(WAYS)
    scene.send(correct_version(before, random, "Patient ID"), way)
    return f"series {before.series} of study {before.study} comes with another Patient ID by {way}"


@weighs(3)
def replace_study(scene: Scene, _operation: Operation, random: Random) -> str:
    """A study is deleted, and comes corrected at once."""
    study = scene.choose(random, "study_key")
    if not study:
        return ""
    _delete_study(scene, study)
    versions = [one for one in scene.sent.values() if one.study_instance_uid == study[0].study_instance_uid]
    what, way = random.choice(("pixels", "name", "Patient ID")), random.choice(WAYS)
    number = random.randrange(2**32)
    for version in versions:
        scene.send(correct_version(version, Random(number), what), way)
    return f"study {name_study(study)} is deleted" + (f", and comes with another {what} by {way}" if versions else "")


# -- deletion ---------------------------------------------------------------------------------------
def name_study(study: Sequence[ArchivedObject]) -> str:
    """For people: Patient ID and the end of the UID."""
    return f"{study[0].patient_id or 'without ID'}/…{study[0].study_instance_uid[-6:]}"


def _delete_study(scene: Scene, study: Sequence[ArchivedObject]) -> None:
    key = study[0].study_key
    scene.delete(f"/studies/{key}", lambda one: one.study_key == key)


@weighs(2)
def delete_study(scene: Scene, _operation: Operation, random: Random) -> str:
    """A study is deleted in Orthanc."""
    study = scene.choose(random, "study_key")
    if not study:
        return ""
    _delete_study(scene, study)
    return f"study {name_study(study)} is deleted"


@weighs(2)
def delete_series(scene: Scene, _operation: Operation, random: Random) -> str:
    """A series is deleted in Orthanc."""
    series = scene.choose(random, "series_key")
    if not series:
        return ""
    key = series[0].series_key
    scene.delete(f"/series/{key}", lambda one: one.series_key == key)
    return f"a {series[0].modality} series of study {name_study(series)} is deleted"


@weighs(1)
def delete_instance(scene: Scene, _operation: Operation, random: Random) -> str:
    """An instance is deleted in Orthanc: one in the middle leaves no volume."""
    series = scene.choose(random, "series_key")
    if not series:
        return ""
    number = random.choice((0, len(series) // 2, len(series) - 1))
    key = series[number].key
    scene.delete(f"/instances/{key}", lambda one: one.key == key)
    return f"instance {number + 1} of {len(series)} of a series of study {name_study(series)} is deleted"


@weighs(1)
def delete_our_result(scene: Scene, _operation: Operation, random: Random) -> str:
    """Somebody deletes a SEG of ours in Orthanc, and leaves the images."""
    segs = [one for one in scene.read_archive().ours if one.modality == "SEG"]
    if not segs:
        return ""
    seg = random.choice(segs)
    scene.delete(f"/series/{seg.series_key}", lambda one: False)
    return f"our SEG of study {name_study([seg])} is deleted"


@weighs(1)
def delete_at_front_door(scene: Scene, _operation: Operation, random: Random) -> str:
    """A study is deleted at the front door, where that has a route for it."""
    study = scene.choose(random, "study_key")
    if not study:
        return ""
    uid, key = study[0].study_instance_uid, study[0].study_key
    answer = scene.world.ask(f"/studies/{key}?confirm={uid}", "DELETE")
    if answer.status_code in (404, 405):
        return ""
    assert answer.status_code < 300, answer.get_data(as_text=True)
    scene.model.compare(scene.read_archive(), set(), lambda one: one.study_key == key)
    return f"study {name_study(study)} is deleted at the front door"


# -- time -------------------------------------------------------------------------------------------
@weighs(4)
def plan(scene: Scene, _operation: Operation, _random: Random) -> str:
    """The planner takes a step."""
    return f"the planner queues {scene.world.plan()} jobs"


@weighs(4)
def do_job(scene: Scene, _operation: Operation, _random: Random) -> str:
    """One job is done."""
    is_done = scene.world.do_job()
    scene.model.note_words(scene.read_archive())
    return "a job is done" if is_done else ""


@weighs(8)
def rest(_scene: Scene, _operation: Operation, _random: Random) -> str:
    """All work is done, and the invariants are checked: by who runs the sequence."""
    return "rest"


@weighs(3)
def crash(scene: Scene, _operation: Operation, random: Random) -> str:
    """The service and its workers are killed at an effect, and start again."""
    world, number = scene.world, random.randrange(random.choice(EFFECTS))
    has_crashed = False
    with world.crashes.crashing_at(number):
        try:
            world.plan()
            while world.do_job():
                pass
        except Crash:
            has_crashed = True
    if has_crashed:
        world.forget_product()
        world.open_product()
    scene.model.note_words(scene.read_archive())
    return f"a crash at effect {number}" if has_crashed else f"work with fewer than {number} effects"


@weighs(0.3)
def kill_archive(scene: Scene, _operation: Operation, _random: Random) -> str:
    """Orthanc is killed, and starts again."""
    scene.world.kill_archive()
    scene.model.compare(scene.read_archive(), set(), lambda one: False)
    return "Orthanc is killed and started"
