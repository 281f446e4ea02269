"""The long-running process: assembling, task tree, schedule, logs and what listens to events."""
