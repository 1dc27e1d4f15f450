"""A data set as a page for people: the sample that it is made of, its figures, its text."""
