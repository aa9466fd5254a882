"""What only tests may do to a kernel and its machine; built only with the option test_doors."""
