"""`report.html`: the sample that it is made of, its figures and its text."""
