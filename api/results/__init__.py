"""Result files, label-filtered NIfTI, the source as NIfTI, viewer pages and shared links."""
