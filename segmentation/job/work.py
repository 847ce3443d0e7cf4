"""Segmentation as work: what a study needs, and doing it.

Light at import: the job service asks for `orders` of every study. A result whose derived UIDs exist
in the archive, and whose files are there, is done already; our own objects never trigger work.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minipacs.archive.content import SeriesContent, StudyContent
from minipacs.errors import EngineError, EngineUnavailable, NotAVolume, Unreadable
from minipacs.jobs.contract import Order, Task
from minipacs.settings import Settings
from minipacs.temporary_folders import scratch
from segmentation import registry
from segmentation.engine import Engine
from segmentation.identity import Identity, parameters_digest
from segmentation.job import parent
from segmentation.job.rules import FILE, Rule, Rules, read_rules
from segmentation.results import store
from segmentation.results.manifest import read as read_manifest

KIND = "segment"
# fmt: off
NO_IMAGES = frozenset((
    "SR", "SEG", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "DOC", "ECG", "HD", "EPS", "REG", "FID",
    "RWV", "AU", "PLAN",
))
# fmt: on
"""Modalities of objects that hold no images to segment."""
DOWNLOADS = 4
"""Instances taken from the archive at once."""

Told = Callable[[str, int, int], None]


def orders(study: StudyContent, settings: Settings) -> Sequence[Order]:
    """One order for a study that has an image series not ours, where any engine is set."""
    rules = read_rules(settings)
    engines = rules.engines
    if not engines or not any(is_candidate(series) for series in study.series):
        return []
    uid, main = study.study_instance_uid, settings.automatic_engine or engines[0]
    versions = {name: _version(name, settings) for name in engines}
    made_of = {name: version for name, version in versions.items() if name != main}
    plain = rules == Rules((Rule(settings.automatic_engine),))
    digest = "-" if plain else parameters_digest({"rules": repr(rules), "engines": made_of})
    parameters = _parameters(main, settings) if plain else {}
    digest = parameters_digest(parameters) if parameters else digest
    key = f"{KIND}/{uid}/{study.digest(ours=False)}/{main}/{versions[main]}/{digest}"
    return [Order(KIND, key, uid, {"study_instance_uid": uid}, needs=_needs(rules, settings))]


def asked(study: StudyContent, settings: Settings, engine: str) -> Order:
    """What a person asks for: the study by this engine. It is the automatic order where that would be the same."""
    if not any(is_candidate(series) for series in study.series):
        raise NotAVolume("The study has no image series of its own.")
    made = registry.create(engine, settings)
    parameters = parameters_digest(dict(made.parameters))
    uid = study.study_instance_uid
    key = f"{KIND}/{uid}/{study.digest(ours=False)}/{engine}/{made.version}/{parameters}"
    args = {"study_instance_uid": uid, "engine": engine}
    return Order(KIND, key, uid, args, needs=getattr(made, "needs", "cpu"), priority=1)


def engines(settings: Settings) -> list[dict[str, Any]]:
    """Every installed engine: available, or why not and what to do."""
    return [asdict(listed) for listed in registry.listing(settings)]


def check_rules(text: str, settings: Settings) -> None:
    """Raises `SettingsError` for rules (TOML) that cannot be read."""
    with TemporaryDirectory() as folder:
        Path(folder, FILE).write_text(text, "utf-8")
        read_rules(replace(settings, home=Path(folder)))


def is_candidate(series: SeriesContent) -> bool:
    """Whether a series may be worth segmenting: images, and not ours."""
    return not series.ours and series.modality not in NO_IMAGES and bool(series.instances)


def run(task: Task) -> dict[str, Any]:
    """Segment every candidate series of the study; store SEG and SR; keep the files.

    `{"segmentations": [{"series", "seg_series_instance_uid", "seg_sop_instance_uid", "segments"}],
    "skipped": [{"series", "reason"}], "summary"}`. A series that is no volume is skipped with its
    reason; an engine that fails fails the job, after the other series had their turn.
    """
    study = task.archive.study(task.archive.study_id(task.args["study_instance_uid"]))
    rules = read_rules(task.settings)
    if engine := task.args.get("engine"):
        rules = replace(rules, rules=(Rule(engine),))
    done: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    failed: list[EngineError] = []
    candidates = [series for series in study.series if is_candidate(series)]
    for number, series in enumerate(candidates, 1):
        place = f"series {number} of {len(candidates)}"
        try:
            done.append(_segment(task, study, series, rules, place))
        except (NotAVolume, Unreadable) as refusal:
            skipped.append({"series": series.series_instance_uid, "reason": refusal.message})
        except EngineError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return {"segmentations": done, "skipped": skipped, "summary": _summary(done, skipped)}


# -- one series -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Piece:
    """One series to be segmented by one engine."""

    study: StudyContent
    series: SeriesContent
    engine: Engine
    identity: Identity
    rule: Rule
    rules: Rules


def _segment(task: Task, study: StudyContent, series: SeriesContent, rules: Rules, place: str) -> dict[str, Any]:
    rule = rules.of(series.modality, _body_part(task, series, rules), series.description, len(series.instances))
    if not rule.engine:
        raise NotAVolume("A rule says to leave this series out.")
    engine = registry.create(rule.engine, task.settings, rule.parameters)
    if series.modality not in engine.modalities:
        takes = " and ".join(sorted(engine.modalities))
        raise NotAVolume(f"The series cannot be segmented: it is {series.modality}; the engine takes {takes}.")
    made_of = parameters_digest(engine.parameters)
    identity = Identity(series.series_instance_uid, series.digest, engine.name, engine.version, made_of)
    piece = _Piece(study, series, engine, identity, rule, rules)
    folder = store.folder(task.settings, study.study_instance_uid, identity)
    manifest = read_manifest(folder)
    if manifest is None or manifest["identity"] != identity.as_json():
        manifest = _make(task, piece, folder, manifest, place)
    task.progress("store", note=place)
    store.store(task.archive, folder, manifest, rules)
    store.record(task.database, manifest)
    return store.answer(manifest)


def _make(task: Task, piece: _Piece, folder: Path, before: dict[str, Any] | None, place: str) -> dict[str, Any]:
    """Download, let the child segment, and put its folder in place of the one before."""

    def listen(stage: str, done: int = 0, total: int = 0) -> None:
        task.progress(stage, done, total, place)

    name = f"{piece.identity.series_instance_uid}-{piece.identity.engine}.log"
    with scratch(store.root(task.settings)) as temporary:
        request = parent.Request(
            files=_download(task, piece.series, temporary, listen),
            digest=piece.series.digest,
            engine=piece.rule.engine,
            out=temporary / "results",
            parameters=piece.rule.parameters,
            options={"type": piece.rules.type, "mrb": piece.rules.mrb, **task.args.get("options", {})},
            stall_s=getattr(piece.engine, "stall_s", None),
        )
        made = parent.run(request, task.settings, listen, task.settings.home / "failures" / name)
        return store.put(request.out, folder, made, before)


def _download(task: Task, series: SeriesContent, folder: Path, listen: Told) -> list[Path]:
    """The series' instances as files, named by their place in the sorted UIDs."""
    total = len(series.instances)
    files = [folder / f"{number:06d}.dcm" for number in range(total)]
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        for start in range(0, total, 64):
            listen("download", start, total)
            part = slice(start, start + 64)
            contents = pool.map(lambda instance: task.archive.file(instance[1]), series.instances[part])
            for file, content in zip(files[part], contents, strict=True):
                file.write_bytes(content)
    return files


def _body_part(task: Task, series: SeriesContent, rules: Rules) -> str:
    if not rules.need_body_part:
        return ""
    return str(task.archive.dataset(series.instances[0][1]).get("BodyPartExamined") or "")


def _version(name: str, settings: Settings) -> str:
    """The engine's version; an engine that is not there yet is another version than when it is."""
    try:
        return registry.create(name, settings).version
    except EngineUnavailable:
        return "absent"


def _needs(rules: Rules, settings: Settings) -> str:
    """A GPU, when any rule's engine computes on one."""
    for rule in rules.rules:
        try:
            engine = registry.create(rule.engine, settings, rule.parameters) if rule.engine else None
        except EngineUnavailable:
            continue
        if getattr(engine, "needs", "cpu") == "gpu":
            return "gpu"
    return "cpu"


def _parameters(name: str, settings: Settings) -> dict[str, Any]:
    try:
        return dict(registry.create(name, settings).parameters)
    except EngineUnavailable:
        return {}


def _summary(done: list[dict[str, Any]], skipped: list[dict[str, str]]) -> str:
    if not done and not skipped:
        return "Nothing to segment: the study has no image series of its own."
    if not done:
        reasons = list(dict.fromkeys(s["reason"] for s in skipped))
        return f"Nothing segmented: {' '.join(reasons)}"
    segments = sum(len(d["segments"]) for d in done)
    series = f"{len(done)} series" if len(done) > 1 else "1 series"
    left = f"; {len(skipped)} left out" if skipped else ""
    return f"{segments} segments in {series}{left}."
