"""DICOMweb: the gateway to the archive, QIDO from the catalogue, fast frames."""
