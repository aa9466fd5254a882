"""The studies: designs x workload x machine -> Result. Numbers and keys, no words for people."""
