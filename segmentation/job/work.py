"""Segmentation as work: what a study needs, and doing it.

Light at import: the job service reads the `orders` of every study. A result whose derived UIDs exist
in the archive, and whose files are there, is done already; our own objects never trigger work.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from minipacs.archive.content import SeriesContent, StudyContent
from minipacs.errors import EngineError, ExceedsMemory, MinipacsError, NotAVolume, Unreadable
from minipacs.formats.parsing import translate_parser_errors
from minipacs.jobs.contract import EngineStatus, Order, Task
from minipacs.jobs.task import PERMANENT_ERRORS
from minipacs.result_paths import results_root
from minipacs.settings import Settings
from minipacs.temporary_folders import temporary_folder
from segmentation import registry
from segmentation.engine import Engine, Progress
from segmentation.identity import Identity, digest_parameters
from segmentation.job import parent
from segmentation.job.request import ResultOptions, SegmentationRequest
from segmentation.job.rules import Rule, Rules, parse_rules, read_rules
from segmentation.registry import EngineFacts
from segmentation.results import store
from segmentation.results.manifest import Manifest, read_manifest
from segmentation.results.store import SeriesResult

KIND = "segment"
TITLE = "Segmentation"
"""What people call it."""
# fmt: off
NO_IMAGES = frozenset((
    "SR", "SEG", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "DOC", "ECG", "HD", "EPS", "REG", "FID",
    "RWV", "AU", "PLAN",
))
# fmt: on
"""Modalities of objects that hold no images to segment."""
DOWNLOADS = 4
"""Instances fetched from the archive at once."""
DOWNLOADS_PER_STEP = 64
"""Instances between two reports of progress."""


class SkippedSeries(TypedDict):
    """A series that was left out, and why."""

    series: str
    reason: str


class StudyResult(TypedDict):
    """The result of a job, as JSON."""

    segmentations: list[SeriesResult]
    skipped: list[SkippedSeries]
    summary: str


# -- what a study needs -----------------------------------------------------------------------------
def orders(study: StudyContent, settings: Settings) -> Sequence[Order]:
    """One order for a study that has an image series not ours, where any engine is set."""
    rules = read_rules(settings)
    engines = rules.engines
    if not engines or not study.study_instance_uid or not _has_candidates(study):
        return []

    main = settings.automatic_engine or engines[0]
    facts = registry.read_engine_facts(main, settings)
    if rules == Rules((Rule(settings.automatic_engine),)):
        made_of = digest_parameters(facts.parameters)
    else:
        others = {name: registry.read_engine_facts(name, settings).version for name in engines if name != main}
        made_of = digest_parameters({"rules": repr(rules), "engines": others})

    key = make_work_key(study, main, facts.version, made_of)
    args = {"study_instance_uid": study.study_instance_uid}

    return [Order(KIND, key, study.study_instance_uid, args, needs=_choose_resource(rules, settings))]


def create_order(study: StudyContent, settings: Settings, engine: str) -> Order:
    """What a person requests: the study by this engine. It is the automatic order where that would be the same."""
    if not _has_candidates(study):
        raise NotAVolume("The study has no image series of its own.")

    facts = EngineFacts.from_engine(registry.create_engine(engine, settings))
    key = make_work_key(study, engine, facts.version, digest_parameters(facts.parameters))
    args = {"study_instance_uid": study.study_instance_uid, "engine": engine}

    return Order(KIND, key, study.study_instance_uid, args, needs=facts.needs, priority=1)


def make_work_key(study: StudyContent, engine: str, version: str, made_of: str) -> str:
    """The natural key of a study's segmentation: the same key is the same job.

    `made_of`: `digest_parameters` of the engine's parameters, or of the rules.
    """
    return f"{KIND}/{study.study_instance_uid}/{study.digest(include_ours=False)}/{engine}/{version}/{made_of}"


def engines(settings: Settings) -> list[EngineStatus]:
    """Every installed engine: available, or why not and what to do."""
    return registry.list_engines(settings)


def check_rules(text: str, settings: Settings) -> None:
    """Raise `SettingsError` for rules (TOML) that cannot be read."""
    parse_rules(text, settings.automatic_engine)


def is_candidate(series: SeriesContent) -> bool:
    """Whether a series may be worth segmenting: images, not ours, and with a UID that is one."""
    is_foreign = bool(series.series_instance_uid) and not series.is_ours
    return is_foreign and series.modality not in NO_IMAGES and bool(series.instances)


def _has_candidates(study: StudyContent) -> bool:
    return any(is_candidate(series) for series in study.series)


def _choose_resource(rules: Rules, settings: Settings) -> str:
    """A GPU, when any rule's engine computes on one."""
    named = [rule for rule in rules.rules if rule.engine]
    needs = {registry.read_engine_facts(rule.engine, settings, rule.parameters).needs for rule in named}
    return "gpu" if "gpu" in needs else "cpu"


# -- a study ----------------------------------------------------------------------------------------
def run(task: Task) -> StudyResult:
    """Segment every candidate series of the study, and keep the results.

    A series that is no volume is skipped with its reason; an engine that fails, or one that needs more memory
    than it may have, fails the job, after the other series had their turn.
    """
    study = task.archive.read_study(task.archive.find_study_id(task.args["study_instance_uid"]))
    rules = read_rules(task.settings)
    if engine := task.args.get("engine"):
        rules = replace(rules, rules=(Rule(engine),))

    results: list[SeriesResult] = []
    skipped: list[SkippedSeries] = []
    failures: list[MinipacsError] = []
    candidates = [series for series in study.series if is_candidate(series)]

    for number, series in enumerate(candidates, 1):
        note = f"series {number} of {len(candidates)}"
        try:
            results.append(_segment_series(task, study, series, rules, note))
        except ExceedsMemory as error:
            failures.append(error)
        except (NotAVolume, Unreadable) as refusal:
            skipped.append({"series": series.series_instance_uid, "reason": refusal.message})
        except EngineError as error:
            failures.append(error)

    if failures:
        raise _choose_failure(failures)

    return {"segmentations": results, "skipped": skipped, "summary": _summarize_results(results, skipped)}


def _choose_failure(failures: Sequence[MinipacsError]) -> MinipacsError:
    """The failure that stands for the job: where there is one, it is one that another attempt may not repeat."""
    return next((failure for failure in failures if not isinstance(failure, PERMANENT_ERRORS)), failures[0])


def _summarize_results(results: list[SeriesResult], skipped: list[SkippedSeries]) -> str:
    if not results and not skipped:
        return "Nothing to segment: the study has no image series of its own."

    if not results:
        reasons = list(dict.fromkeys(one["reason"] for one in skipped))
        return f"Nothing segmented: {' '.join(reasons)}"

    segments = sum(len(result["segments"]) for result in results)
    series = f"{len(results)} series" if len(results) > 1 else "1 series"
    left_out = f"; {len(skipped)} left out" if skipped else ""

    return f"{segments} segments in {series}{left_out}."


# -- one series -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _SeriesWork:
    """One series to be segmented by one engine."""

    series: SeriesContent
    engine: Engine
    identity: Identity
    rule: Rule
    rules: Rules
    note: str
    """Which series of how many, for the progress."""


def _segment_series(task: Task, study: StudyContent, series: SeriesContent, rules: Rules, note: str) -> SeriesResult:
    """Segment the series where its result is not there yet, and keep the result."""
    work = _plan_series_work(task, series, rules, note)

    folder = store.result_folder(task.settings, study.study_instance_uid, work.identity)
    manifest = read_manifest(folder)
    if manifest is None or manifest["identity"] != work.identity.as_json():
        manifest = _segment_in_child(task, work, folder, before=manifest)

    task.progress("store", note=note)
    remove = rules.superseded == "remove"
    store.store_and_record(folder, manifest, task.archive, task.database, remove_superseded=remove)

    return store.summarize_result(manifest)


def _plan_series_work(task: Task, series: SeriesContent, rules: Rules, note: str) -> _SeriesWork:
    """The engine that the rules name for the series; raises `NotAVolume` where the series is to be left out."""
    body_part = _read_body_part(task, series) if rules.needs_body_part else ""
    rule = rules.find_rule(series.modality, body_part, series.description, len(series.instances))
    if not rule.engine:
        raise NotAVolume("A rule says to leave this series out.")

    engine = registry.create_engine(rule.engine, task.settings, rule.parameters)
    if series.modality not in engine.modalities:
        takes = " and ".join(sorted(engine.modalities))
        raise NotAVolume(f"The series cannot be segmented: it is {series.modality}; the engine takes {takes}.")

    made_of = digest_parameters(engine.parameters)
    identity = Identity(series.series_instance_uid, series.digest, engine.name, engine.version, made_of)

    return _SeriesWork(series, engine, identity, rule, rules, note)


def _segment_in_child(task: Task, work: _SeriesWork, folder: Path, before: Manifest | None) -> Manifest:
    """Download the series, let a child process segment it, and put its results in place of those before."""

    def report(stage: str, done: int = 0, total: int = 0) -> None:
        task.progress(stage, done, total, work.note)

    options = ResultOptions(type=work.rules.type, mrb=work.rules.mrb)
    options.update(task.args.get("options", {}))
    log = task.settings.home / "failures" / f"{work.identity.series_instance_uid}-{work.identity.engine}.log"

    with temporary_folder(results_root(task.settings)) as temporary:
        request = SegmentationRequest(
            files=_download_series(task, work.series, temporary, report),
            digest=work.series.digest,
            engine=work.rule.engine,
            out=temporary / "results",
            parameters=work.rule.parameters,
            options=options,
            stall_s=EngineFacts.from_engine(work.engine).stall_s,
        )
        manifest = parent.run_in_child(request, task.settings, report, log)
        return store.move_into_place(request.out, folder, manifest, before)


def _download_series(task: Task, series: SeriesContent, folder: Path, report: Progress) -> list[Path]:
    """The series' instances as files, named by their place in the sorted UIDs."""
    total = len(series.instances)
    files = [folder / f"{number:06d}.dcm" for number in range(total)]

    with ThreadPoolExecutor(DOWNLOADS) as pool:
        for start in range(0, total, DOWNLOADS_PER_STEP):
            report("download", start, total)
            step = slice(start, start + DOWNLOADS_PER_STEP)
            contents = pool.map(lambda instance: task.archive.read_file(instance.instance_id), series.instances[step])
            for file, content in zip(files[step], contents, strict=True):
                file.write_bytes(content)

    return files


def _read_body_part(task: Task, series: SeriesContent) -> str:
    """Body Part Examined (0018,0015) of the first instance."""
    with translate_parser_errors("An image of the series has a broken element"):
        return str(task.archive.read_dataset(series.instances[0].instance_id).get("BodyPartExamined") or "")
