"""A module beside the program."""

VALUE = "from the helper"
