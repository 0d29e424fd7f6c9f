"""What is true, given what judges said: pure functions of values over numpy arrays, without I/O and without a clock."""
