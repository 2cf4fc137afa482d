"""The promises of weir, as tests."""
