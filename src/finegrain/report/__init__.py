"""Reports: a report is a function of a result. Nothing but the commands and the package's top level imports them."""
