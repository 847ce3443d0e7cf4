"""From the bytes of a DICOM file to rows: read the wanted elements, take the values of the columns."""
