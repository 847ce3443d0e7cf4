"""Every form a result takes: DICOM SEG and SR, NIfTI, .seg.nrrd, GLB, preview, manifest."""
