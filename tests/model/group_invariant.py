"""What must be true of groups after a rest: who sees the studies of one group alone learns of nobody else.

Importing this module adds its operation and its invariant.
"""

from collections.abc import Iterator
from random import Random

from minipacs.groups import membership
from model.invariants import LOOKED_AT, Rest, invariant
from model.model import FAMILY_NAME
from model.operations import Operation, Scene, name_study, weighs
from model.world import GROUP

LISTS = ("/studies", "/patients", "/jobs", "/rejections", "/dicom-web/studies", "/dicom-web/series")
OF_A_STUDY = (
    "/studies/{}",
    "/where?q={}",
    "/results/{}",
    "/dicom-web/studies/{}/series",
    "/dicom-web/studies/{}/metadata",
)


@weighs(2)
def give_study_to_group(scene: Scene, _operation: Operation, random: Random) -> str:
    """A study of the archive is put into the group; it is meant with its Patient ID of now."""
    study = scene.choose(random, "study_key")
    if not study or study[0].study_instance_uid in scene.patient_id_of_grouped:
        return ""
    uid = study[0].study_instance_uid
    membership.add_studies(scene.world.database, GROUP, [uid], "tests")
    scene.patient_id_of_grouped[uid] = study[0].patient_id
    return f"study {name_study(study)} is given to the group"


@invariant
def a_member_of_a_group_reads_no_other_name(rest: Rest) -> Iterator[str]:
    """Lists, and what is asked for by the UID of some studies: names of the group's patients alone.

    A study under the UID of a grouped one is another person's, where it has another Patient ID and not none.
    """
    grouped = rest.scene.patient_id_of_grouped
    allowed: set[str] = set()
    for one in rest.archived.foreign:
        wanted = grouped.get(one.study_instance_uid)
        if wanted is not None and one.patient_id in ("", wanted):
            allowed.update(FAMILY_NAME.findall(str(rest.archived.files.read(one).get("PatientName", ""))))

    uids = sorted({one.study_instance_uid for one in rest.archived.foreign})
    chosen = rest.random.sample(uids, min(LOOKED_AT, len(uids)))
    asked = {path: path for path in LISTS} | {path.format(uid): path for path in OF_A_STUDY for uid in chosen}
    for address, path in asked.items():
        text = rest.scene.world.ask_as_member(address).get_data(as_text=True)
        if names := set(FAMILY_NAME.findall(text)) - allowed:
            yield f"{path} tells {len(names)} names of others"
