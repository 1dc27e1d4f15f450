"""Where jobs run: runners and their workers, whether they can do a job, templates, how a job is watched."""
