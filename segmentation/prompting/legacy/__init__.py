"""The older prompt client's protocol: pictures in, masks out."""
