"""The job `segment`: one series in, one folder of results out, in a child process."""
