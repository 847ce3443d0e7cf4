"""CT without weights: body, lungs, airways, bone and fat by Hounsfield units and morphology.

Masks and components are found on a working grid of about 1.6 × 1.6 × 2.5 mm; only the last Hounsfield
thresholds run on the full grid. Arrays are (slices, rows, columns) with slices towards superior, rows
towards posterior, columns towards the patient's left (LPS), C-contiguous; masks are uint8, 0 or 1.
Lengths are mm, volumes mL, densities HU.
"""
