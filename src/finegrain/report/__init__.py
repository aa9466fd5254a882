"""Reports: a report is a function of a Result."""
