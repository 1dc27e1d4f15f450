"""Where jobs run: runners, their workers, whether they can do a job, templates, and how a job is watched."""
