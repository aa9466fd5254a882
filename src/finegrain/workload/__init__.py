"""Recordings of real builds: record, read, inspect, replay; the bundled ones."""
