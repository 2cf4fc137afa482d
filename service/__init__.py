"""The composition root: settings, logging, wiring, embedded services, command line."""
