"""The first look at a received file: a volume is converted to DICOM, everything else must be DICOM."""

from api.uploads.dicom_check import check_dicom
from api.uploads.received import RefusedFile, StorableFile
from minipacs.errors import Unreadable
from minipacs.formats.parsing import translate_parser_errors
from minipacs.formats.volume_file import is_volume_file

ZIP_MAGIC = b"PK\x03\x04"


def examine_file(name: str, file: bytes, modality: str = "") -> StorableFile | RefusedFile:
    """What the archive gets of this file, or why it gets nothing. `modality`: of a volume; empty to guess."""
    if not file:
        return RefusedFile("The file is empty.")
    if file.startswith(ZIP_MAGIC):
        return RefusedFile("A ZIP inside a ZIP is not opened: send it by itself.")
    if not is_volume_file(name, file[:4]):
        return check_dicom(file)

    from api.uploads.volume_to_dicom import convert_volume

    try:
        with translate_parser_errors("The volume cannot be made DICOM"):
            return convert_volume(name, file, modality)
    except Unreadable as error:
        return RefusedFile(error.message)
