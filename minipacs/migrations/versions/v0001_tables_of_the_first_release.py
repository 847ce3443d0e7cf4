"""Tables of the first release. A database of before the steps has some of them: those stay as they are."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make what is missing."""
    op.create_table(
        "api_audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=True),
        sa.Column("patient_key", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_api_audit_action", "api_audit", ["action"], if_not_exists=True)
    op.create_index("ix_api_audit_at", "api_audit", ["at"], if_not_exists=True)
    op.create_index("ix_api_audit_patient_key", "api_audit", ["patient_key"], if_not_exists=True)
    op.create_index("ix_api_audit_study_instance_uid", "api_audit", ["study_instance_uid"], if_not_exists=True)
    op.create_index("ix_api_audit_user", "api_audit", ["user"], if_not_exists=True)
    op.create_table(
        "api_login_failure",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_api_login_failure_address", "api_login_failure", ["address"], if_not_exists=True)
    op.create_table(
        "api_share",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("ends", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_table(
        "api_user",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
    )
    op.create_table(
        "cursor",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
    )
    op.create_table(
        "followed_study",
        sa.Column("study_id", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("due", sa.Double(), nullable=True),
        sa.Column("rung", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("study_id"),
        if_not_exists=True,
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("needs", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("cancel", sa.Boolean(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("started", sa.Double(), nullable=True),
        sa.Column("finished", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
        if_not_exists=True,
    )
    op.create_index("ix_job_study_instance_uid", "job", ["study_instance_uid"], if_not_exists=True)
    op.create_index(
        "job_queued",
        "job",
        ["needs", sa.literal_column("priority DESC"), "id"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
        if_not_exists=True,
    )
    op.create_index(
        "job_running",
        "job",
        ["lease_until"],
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
        if_not_exists=True,
    )

    op.create_table(
        "letter_box",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
    )
    op.create_table(
        "patient",
        sa.Column("patient_key", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=True, comment="00100020 PatientID"),
        sa.Column("patient_name", sa.String(), nullable=True, comment="00100010 PatientName"),
        sa.Column("patient_birth_date", sa.Date(), nullable=True, comment="00100030 PatientBirthDate"),
        sa.Column("patient_sex", sa.String(), nullable=True, comment="00100040 PatientSex"),
        sa.Column("issuer_of_patient_id", sa.String(), nullable=True, comment="00100021 IssuerOfPatientID"),
        sa.Column(
            "number_of_patient_related_studies",
            sa.Integer(),
            nullable=False,
            comment="kept: NumberOfPatientRelatedStudies",
        ),
        sa.Column(
            "number_of_patient_related_series",
            sa.Integer(),
            nullable=False,
            comment="kept: NumberOfPatientRelatedSeries",
        ),
        sa.Column(
            "number_of_patient_related_instances",
            sa.Integer(),
            nullable=False,
            comment="kept: NumberOfPatientRelatedInstances",
        ),
        sa.PrimaryKeyConstraint("patient_key"),
        if_not_exists=True,
    )
    op.create_index("ix_patient_patient_id", "patient", ["patient_id"], if_not_exists=True)
    op.create_table(
        "rejection",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=True, comment="00080018 SOPInstanceUID"),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("remedy", sa.String(), nullable=False),
        sa.Column("source_size", sa.BigInteger(), nullable=True),
        sa.Column("source_mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("options", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("source"),
        if_not_exists=True,
    )
    op.create_index("ix_rejection_code", "rejection", ["code"], if_not_exists=True)
    op.create_index("ix_rejection_sop_instance_uid", "rejection", ["sop_instance_uid"], if_not_exists=True)
    op.create_table(
        "total",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
    )
    op.create_table(
        "api_token",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("user_name", sa.String(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["user_name"], ["api_user.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("token_hash"),
        if_not_exists=True,
    )
    op.create_table(
        "study",
        sa.Column("study_instance_uid", sa.String(), nullable=False, comment="0020000D StudyInstanceUID"),
        sa.Column("patient_key", sa.String(), nullable=False),
        sa.Column("study_id", sa.String(), nullable=True, comment="00200010 StudyID"),
        sa.Column("study_date", sa.Date(), nullable=True, comment="00080020 StudyDate"),
        sa.Column("study_time", sa.Time(), nullable=True, comment="00080030 StudyTime"),
        sa.Column("study_description", sa.String(), nullable=True, comment="00081030 StudyDescription"),
        sa.Column("accession_number", sa.String(), nullable=True, comment="00080050 AccessionNumber"),
        sa.Column("referring_physician_name", sa.String(), nullable=True, comment="00080090 ReferringPhysicianName"),
        sa.Column("patient_age", sa.String(), nullable=True, comment="00101010 PatientAge"),
        sa.Column("patient_size", sa.Double(), nullable=True, comment="00101020 PatientSize"),
        sa.Column("patient_weight", sa.Double(), nullable=True, comment="00101030 PatientWeight"),
        sa.Column(
            "number_of_study_related_series", sa.Integer(), nullable=False, comment="kept: NumberOfStudyRelatedSeries"
        ),
        sa.Column(
            "number_of_study_related_instances",
            sa.Integer(),
            nullable=False,
            comment="kept: NumberOfStudyRelatedInstances",
        ),
        sa.ForeignKeyConstraint(
            ["patient_key"],
            ["patient.patient_key"],
        ),
        sa.PrimaryKeyConstraint("study_instance_uid"),
        if_not_exists=True,
    )
    op.create_index("ix_study_accession_number", "study", ["accession_number"], if_not_exists=True)
    op.create_index("ix_study_patient_key", "study", ["patient_key"], if_not_exists=True)
    op.create_index("ix_study_study_date", "study", ["study_date"], if_not_exists=True)
    op.create_table(
        "series",
        sa.Column("series_instance_uid", sa.String(), nullable=False, comment="0020000E SeriesInstanceUID"),
        sa.Column("study_instance_uid", sa.String(), nullable=True, comment="0020000D StudyInstanceUID"),
        sa.Column("modality", sa.String(), nullable=True, comment="00080060 Modality"),
        sa.Column("series_number", sa.Integer(), nullable=True, comment="00200011 SeriesNumber"),
        sa.Column("series_date", sa.Date(), nullable=True, comment="00080021 SeriesDate"),
        sa.Column("series_time", sa.Time(), nullable=True, comment="00080031 SeriesTime"),
        sa.Column("series_description", sa.String(), nullable=True, comment="0008103E SeriesDescription"),
        sa.Column("protocol_name", sa.String(), nullable=True, comment="00181030 ProtocolName"),
        sa.Column("body_part_examined", sa.String(), nullable=True, comment="00180015 BodyPartExamined"),
        sa.Column("laterality", sa.String(), nullable=True, comment="00200060 Laterality"),
        sa.Column("patient_position", sa.String(), nullable=True, comment="00185100 PatientPosition"),
        sa.Column("frame_of_reference_uid", sa.String(), nullable=True, comment="00200052 FrameOfReferenceUID"),
        sa.Column("manufacturer", sa.String(), nullable=True, comment="00080070 Manufacturer"),
        sa.Column("manufacturer_model_name", sa.String(), nullable=True, comment="00081090 ManufacturerModelName"),
        sa.Column("software_versions", sa.JSON(none_as_null=True), nullable=True, comment="00181020 SoftwareVersions"),
        sa.Column("institution_name", sa.String(), nullable=True, comment="00080080 InstitutionName"),
        sa.Column("station_name", sa.String(), nullable=True, comment="00081010 StationName"),
        sa.Column(
            "number_of_series_related_instances",
            sa.Integer(),
            nullable=False,
            comment="kept: NumberOfSeriesRelatedInstances",
        ),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"],
            ["study.study_instance_uid"],
        ),
        sa.PrimaryKeyConstraint("series_instance_uid"),
        if_not_exists=True,
    )
    op.create_index("ix_series_modality", "series", ["modality"], if_not_exists=True)
    op.create_index("ix_series_study_instance_uid", "series", ["study_instance_uid"], if_not_exists=True)
    op.create_table(
        "instance",
        sa.Column("sop_instance_uid", sa.String(), nullable=False, comment="00080018 SOPInstanceUID"),
        sa.Column("series_instance_uid", sa.String(), nullable=True, comment="0020000E SeriesInstanceUID"),
        sa.Column("sop_class_uid", sa.String(), nullable=True, comment="00080016 SOPClassUID"),
        sa.Column("transfer_syntax_uid", sa.String(), nullable=True, comment="00020010 TransferSyntaxUID"),
        sa.Column(
            "specific_character_set", sa.JSON(none_as_null=True), nullable=True, comment="00080005 SpecificCharacterSet"
        ),
        sa.Column("instance_number", sa.Integer(), nullable=True, comment="00200013 InstanceNumber"),
        sa.Column("image_type", sa.JSON(none_as_null=True), nullable=True, comment="00080008 ImageType"),
        sa.Column("content_date", sa.Date(), nullable=True, comment="00080023 ContentDate"),
        sa.Column("content_time", sa.Time(), nullable=True, comment="00080033 ContentTime"),
        sa.Column("acquisition_date", sa.Date(), nullable=True, comment="00080022 AcquisitionDate"),
        sa.Column("acquisition_time", sa.Time(), nullable=True, comment="00080032 AcquisitionTime"),
        sa.Column("acquisition_date_time", sa.DateTime(), nullable=True, comment="0008002A AcquisitionDateTime"),
        sa.Column("acquisition_number", sa.Integer(), nullable=True, comment="00200012 AcquisitionNumber"),
        sa.Column("number_of_frames", sa.Integer(), nullable=True, comment="00280008 NumberOfFrames"),
        sa.Column("rows", sa.Integer(), nullable=True, comment="00280010 Rows"),
        sa.Column("columns", sa.Integer(), nullable=True, comment="00280011 Columns"),
        sa.Column("samples_per_pixel", sa.Integer(), nullable=True, comment="00280002 SamplesPerPixel"),
        sa.Column(
            "photometric_interpretation", sa.String(), nullable=True, comment="00280004 PhotometricInterpretation"
        ),
        sa.Column("bits_allocated", sa.Integer(), nullable=True, comment="00280100 BitsAllocated"),
        sa.Column("bits_stored", sa.Integer(), nullable=True, comment="00280101 BitsStored"),
        sa.Column("pixel_representation", sa.Integer(), nullable=True, comment="00280103 PixelRepresentation"),
        sa.Column("pixel_spacing", sa.JSON(none_as_null=True), nullable=True, comment="00280030 PixelSpacing"),
        sa.Column(
            "imager_pixel_spacing", sa.JSON(none_as_null=True), nullable=True, comment="00181164 ImagerPixelSpacing"
        ),
        sa.Column("pixel_aspect_ratio", sa.JSON(none_as_null=True), nullable=True, comment="00280034 PixelAspectRatio"),
        sa.Column("slice_thickness", sa.Double(), nullable=True, comment="00180050 SliceThickness"),
        sa.Column("slice_location", sa.Double(), nullable=True, comment="00201041 SliceLocation"),
        sa.Column(
            "image_position_patient", sa.JSON(none_as_null=True), nullable=True, comment="00200032 ImagePositionPatient"
        ),
        sa.Column(
            "image_orientation_patient",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="00200037 ImageOrientationPatient",
        ),
        sa.Column("window_center", sa.JSON(none_as_null=True), nullable=True, comment="00281050 WindowCenter"),
        sa.Column("window_width", sa.JSON(none_as_null=True), nullable=True, comment="00281051 WindowWidth"),
        sa.Column(
            "window_center_width_explanation",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="00281055 WindowCenterWidthExplanation",
        ),
        sa.Column("voi_lut_function", sa.String(), nullable=True, comment="00281056 VOILUTFunction"),
        sa.Column("rescale_slope", sa.Double(), nullable=True, comment="00281053 RescaleSlope"),
        sa.Column("rescale_intercept", sa.Double(), nullable=True, comment="00281052 RescaleIntercept"),
        sa.Column("rescale_type", sa.String(), nullable=True, comment="00281054 RescaleType"),
        sa.Column("presentation_lut_shape", sa.String(), nullable=True, comment="20500020 PresentationLUTShape"),
        sa.Column("lossy_image_compression", sa.String(), nullable=True, comment="00282110 LossyImageCompression"),
        sa.Column("burned_in_annotation", sa.String(), nullable=True, comment="00280301 BurnedInAnnotation"),
        sa.Column("content_label", sa.String(), nullable=True, comment="00700080 ContentLabel"),
        sa.Column("document_title", sa.String(), nullable=True, comment="00420010 DocumentTitle"),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_size", sa.BigInteger(), nullable=True),
        sa.Column("source_mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("content_checksum", sa.BigInteger(), nullable=True),
        sa.Column("rendered_with", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("remarks", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["series_instance_uid"],
            ["series.series_instance_uid"],
        ),
        sa.PrimaryKeyConstraint("sop_instance_uid"),
        if_not_exists=True,
    )
    op.create_index("ix_instance_series_instance_uid", "instance", ["series_instance_uid"], if_not_exists=True)
    op.create_index("ix_instance_source", "instance", ["source"], if_not_exists=True)
    op.create_table(
        "rendering",
        sa.Column("rendering_id", sa.String(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=True, comment="00080018 SOPInstanceUID"),
        sa.Column("frame_number", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("png_path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("bit_depth", sa.Integer(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False, comment="00280010 Rows"),
        sa.Column("columns", sa.Integer(), nullable=False, comment="00280011 Columns"),
        sa.Column("window_center", sa.Double(), nullable=True, comment="00281050 WindowCenter"),
        sa.Column("window_width", sa.Double(), nullable=True, comment="00281051 WindowWidth"),
        sa.Column("voi_lut_function", sa.String(), nullable=True, comment="00281056 VOILUTFunction"),
        sa.Column("window_source", sa.String(), nullable=False),
        sa.Column("window_number", sa.Integer(), nullable=True),
        sa.Column("window_explanation", sa.String(), nullable=True),
        sa.Column("rescale_slope", sa.Double(), nullable=True, comment="00281053 RescaleSlope"),
        sa.Column("rescale_intercept", sa.Double(), nullable=True, comment="00281052 RescaleIntercept"),
        sa.Column("modality_lut", sa.Boolean(), nullable=False),
        sa.Column("inverted", sa.Boolean(), nullable=False),
        sa.Column("pixel_aspect", sa.Double(), nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["sop_instance_uid"], ["instance.sop_instance_uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("rendering_id"),
        if_not_exists=True,
    )
    op.create_index("ix_rendering_sop_instance_uid", "rendering", ["sop_instance_uid"], if_not_exists=True)
    op.create_index("ix_rendering_split", "rendering", ["split"], if_not_exists=True)
    op.create_table(
        "segment",
        sa.Column("sop_instance_uid", sa.String(), nullable=False, comment="00080018 SOPInstanceUID"),
        sa.Column("segment_number", sa.Integer(), nullable=False, comment="00620004 SegmentNumber"),
        sa.Column("segment_label", sa.String(), nullable=True, comment="00620005 SegmentLabel"),
        sa.Column("category_code", sa.String(), nullable=True),
        sa.Column("category_meaning", sa.String(), nullable=True),
        sa.Column("type_code", sa.String(), nullable=True),
        sa.Column("type_meaning", sa.String(), nullable=True),
        sa.Column("laterality", sa.String(), nullable=True),
        sa.Column("segment_algorithm_type", sa.String(), nullable=True, comment="00620008 SegmentAlgorithmType"),
        sa.Column(
            "segment_algorithm_name", sa.JSON(none_as_null=True), nullable=True, comment="00620009 SegmentAlgorithmName"
        ),
        sa.Column("volume_ml", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["sop_instance_uid"], ["instance.sop_instance_uid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sop_instance_uid", "segment_number"),
        if_not_exists=True,
    )
    op.create_index("ix_segment_type_code", "segment", ["type_code"], if_not_exists=True)


def downgrade() -> None:
    """A step back is a restore of the backup."""
    raise NotImplementedError("restore the backup that was made before the update")
