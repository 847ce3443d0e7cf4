"""The ground that every box stands on: settings, errors, archive, catalogue, formats, jobs.

The flow. A study enters Orthanc. The plugin notifies the job service; `jobs.planner` receives that (or reads the
change log, where every new instance stands) and asks each kind of work what the study needs. Each answer is a row
of the job table; `jobs.runner` gives rows to the pool, whose workers do them by `etl` and `segmentation`. What they
make goes into the catalogue, the output folder and, as SEG, back into Orthanc. There the circle ends: a result
whose derived UID exists is done already.

This package imports none of the other boxes; it finds their work by entry points.
"""

__version__ = "0.1.0"
