"""Patients, studies, series and instances: lists, look-ups, export."""
