"""The job service: the record of jobs, the planner, the runner, the pool, workers and their tasks."""
