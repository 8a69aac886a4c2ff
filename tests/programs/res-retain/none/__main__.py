"""Gone from the program."""
