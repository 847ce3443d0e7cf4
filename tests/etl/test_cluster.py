"""The same rows and files from a Dask cluster, by the address of its scheduler."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster

from dicom_objects import as_file, image
from etl.catalogue_run import connect_to_dask_cluster, load_source_into_catalogue
from etl.extract import FolderSource
from etl.options import Options
from minipacs.database import Database
from minipacs.errors import MinipacsError
from minipacs.settings import Settings

PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7)


def settings_with(scheduler: str) -> Settings:
    return replace(Settings.from_env({}), scheduler=scheduler)


def test_a_dask_cluster_does_the_work(source: Path, database: Database, options: Options) -> None:
    for number in range(1, 150):
        (source / f"{number:03d}").write_bytes(as_file(image(PIXELS + number, number)))
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as local,
        connect_to_dask_cluster(settings_with(local.scheduler_address)) as executor,
    ):
        tally = load_source_into_catalogue(FolderSource(source), database, options, executor=executor)
    assert (tally.added, tally.rendered) == (149, 149)
    assert len(list(options.target.rglob("*.png"))) == 149


def test_no_scheduler_is_said_in_a_sentence() -> None:
    away = settings_with("tcp://127.0.0.1:9")
    with pytest.raises(MinipacsError, match="No Dask scheduler answers"), connect_to_dask_cluster(away):
        pass


def test_without_an_address_there_is_no_cluster() -> None:
    with connect_to_dask_cluster(settings_with("")) as executor:
        assert executor is None
