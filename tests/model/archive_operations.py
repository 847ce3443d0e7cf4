"""What Orthanc makes of studies when somebody asks it to: rename, merge, split, anonymise, compress; and copies.

Importing this module adds its kinds of operation to `operations.KINDS`.
"""

from io import BytesIO
from random import Random

from pydicom import dcmread

from dicom_objects import ROOT, as_file
from model.operations import KEEP_UIDS, Operation, Scene, name_study, weighs


@weighs(1)
def modify_study(scene: Scene, _operation: Operation, random: Random) -> str:
    """A study gets another name of its patient in Orthanc, and new UIDs with it; the old one may stay."""
    study = scene.choose(random, "study_key")
    if not study:
        return ""
    keeps = random.random() < 0.3
    name = f"Renamed{random.randrange(3)}q^Rita"
    body = {"Replace": {"PatientName": name}, "KeepSource": keeps, "Force": True}
    is_done = scene.change(f"/studies/{study[0].study_key}/modify", body)
    return f"study {name_study(study)} is renamed{', and kept' if keeps else ''}" if is_done else ""


@weighs(1)
def change_patient_id(scene: Scene, _operation: Operation, random: Random) -> str:
    """A patient gets another ID in Orthanc, all UIDs stay; with the source kept, each lives twice."""
    patient = scene.choose(random, "patient_key")
    if not patient:
        return ""
    keeps = random.random() < 0.3
    replaced = {"PatientID": f"M-8{random.randrange(3)}", "PatientName": f"Movedq{random.randrange(3)}q^Mo"}
    body = {"Replace": replaced, "Keep": KEEP_UIDS, "KeepSource": keeps, "Force": True}
    is_done = scene.change(f"/patients/{patient[0].patient_key}/modify", body)
    which = patient[0].patient_id or "without ID"
    return f"patient {which} becomes {replaced['PatientID']}{', and stays' if keeps else ''}" if is_done else ""


@weighs(1)
def merge_studies(scene: Scene, _operation: Operation, random: Random) -> str:
    """A study is merged into another one in Orthanc."""
    target, other = scene.choose(random, "study_key"), scene.choose(random, "study_key")
    if not target or target[0].study_key == other[0].study_key:
        return ""
    body = {"Resources": [other[0].study_key], "KeepSource": False}
    is_done = scene.change(f"/studies/{target[0].study_key}/merge", body)
    return f"study {name_study(other)} is merged into {name_study(target)}" if is_done else ""


@weighs(1)
def split_study(scene: Scene, _operation: Operation, random: Random) -> str:
    """A series is split off into a study of its own in Orthanc."""
    series = scene.choose(random, "series_key")
    if not series:
        return ""
    body = {"Series": [series[0].series_key], "KeepSource": False}
    is_done = scene.change(f"/studies/{series[0].study_key}/split", body)
    return f"a series is split off study {name_study(series)}" if is_done else ""


@weighs(1)
def anonymize_study(scene: Scene, _operation: Operation, random: Random) -> str:
    """A study is anonymised in Orthanc, and kept."""
    study = scene.choose(random, "study_key")
    if not study:
        return ""
    is_done = scene.change(f"/studies/{study[0].study_key}/anonymize", {"KeepSource": True})
    return f"study {name_study(study)} is anonymised" if is_done else ""


@weighs(1)
def copy_series(scene: Scene, _operation: Operation, random: Random) -> str:
    """A series is stored once more in a study of another UID; with its own Series UID, or with its SOP UIDs alone."""
    series = scene.choose(random, "series_key")
    if not series:
        return ""
    number = random.randrange(3)
    has_own_series = random.random() < 0.5
    archived = scene.read_archive()
    for one in series:
        copied = dcmread(BytesIO(scene.world.orthanc.get(f"/instances/{one.key}/file").content))
        copied.StudyInstanceUID = f"{ROOT}.16.{number}"
        if has_own_series:
            copied.SeriesInstanceUID = f"{ROOT}.16.{number}.{len(archived.by_key)}"
        scene.world.orthanc.post("/instances", content=as_file(copied))
    scene.model.read(scene.read_archive())
    what = "the SOP" if has_own_series else "the Series and SOP"
    return f"a series of study {name_study(series)} is copied to another study with {what} UIDs"


@weighs(1)
def compress_file(scene: Scene, _operation: Operation, random: Random) -> str:
    """Orthanc compresses a file: another file, the same content."""
    found = scene.choose(random, "key")
    if not found:
        return ""
    scene.world.change_archive("POST", f"/instances/{found[0].key}/attachments/dicom/compress")
    scene.model.compare(scene.read_archive(), set(), lambda one: False)
    return f"a file of study {name_study(found)} is compressed"
