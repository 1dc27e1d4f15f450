"""Behind `pipeline.report`: the sample that `report.html` is made of, its figures and its page."""
