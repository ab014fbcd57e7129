"""Stand-ins for tests of the core: a clock, engines, a worker played by the test, graphs."""
