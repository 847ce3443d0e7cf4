"""What the boxes share: settings, errors, the archive, the catalogue, jobs.

The flow, told once. A study enters Orthanc. The plugin rings the doorbell; `follow` hears it (or reads
the change log, where every new instance stands) and asks each kind of work what the study needs.
Each answer is a row in the job table; `runner` moves rows to the pool; `etl` and `segmentation` do
them. What they make goes into the catalogue, the output folder and, as SEG, back into Orthanc, where
the circle is cut: a result whose derived UID exists is done already.

This package imports none of the other boxes; it finds their work by entry points.
"""

__version__ = "0.1.0"
