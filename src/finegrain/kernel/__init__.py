"""The system under study, written once; it knows nothing of the machine it is on."""
