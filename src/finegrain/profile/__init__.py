"""Lock profiles: collect, name, total, compare."""
