"""Readers for the lock profiles that other systems print, one file a format."""
