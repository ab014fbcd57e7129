"""Files and models for the tests of workflow files."""
