"""What each command of the CLI does, one module a family of commands."""
